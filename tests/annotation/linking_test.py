"""Tests of linking and tracks: ids persist through scrambling, gaps, birth and death."""

import numpy as np
import pytest

from mdm_jax.annotation import clip_annotation, linking, object_tracks
from mdm_jax.flow import flow_sources
from mdm_jax.masks import instances

_NONE = np.zeros((0, 2), np.int64)


def _scrambled(street, rng, *, missing=()):
    """Masks of each frame in random order; `missing` are (frame, label)."""

    def masks(frame):
        labels = street.labels[frame.index]
        present = [x for x in np.unique(labels[labels > 0])]
        present = [x for x in present if (frame.index, x) not in missing]
        order = rng.permutation(present)
        stack = [labels == x for x in order]
        return instances.create(np.array(stack, bool).reshape(-1, *labels.shape))

    return masks


def _same_up_to_names(labels, truth):
    """Returns whether two label maps tell the same objects apart."""
    pairs = np.unique(np.stack([labels.ravel(), truth.ravel()]), axis=1)
    return len(set(pairs[0])) == len(pairs[0]) == len(set(pairs[1]))


@pytest.mark.parametrize("name", ["exact", "dis"])
def test_scrambled_masks_get_one_id_each_over_the_clip(street, name):
    flow = street.flow if name == "exact" else flow_sources.dense_inverse_search
    masks = _scrambled(street, np.random.default_rng(0))
    labels, found = clip_annotation.annotate_images(street.images, masks, flow=flow)
    assert labels.dtype == np.uint8
    assert _same_up_to_names(labels, street.labels)
    assert found.summary["tracks"] == 4


def test_a_mask_that_is_missing_once_does_not_end_its_track(street):
    masks = _scrambled(street, np.random.default_rng(1), missing={(3, 1), (5, 2)})
    labels, found = clip_annotation.annotate_images(
        street.images, masks, flow=street.flow
    )
    truth = street.labels.copy()
    truth[3][truth[3] == 1] = 0
    truth[5][truth[5] == 2] = 0
    assert _same_up_to_names(labels, truth)
    assert found.summary["bridged_gaps"] == 2


def test_a_mask_that_is_missing_twice_begins_a_new_track(street):
    masks = _scrambled(street, np.random.default_rng(1), missing={(3, 1), (4, 1)})
    labels, found = clip_annotation.annotate_images(
        street.images, masks, flow=street.flow
    )
    assert found.summary["tracks"] == 5
    before, after = (np.unique(labels[i][street.labels[i] == 1]) for i in (2, 5))
    assert before != after


def test_objects_are_born_and_die(street):
    gone = {(i, 3) for i in range(4, 8)} | {(i, 2) for i in range(3)}
    masks = _scrambled(street, np.random.default_rng(2), missing=gone)
    _, found = clip_annotation.annotate_images(street.images, masks, flow=street.flow)
    spans = sorted((track.first, track.last) for track in found.tracks)
    assert spans == [(0, 3), (0, 7), (0, 7), (3, 7)]


def test_the_order_of_masks_changes_nothing_but_names(street):
    results = [
        clip_annotation.annotate_images(
            street.images, _scrambled(street, np.random.default_rng(seed))
        )[0]
        for seed in range(2)
    ]
    assert _same_up_to_names(*results)


def test_the_same_input_gives_the_same_labels(street):
    results = [
        clip_annotation.annotate_images(
            street.images, _scrambled(street, np.random.default_rng(3))
        )[0]
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*results)


def _found(masks, **fields):
    return instances.create(np.array(masks, bool), **fields)


def test_overlaps_go_to_the_larger_mask():
    small, large = np.zeros((2, 6, 9), bool)
    small[1:3, 1:5], large[2:6, 2:9] = True, True
    kept = linking.select_objects(_found([small, large]), linking.Options(min_pixels=1))
    assert (kept.owners[large] == 2).all()
    assert (kept.owners[small & ~large] == 1).all()
    np.testing.assert_array_equal(kept.areas, [(small & ~large).sum(), large.sum()])


def test_what_is_small_unsure_or_of_another_class_is_dropped_and_counted():
    masks = np.zeros((4, 6, 9), bool)
    masks[0, 0, :2], masks[1, 1], masks[2, 2], masks[3, 3] = True, True, True, True
    found = _found(
        masks, classes=np.array([3, 3, 1, 3]), scores=np.array([1, 1, 1, 0.2])
    )
    kept = linking.select_objects(found, linking.Options(classes=(3,), min_pixels=5))
    np.testing.assert_array_equal(kept.owners > 0, masks[1])
    assert kept.dropped == 3
    assert len(kept) == 1


def test_frames_without_objects_are_no_problem(street):
    empty = instances.create(np.zeros((0, *street.labels.shape[1:]), bool))
    labels, found = clip_annotation.annotate_images(street.images, lambda _: empty)
    assert not labels.any()
    assert found.summary["share_matched"] == 0


def test_no_frames_are_an_error():
    with pytest.raises(ValueError, match="at least one frame"):
        clip_annotation.annotate_images([], lambda _: None)


@pytest.mark.parametrize(
    "options",
    [{"threshold": 1.0}, {"min_score": -1}, {"min_pixels": 0}, {"tolerance": -1}],
)
def test_options_out_of_range_are_errors(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        linking.Options(**options)


def _seen(count, links=_NONE, bridges=_NONE, classes=None, scores=None):
    return object_tracks.LinkedObjects(
        areas=np.full(count, 10),
        classes=np.full(count, -1) if classes is None else np.array(classes),
        scores=np.ones(count) if scores is None else np.array(scores),
        links=np.array(links).reshape(-1, 2),
        bridges=np.array(bridges).reshape(-1, 2),
        dropped=0,
    )


def test_short_tracks_are_left_out():
    frames = [_seen(2), _seen(2, [[1, 0]]), _seen(1, [[0, 0]])]
    found = object_tracks.join(frames, min_length=2)
    assert [(t.first, t.last, t.length) for t in found.tracks] == [(0, 2, 3)]
    assert found.summary["short_tracks"] == 2
    np.testing.assert_array_equal(found.labels[0], [0, 1])
    np.testing.assert_array_equal(found.labels[1], [1, 0])


def test_the_class_of_a_track_is_what_its_masks_are_surest_of():
    frames = [
        _seen(1, classes=[3], scores=[0.6]),
        _seen(1, [[0, 0]], classes=[8], scores=[0.9]),
        _seen(1, [[0, 0]], classes=[3], scores=[0.6]),
    ]
    (track,) = object_tracks.join(frames).tracks
    assert track.category == 3


def test_the_share_matched_counts_masks_after_the_first_frame():
    frames = [_seen(2), _seen(2, [[1, 0]]), _seen(2, [[0, 0]], [[0, 1]])]
    summary = object_tracks.join(frames).summary
    assert summary["share_matched"] == 3 / 4
    assert summary["masks"] == 6
