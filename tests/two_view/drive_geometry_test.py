"""Tests of whole drives: a survey of the camera, and every pair of neighbours."""

import itertools

import numpy as np
import pytest

from mdm_jax.two_view import drive_geometry, front_end
from tests.two_view import corridors


@pytest.fixture(scope="module")
def frames():
    cameras = [
        corridors.pose((0, 0.05 * np.sin(index), 0), (0, 0, 0.5 * index))
        for index in range(7)
    ]
    return [corridors.image(camera) for camera in cameras]


def test_neighbours_come_in_order_with_one_motion_for_both_directions(frames):
    pairs = list(drive_geometry.neighbours(frames, corridors.INTRINSICS))
    assert [pair.index for pair in pairs] == list(range(6))
    for pair in pairs:
        assert pair.ahead.state == front_end.MOVING
        np.testing.assert_allclose(pair.behind.rotation, pair.ahead.rotation.T)
        assert pair.ahead.pose.direction[2] < -0.9


def test_pixels_of_the_hood_are_never_trusted(frames):
    usable = np.ones(frames[0].shape[:2], bool)
    usable[-12:] = False
    for pair in drive_geometry.neighbours(
        frames[:3], corridors.INTRINSICS, usable=usable
    ):
        assert not pair.ahead.trusted[-12:].any()
        assert pair.ahead.trusted.any()


def test_a_survey_gives_mask_and_focal_curve(frames):
    pairs = list(itertools.pairwise(frames))
    survey = drive_geometry.survey(pairs, corridors.INTRINSICS)
    assert survey.usable.all()
    assert survey.focal.focal_lengths[0] < corridors.INTRINSICS[0, 0]


def test_a_survey_needs_a_pair():
    with pytest.raises(ValueError, match="at least one pair"):
        drive_geometry.survey([], corridors.INTRINSICS)
