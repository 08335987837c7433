"""Tests of rigid transforms in NumPy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.files.errors import DataError
from mdm_jax.geometry import rigid
from mdm_jax.sources import timed_scans


def test_quaternions_agree_with_scipy():
    rng = np.random.default_rng(0)
    for rotation in Rotation.random(20, rng=rng):
        w_last = rotation.as_quat()
        pose = rigid.from_quaternion(np.roll(w_last, 1), np.array([1.0, 2, 3]))
        np.testing.assert_allclose(pose[:3, :3], rotation.as_matrix(), atol=1e-12)
        np.testing.assert_array_equal(pose[:, 3], [1, 2, 3, 1])


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0], None])
def test_a_quaternion_that_is_no_rotation_is_refused(quaternion):
    with pytest.raises(DataError, match="f: .*pose 7"):
        timed_scans.pose(quaternion, [0, 0, 0], path="f", name="pose 7")


def test_an_inverse_undoes_a_motion():
    rotation = Rotation.random(5, rng=np.random.default_rng(1)).as_matrix()
    poses = np.stack([rigid.matrix(r, np.array([3, -4, 50])) for r in rotation])
    product = rigid.inverse(poses) @ poses
    np.testing.assert_allclose(product, np.tile(np.eye(4), (5, 1, 1)), atol=1e-12)


def test_scaled_mirrored_and_infinite_matrices_are_not_rigid():
    rotation = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    good = rigid.matrix(rotation, np.array([1e6, 0, -3]))
    wrong = [rigid.matrix(m, np.zeros(3)) for m in (1.01 * rotation, -rotation)]
    wrong += [np.full((4, 4), np.nan), rigid.matrix(1e200 * rotation, np.zeros(3))]
    found = rigid.is_rigid(np.stack([good, *wrong]))
    assert found.tolist() == [True, False, False, False, False]
