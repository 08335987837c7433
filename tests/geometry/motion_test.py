from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax.geometry import motion, pose
from mdm_jax.structs import Motion, Pose

H, W = 5, 7

apply = jax.jit(motion.apply)


def _random(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _egomotion(*shape: int) -> Pose:
    angles, translation = _random(*shape, 3, seed=1), _random(*shape, 3, seed=2)
    return jax.jit(pose.from_euler)(angles, translation)


def test_ego_only_motion_transforms_every_point_by_the_pose():
    points = _random(H, W, 3)
    moved = apply(motion.ego_only(_egomotion(), (H, W)), points)
    np.testing.assert_allclose(
        moved, pose.transform(_egomotion(), points), rtol=1e-5, atol=1e-6
    )


def test_residual_translation_adds_to_egomotion():
    points, residual = _random(H, W, 3), _random(H, W, 3, seed=3)
    moved = apply(motion.total(_egomotion(), residual), points)
    static = apply(motion.ego_only(_egomotion(), (H, W)), points)
    np.testing.assert_allclose(moved, static + residual, rtol=1e-5, atol=1e-6)


def test_zero_residual_is_ego_only_motion():
    total = motion.total(_egomotion(), jnp.zeros((H, W, 3)))
    jax.tree.map(
        np.testing.assert_array_equal, total, motion.ego_only(_egomotion(), (H, W))
    )


def test_a_field_of_poses_moves_each_point_by_its_own():
    field = Motion(rotation=_random(H, W, 3, 3), translation=_random(H, W, 3, seed=4))
    points = _random(H, W, 3, seed=5)
    moved = apply(field, points)
    for y, x in np.ndindex(H, W):
        expected = field.rotation[y, x] @ points[y, x] + field.translation[y, x]
        np.testing.assert_allclose(moved[y, x], expected, rtol=1e-5, atol=1e-6)


def test_one_rotation_and_one_translation_stand_for_all_points():
    points = _random(H, W, 3)
    egomotion = _egomotion()
    bare = Motion(rotation=egomotion.rotation, translation=egomotion.translation)
    np.testing.assert_allclose(
        apply(bare, points), pose.transform(egomotion, points), rtol=1e-5
    )


def test_leading_axes_are_as_good_as_vmap():
    egomotion, points = _egomotion(2, 3), _random(2, 3, H, W, 3)
    residual = _random(2, 3, H, W, 3, seed=3)

    @jax.jit
    def move(egomotion, residual, points):
        return motion.apply(motion.total(egomotion, residual), points)

    mapped = jax.jit(jax.vmap(jax.vmap(move)))(egomotion, residual, points)
    np.testing.assert_allclose(
        move(egomotion, residual, points), mapped, rtol=1e-5, atol=1e-6
    )
    assert motion.ego_only(egomotion, (H, W)).translation.shape == (2, 3, H, W, 3)
