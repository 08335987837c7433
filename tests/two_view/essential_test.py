"""Tests of the relative pose: exact with true flow, robust, refined on its inliers."""

import numpy as np
import pytest

from mdm_jax.two_view import essential, turning
from tests.two_view import corridors

FIRST = corridors.pose()
SECOND = corridors.pose(angles=(0.005, 0.02, 0.004), position=(0.15, -0.03, 0.8))
MOTION = corridors.source_from_target(FIRST, SECOND)
EVERYWHERE = np.ones((corridors.H, corridors.W), bool)


def _points(flow, num_points=2000, seed=0):
    return essential.sample(flow, EVERYWHERE, num_points=num_points, seed=seed)


def _errors(pose, motion=MOTION):
    return (
        corridors.angle(pose.direction, motion[:3, 3]),
        corridors.angle(pose.rotation, motion[:3, :3]),
    )


def test_pose_is_exact_with_true_flow():
    flow, *_ = corridors.pair(FIRST, SECOND)
    pose = essential.estimate(_points(flow), corridors.INTRINSICS)
    direction, rotation = _errors(pose)
    assert direction < 0.02
    assert rotation < 0.002
    assert pose.inliers == pytest.approx(1)
    assert pose.positive == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(pose.direction), 1)


@pytest.mark.parametrize("position", [(0.8, 0, 0), (0, 0, -0.8), (0.3, 0.3, 0.5)])
def test_translation_in_any_direction_is_found_with_its_sign(position):
    second = corridors.pose(angles=(0, -0.03, 0), position=position)
    flow, *_ = corridors.pair(FIRST, second)
    pose = essential.estimate(_points(flow), corridors.INTRINSICS)
    direction, rotation = _errors(pose, corridors.source_from_target(FIRST, second))
    assert direction < 0.05
    assert rotation < 0.01


def test_refinement_on_the_inliers_is_closer_than_magsac_alone():
    flow, *_ = corridors.pair(FIRST, SECOND)
    rng = np.random.default_rng(0)
    noisy = flow + rng.normal(0, 0.15, flow.shape).astype(np.float32)
    outlying = rng.random(flow.shape[:2]) < 0.25
    noisy[outlying] += rng.uniform(-8, 8, (outlying.sum(), 2)).astype(np.float32)
    errors = {
        refine: np.mean(
            [
                _errors(
                    essential.estimate(
                        _points(noisy, seed=seed),
                        corridors.INTRINSICS,
                        refine=refine,
                    )
                )
                for seed in range(5)
            ],
            axis=0,
        )
        for refine in (False, True)
    }
    assert (errors[True] < errors[False]).all()
    assert errors[True][0] < 1.0
    assert errors[True][1] < 0.05


def test_the_inverse_is_the_pose_of_the_exchanged_frames():
    flow, backward, *_ = corridors.pair(FIRST, SECOND)
    pose = essential.estimate(_points(flow), corridors.INTRINSICS).inverse()
    other = essential.estimate(_points(backward), corridors.INTRINSICS)
    assert corridors.angle(pose.direction, other.direction) < 0.05
    assert corridors.angle(pose.rotation, other.rotation) < 0.01


def test_too_few_points_give_no_pose():
    flow, *_ = corridors.pair(FIRST, SECOND)
    few = np.zeros_like(EVERYWHERE)
    few[0, : essential.MIN_POINTS - 1] = True
    points = essential.sample(flow, few, num_points=1000)
    assert essential.estimate(points, corridors.INTRINSICS) is None


def test_points_are_drawn_without_repetition_and_joined_with_swapped_ones():
    flow, *_ = corridors.pair(FIRST, SECOND)
    points = _points(flow, num_points=300)
    assert len(np.unique(points.target, axis=0)) == 300
    joined = points.joined(points.swapped())
    np.testing.assert_array_equal(joined.source[300:], points.target)
    np.testing.assert_array_equal(joined.target[300:], points.source)


def test_rotation_alone_is_exact_and_leaves_nothing():
    second = corridors.pose(angles=(0.01, -0.04, 0.02))
    flow, *_ = corridors.pair(FIRST, second)
    rotation, left = turning.rotation_only(_points(flow), corridors.INTRINSICS)
    expected = corridors.source_from_target(FIRST, second)[:3, :3]
    assert corridors.angle(rotation, expected) < 1e-3
    assert left < 1e-3


def test_rotation_alone_does_not_explain_translation():
    flow, *_ = corridors.pair(FIRST, SECOND)
    _, left = turning.rotation_only(_points(flow), corridors.INTRINSICS)
    assert left > 1
