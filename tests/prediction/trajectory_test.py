"""Steps chain to the way that they are the steps of."""

import numpy as np
import pytest
from scipy.spatial import transform

from mdm_jax.prediction import trajectory


@pytest.mark.parametrize("count", [0, 1, 7])
def test_steps_of_a_way_chain_to_that_way(count):
    rng = np.random.default_rng(0)
    world_from_camera = np.tile(np.eye(4), (count + 1, 1, 1))
    turns = transform.Rotation.from_rotvec(rng.normal(size=(count + 1, 3)))
    world_from_camera[1:, :3, :3] = turns.as_matrix()[1:]
    world_from_camera[1:, :3, 3] = rng.normal(size=(count, 3))
    # source_from_target of frames i (target) and i + 1 (source).
    steps = np.linalg.inv(world_from_camera[1:]) @ world_from_camera[:-1]
    chained = trajectory.chain(steps[:, :3, :3], steps[:, :3, 3])
    np.testing.assert_allclose(chained, world_from_camera, atol=1e-12)


def test_rounded_rotations_stay_rotations_over_thousands_of_frames():
    turn = transform.Rotation.from_rotvec([0, 0.01, 0]).as_matrix()
    rounded = np.tile(turn * (1 + 1e-4), (3000, 1, 1))
    poses = trajectory.chain(rounded, np.zeros((3000, 3)))
    last = poses[-1, :3, :3]
    np.testing.assert_allclose(last @ last.T, np.eye(3), atol=1e-9)
