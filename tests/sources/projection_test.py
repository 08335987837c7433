"""Tests of rigid chains, projection and sparse depth maps."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.files.errors import DataError
from mdm_jax.sources import projection


def test_quaternions_agree_with_scipy():
    rng = np.random.default_rng(0)
    for rotation in Rotation.random(20, rng=rng):
        w_last = rotation.as_quat()
        pose = projection.from_quaternion(
            np.roll(w_last, 1).tolist(), [1, 2, 3], path="f", name="p"
        )
        np.testing.assert_allclose(pose[:3, :3], rotation.as_matrix(), atol=1e-12)
        np.testing.assert_array_equal(pose[:, 3], [1, 2, 3, 1])


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0], None])
def test_what_is_no_unit_quaternion_is_refused(quaternion):
    with pytest.raises(DataError, match="f: .*pose 7"):
        projection.from_quaternion(quaternion, [0, 0, 0], path="f", name="pose 7")


def test_an_inverse_undoes_a_motion():
    rotation = Rotation.random(5, rng=np.random.default_rng(1)).as_matrix()
    poses = np.stack([projection.rigid(r, [3, -4, 50]) for r in rotation])
    product = projection.inverse(poses) @ poses
    np.testing.assert_allclose(product, np.tile(np.eye(4), (5, 1, 1)), atol=1e-12)


def test_vehicle_axes_are_ahead_left_up():
    pose = projection.vehicle_from_camera_axes()
    ahead_right_down = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    expected = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
    np.testing.assert_array_equal(
        projection.transform(pose, ahead_right_down), expected
    )


def test_points_behind_or_outside_are_left_out():
    matrix = np.array([[2.0, 0, 1.5], [0, 2, 1], [0, 0, 1]])
    points = np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 0], [1, 0, 1], [9, 0, 1]])
    found = projection.project(points, matrix, (3, 4))
    np.testing.assert_allclose(found, [[1.5, 1, 1]], atol=1e-6)
    assert len(projection.project(points, matrix, None)) == 3


def test_an_image_reaches_half_a_pixel_beyond_its_centres():
    points = np.array([[-0.5, 0, 1], [-0.51, 0, 1], [3.49, 2.49, 1], [3.5, 0, 1]])
    kept = projection.inside(points, (3, 4))
    np.testing.assert_array_equal(kept, points[[0, 2]])


def test_the_nearest_point_wins_a_pixel():
    rng = np.random.default_rng(2)
    points = np.column_stack(
        [rng.uniform(-1, 5, 200), rng.uniform(-1, 4, 200), rng.uniform(1, 9, 200)]
    )
    expected = np.zeros((3, 4))
    for x, y, z in points:
        column, row = round(x), round(y)
        if 0 <= row < 3 and 0 <= column < 4:
            expected[row, column] = min(z, expected[row, column] or z)
    np.testing.assert_allclose(
        projection.depth_map(points, (3, 4)), expected, rtol=1e-6
    )
    empty = projection.depth_map(np.zeros((0, 3)), (3, 4))
    np.testing.assert_array_equal(empty, np.zeros((3, 4)))
