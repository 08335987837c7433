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


def _regions() -> jax.Array:
    return jnp.asarray(np.random.default_rng(6).integers(0, 4, (H, W)), jnp.int32)


def test_every_region_moves_by_its_own_pose():
    background, objects = _egomotion(), _egomotion(3)
    regions, points = _regions(), _random(H, W, 3)
    moved = apply(jax.jit(motion.paint)(background, objects, regions), points)
    for y, x in np.ndindex(H, W):
        region = int(regions[y, x])
        own = jax.tree.map(lambda leaf, i=region - 1: leaf[i], objects)
        expected = own if region else background
        np.testing.assert_allclose(
            moved[y, x],
            expected.rotation @ points[y, x] + expected.translation,
            rtol=1e-5,
            atol=1e-6,
        )


def test_painting_is_exact_and_its_gradient_goes_to_the_pixels_pose_only():
    objects, regions = _egomotion(3), _regions()
    field = motion.paint(pose.identity(), objects, regions)
    still = np.asarray(regions) == 0
    np.testing.assert_array_equal(
        field.rotation[still], np.broadcast_to(np.eye(3), (still.sum(), 3, 3))
    )
    assert not field.translation[still].any()
    two = np.asarray(regions) == 2
    np.testing.assert_array_equal(
        field.translation[two],
        np.broadcast_to(objects.translation[1], (two.sum(), 3)),
    )

    def total(translation):
        moved = Pose(objects.rotation, translation)
        return jnp.sum(motion.paint(pose.identity(), moved, regions).translation)

    gradient = jax.grad(total)(objects.translation)
    for i in range(3):
        np.testing.assert_allclose(gradient[i], (np.asarray(regions) == i + 1).sum())


def test_the_residual_is_what_egomotion_does_not_explain():
    egomotion, objects = _egomotion(), _egomotion(3)
    regions, points = _regions(), _random(H, W, 3)
    field = motion.paint(pose.identity(), objects, regions)
    residual = motion.residual_translation(egomotion, field, points)
    # E P X = E X + residual
    compose = jax.vmap(pose.compose, in_axes=(None, 0))
    total = motion.paint(egomotion, compose(egomotion, objects), regions)
    np.testing.assert_allclose(
        apply(total, points),
        pose.transform(egomotion, points) + residual,
        rtol=1e-5,
        atol=1e-5,
    )
    assert not residual[np.asarray(regions) == 0].any()


def test_painting_takes_leading_axes():
    background, objects = _egomotion(2), _egomotion(2, 3)
    regions = jnp.stack([_regions(), _regions()[::-1]])
    field = motion.paint(background, objects, regions)
    each = jax.vmap(motion.paint)(background, objects, regions)
    jax.tree.map(np.testing.assert_array_equal, field, each)
