"""Tests of the sign of t: points vote, vehicles drive forward, cameras move on."""

import numpy as np
import pytest

from mdm_jax.two_view import heading
from mdm_jax.two_view.essential import RelativePose

BACKWARD, SIDEWAYS = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])


def _pose(direction, positive):
    return RelativePose(np.eye(3), direction, 0.9, positive)


@pytest.mark.parametrize("positive", [0.55, 0.9])
def test_a_camera_that_moves_along_its_axis_moves_forward(positive):
    # t of later_from_earlier points backward when the camera moves forward.
    pose = heading.resolve(_pose(BACKWARD, positive))
    np.testing.assert_array_equal(pose.direction, -BACKWARD)
    assert pose.positive == pytest.approx(1 - positive)


def test_without_the_prior_the_points_decide():
    pose = heading.resolve(_pose(BACKWARD, 0.9), forward=False)
    np.testing.assert_array_equal(pose.direction, BACKWARD)


def test_the_prior_says_nothing_about_sideways_motion():
    pose = heading.resolve(_pose(SIDEWAYS, 0.9))
    np.testing.assert_array_equal(pose.direction, SIDEWAYS)


def test_continuity_decides_where_the_points_do_not_know():
    unsure, sure = _pose(SIDEWAYS, 0.6), _pose(SIDEWAYS, 0.95)
    assert heading.resolve(unsure, previous=-SIDEWAYS).direction[0] == -1
    assert heading.resolve(sure, previous=-SIDEWAYS).direction[0] == 1
