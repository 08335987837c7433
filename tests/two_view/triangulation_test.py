"""Tests of triangulation: exact with true flow and pose, and never NaN where known."""

import numpy as np
import pytest

from mdm_jax.recording import true_motion
from mdm_jax.two_view import triangulation
from tests.two_view import corridors

FIRST = corridors.pose()
SECOND = corridors.pose(angles=(0.01, 0.03, -0.005), position=(0.2, 0.05, 0.9))
MOTION = corridors.source_from_target(FIRST, SECOND)


def _triangulate(flow, intrinsics=corridors.INTRINSICS, motion=MOTION):
    return triangulation.triangulate(flow, intrinsics, motion[:3, :3], motion[:3, 3])


def test_depth_is_exact_with_true_flow_and_pose():
    flow, _, depth, _ = corridors.pair(FIRST, SECOND)
    views = _triangulate(flow)
    parallax = views.parallax > 0.1
    np.testing.assert_allclose(views.depth[parallax], depth[parallax], rtol=2e-3)
    assert parallax.mean() > 0.9
    assert views.residual.max() < 1e-3


def test_depth_of_a_rendered_drive_is_exact_where_nothing_moves(drive):
    flow = true_motion.optical_flow(drive, 2, 3)
    views = _triangulate(flow, drive.intrinsics, true_motion.camera_motion(drive, 2, 3))
    static = ~true_motion.moving_mask(drive, 2, 3, threshold=0) & np.isfinite(
        flow[..., 0]
    )
    static &= views.parallax > 0.05
    assert static.mean() > 0.5
    np.testing.assert_allclose(views.depth[static], drive.depth[2][static], rtol=1e-3)
    assert views.residual[static].max() < 1e-3


def test_parallax_is_the_distance_to_where_rotation_alone_leads():
    flow, *_ = corridors.pair(FIRST, SECOND)
    turned, *_ = corridors.pair(FIRST, corridors.pose(angles=(0.01, 0.03, -0.005)))
    expected = np.linalg.norm(flow - turned, axis=-1)
    np.testing.assert_allclose(_triangulate(flow).parallax, expected, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
def test_half_a_pixel_of_the_principal_point_matters(axis):
    flow, _, depth, _ = corridors.pair(FIRST, SECOND)
    shifted = corridors.INTRINSICS.copy()
    shifted[axis, 2] += 0.5
    right, wrong = (
        np.mean(np.abs(_triangulate(flow, matrix).depth / depth - 1) > 0.01)
        for matrix in (corridors.INTRINSICS, shifted)
    )
    assert right < 0.01
    assert wrong > 0.25


def test_depth_is_in_units_of_the_translation():
    flow, *_ = corridors.pair(FIRST, SECOND)
    longer = MOTION.copy()
    longer[:3, 3] *= 3
    one, other = _triangulate(flow), _triangulate(flow, motion=longer)
    np.testing.assert_allclose(other.depth, 3 * one.depth, rtol=1e-5)
    np.testing.assert_allclose(other.residual, one.residual, atol=1e-4)


def test_the_opposite_translation_negates_depth():
    flow, *_ = corridors.pair(FIRST, SECOND)
    opposite = MOTION.copy()
    opposite[:3, 3] *= -1
    np.testing.assert_allclose(
        _triangulate(flow, motion=opposite).depth, -_triangulate(flow).depth, rtol=1e-6
    )


def test_a_flipped_pair_gives_flipped_depth():
    flow, *_ = corridors.pair(FIRST, SECOND)
    flipped = flow[:, ::-1] * np.array([-1, 1], np.float32)
    matrix = corridors.INTRINSICS.copy()
    matrix[0, 2] = corridors.W - 1 - matrix[0, 2]
    mirror = np.diag([-1.0, 1, 1, 1])
    views = _triangulate(flipped, matrix, mirror @ MOTION @ mirror)
    for one, other in zip(views, _triangulate(flow), strict=True):
        np.testing.assert_allclose(one[:, ::-1], other, rtol=1e-4, atol=1e-4)


def test_unknown_flow_has_no_depth_and_parallel_rays_infinite_depth():
    turned = corridors.pose(angles=(0.02, 0, 0))
    flow, *_ = corridors.pair(FIRST, turned)
    motion = corridors.source_from_target(FIRST, turned)
    motion[2, 3] = -1
    exact = np.zeros_like(flow)
    still = np.eye(4)
    still[2, 3] = -1
    assert np.isinf(_triangulate(exact, motion=still).depth).all()
    flow[3, 4] = np.nan
    views = _triangulate(flow, motion=motion)
    assert np.isnan(views.depth[3, 4])
    assert not np.isnan(np.delete(views.residual, 3 * corridors.W + 4)).any()
