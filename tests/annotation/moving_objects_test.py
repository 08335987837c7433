"""Tests of masks of moving objects: a crossing car is one object, the street is none."""

import pathlib

import numpy as np
import pytest

from mdm_jax.annotation import clip_annotation, linking, mask_sources, moving_objects
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.sources.source import Source
from tests.two_view import corridors
from tests.two_view.corridors import Board, pose

PARKED = Board(1.5, 4.0, -1.0, 1.5, 9.0)
CROSSING = Board(-3.5, -1.5, -0.7, 1.5, 10.0, step=(0.45, 0.0, 0.0))
NUM_FRAMES = 5


class _Drive(Source):
    """A camera that drives forward through the corridor."""

    boards = (PARKED,)

    def image(self, index):
        return corridors.image(_camera(index), index, self.boards)


class _Traffic(_Drive):
    boards = (PARKED, CROSSING)


def _camera(index):
    return pose((0, 0.02 * np.sin(index), 0), (0, 0, 0.5 * index))


def _source(kind=_Traffic, num_frames=NUM_FRAMES, intrinsics=corridors.INTRINSICS):
    files = tuple(pathlib.Path(f"{i:06d}.png") for i in range(num_frames))
    return kind("drive", files, (corridors.H, corridors.W), intrinsics)


def _frame(source, index):
    return Frame(index, f"{index:06d}", source.image(index))


def _crossing(index):
    return corridors.look(_camera(index), index, _Traffic.boards)[2] == 2


def _create(source):
    return mask_sources.create(MaskSet(root="motion", alone=True), source)


def test_a_crossing_car_is_one_object_in_every_frame_and_the_parked_one_is_none():
    source = _source()
    masks = _create(source)
    for index in range(NUM_FRAMES):
        found = masks(_frame(source, index)).masks
        assert len(found) == 1
        true = _crossing(index)
        assert (found[0] & true).sum() / (found[0] | true).sum() > 0.5


def test_a_street_without_movers_has_no_objects():
    source = _source(_Drive)
    masks = _create(source)
    assert [len(masks(_frame(source, i))) for i in range(NUM_FRAMES)] == [0] * 5


def test_a_resumed_clip_has_the_same_masks():
    source = _source()
    in_order, later = _create(source), _create(source)
    for index in range(3):
        expected = in_order(_frame(source, index))
    np.testing.assert_array_equal(later(_frame(source, 2)).masks, expected.masks)
    with pytest.raises(ValueError, match="in order of time, got 1 after 2"):
        later(_frame(source, 1))


def test_a_single_frame_has_no_objects():
    source = _source(num_frames=1)
    assert len(_create(source)(_frame(source, 0))) == 0


def test_the_object_becomes_one_track():
    source = _source()
    labels, tracks = clip_annotation.annotate_images(
        source.images(), _create(source), options=linking.Options(min_length=3)
    )
    assert [track.length for track in tracks.tracks] == [NUM_FRAMES]
    assert set(np.unique(labels)) == {0, 1}


def test_neighbours_must_agree():
    source = _source()
    usable = np.ones((corridors.H, corridors.W), bool)
    usable[:, : corridors.W // 2] = False
    masks = moving_objects.agreed(source.images(), corridors.INTRINSICS, usable)
    for mask in masks:
        assert not mask[:, : corridors.W // 2].any()


def test_objects_are_large_and_compact_with_gaps_closed():
    moves = np.zeros((100, 300), bool)
    moves[10:40, 10:60] = True
    moves[20:25, 30:35] = False  # a gap
    moves[80:83, 80:83] = True  # too small
    moves[np.arange(60), 200 + np.arange(60)] = True  # a thin diagonal
    moves[1 + np.arange(60), 200 + np.arange(60)] = True
    (found,) = moving_objects.objects(moves)
    expected = np.zeros_like(moves)
    expected[10:40, 10:60] = True
    np.testing.assert_array_equal(found, expected)
