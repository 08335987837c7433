"""Tests of the focal curve: its minimum is at the truth where the camera turns."""

import numpy as np

from mdm_jax.two_view import essential, focal_curve
from tests.two_view import corridors

FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 2.0)


def _pairs(turn, count=4):
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(count):
        second = corridors.pose(
            angles=(0.2 * turn, turn * (1 - 2 * (index % 2)), 0),
            position=(0.05, 0, 0.7 + 0.1 * index),
        )
        flow, *_ = corridors.pair(corridors.pose(), second)
        noise = rng.normal(0, 0.05, flow.shape).astype(np.float32)
        trusted = np.ones(flow.shape[:2], bool)
        pairs.append(essential.sample(flow + noise, trusted, num_points=500))
    return pairs


def _guess(factor):
    return corridors.INTRINSICS * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])


def test_the_minimum_is_at_the_true_focal_length_where_the_camera_turns():
    curve = focal_curve.measure(_pairs(0.06), _guess(0.8), factors=FACTORS)
    assert curve.observable
    np.testing.assert_allclose(curve.best, corridors.INTRINSICS[0, 0], rtol=0.05)
    assert curve.interval[0] <= curve.best <= curve.interval[1]


def test_a_straight_drive_does_not_show_the_focal_length():
    curve = focal_curve.measure(_pairs(0.0), _guess(1.0), factors=FACTORS)
    assert not curve.observable
    # Flat: no focal length is much worse than the best.
    assert max(curve.residuals) < 1.5 * min(curve.residuals)


def test_without_usable_pairs_there_is_no_curve():
    empty = essential.Correspondences(np.zeros((3, 2)), np.zeros((3, 2)))
    assert focal_curve.measure([empty], _guess(1.0), factors=FACTORS) is None
    assert focal_curve.measure([], _guess(1.0), factors=FACTORS) is None
