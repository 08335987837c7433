import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import transform

from mdm_jax.losses import consistency

# Compiled: on values this small, one compilation costs less than one per operation.
depth_consistency = jax.jit(consistency.depth_consistency)
rotation_cycle = jax.jit(consistency.rotation_cycle)
translation_cycle = jax.jit(consistency.translation_cycle)


def rotations(seed, size=3, degrees=5.0):
    rng = np.random.default_rng(seed)
    angles = np.radians(degrees) * rng.normal(size=(size, 3))
    return transform.Rotation.from_rotvec(angles).as_matrix().astype(np.float32)


def fields(seed, shape=(3, 5, 7)):
    rng = np.random.default_rng(seed)
    forth, back = rng.normal(size=(2, *shape, 3)).astype(np.float32)
    return forth, back, rng.uniform(size=shape) < 0.7


def inverse(matrix):
    return np.swapaxes(matrix, -1, -2)


def cancelling(rotation, forth):
    """The backward translation that undoes the forward motion: -R^T T."""
    return -np.einsum("nji,nhwj->nhwi", rotation, forth)


def test_depth_consistency_agrees_with_loop():
    rng = np.random.default_rng(0)
    sampled, projected = rng.uniform(1, 3, (2, 2, 5, 7)).astype(np.float32)
    mask = rng.uniform(size=(2, 5, 7)) < 0.5
    total = 0.0
    for n, i, j in np.argwhere(mask):
        total += abs(float(sampled[n, i, j]) - projected[n, i, j])
    got = depth_consistency(mask, sampled, projected)
    assert got == pytest.approx(total / mask.size, rel=1e-5)


def test_equal_depths_and_empty_masks_give_exactly_zero_gradient():
    depth = jnp.full((1, 4, 5), 2.0)
    mask = np.ones((1, 4, 5), bool)
    loss = jax.jit(jax.value_and_grad(consistency.depth_consistency, argnums=(1, 2)))
    for arguments in [
        (mask, depth, depth),
        (~mask, depth, depth + 1),
        (~mask, jnp.full_like(depth, jnp.nan), depth),
    ]:
        value, gradients = loss(*arguments)
        assert value == 0
        assert not any(np.any(gradient) for gradient in gradients)


def test_inverse_rotations_cancel():
    rotation = rotations(1)
    assert rotation_cycle(rotation, inverse(rotation)) < 1e-8


def test_rotation_cycle_agrees_with_loop():
    forth, back = rotations(2), rotations(3)
    values = []
    for a, b in zip(np.float64(forth), np.float64(back), strict=True):
        error = ((a @ b - np.eye(3)) ** 2).sum()
        values.append(
            error / (((a - np.eye(3)) ** 2).sum() + ((b - np.eye(3)) ** 2).sum())
        )
    got = rotation_cycle(forth, back)
    assert got == pytest.approx(np.mean(values), rel=1e-4)


def test_rotation_cycle_is_relative():
    identity = np.broadcast_to(np.eye(3, dtype=np.float32), (3, 3, 3))
    for degrees in (0.1, 3.0):
        rotation = rotations(4, degrees=degrees)
        one = rotation_cycle(rotation, identity)
        assert one == pytest.approx(1.0, rel=1e-3)
        two = rotation_cycle(rotation, rotation)
        assert two == pytest.approx(2.0, rel=2e-2)


def test_no_rotation_has_exactly_zero_gradient():
    identity = jnp.broadcast_to(jnp.eye(3), (2, 3, 3))
    loss = jax.jit(jax.value_and_grad(consistency.rotation_cycle, argnums=(0, 1)))
    value, gradients = loss(identity, identity)
    assert value == 0
    assert not any(np.any(gradient) for gradient in gradients)


def test_inverse_motions_cancel():
    rotation = rotations(5)
    forth, _, mask = fields(6)
    back = cancelling(rotation, forth)
    assert translation_cycle(rotation, forth, back, mask) < 1e-10


def test_translation_cycle_agrees_with_loop():
    rotation = rotations(7)
    forth, back, mask = fields(8)
    total = 0.0
    for n, i, j in np.argwhere(mask):
        a, b = np.float64(forth[n, i, j]), np.float64(back[n, i, j])
        total += ((rotation[n] @ b + a) ** 2).sum() / (a @ a + b @ b)
    got = translation_cycle(rotation, forth, back, mask)
    assert got == pytest.approx(total / mask.size, rel=1e-4)


def test_translation_cycle_does_not_depend_on_the_scale_of_the_scene():
    rotation = rotations(9)
    forth, back, mask = fields(10)
    want = float(translation_cycle(rotation, forth, back, mask))
    for scale in (np.float32(1e-3), np.float32(1e3)):
        got = translation_cycle(rotation, scale * forth, scale * back, mask)
        assert got == pytest.approx(want, rel=1e-4)


def test_no_translation_and_empty_masks_give_exactly_zero_gradient():
    rotation = jnp.asarray(rotations(11))
    forth, back, mask = (jnp.asarray(field) for field in fields(12))
    loss = jax.jit(jax.value_and_grad(consistency.translation_cycle, (0, 1, 2)))
    for arguments in [
        (rotation, jnp.zeros_like(forth), jnp.zeros_like(back), mask),
        (rotation, forth, back, jnp.zeros_like(mask)),
        (rotation, forth, jnp.full_like(back, jnp.nan), jnp.zeros_like(mask)),
    ]:
        value, gradients = loss(*arguments)
        assert value == 0
        assert not any(np.any(gradient) for gradient in gradients)


def test_gradients_agree_with_finite_differences(check_gradient):
    forth, back, mask = fields(13, (2, 3, 4))

    def loss(rotation_ab, rotation_ba, forth, back):
        return (
            rotation_cycle(rotation_ab, rotation_ba)
            + translation_cycle(rotation_ab, forth, back, mask)
            + depth_consistency(mask, forth[..., 0], back[..., 0])
        )

    check_gradient(loss, rotations(14, 2), rotations(15, 2), forth, back)
