from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import transform

from mdm_jax.geometry import rotation

# Compiled: operation by operation, these tests would mostly wait for XLA.
from_euler = jax.jit(rotation.from_euler)
angle = jax.jit(rotation.angle)


def _random_angles(*shape: int, scale: float = 1.0, seed: int = 0) -> jax.Array:
    random = np.random.default_rng(seed)
    return jnp.asarray(random.uniform(-scale, scale, (*shape, 3)), jnp.float32)


def test_from_euler_agrees_with_scipy():
    angles = _random_angles(5, scale=3.0)
    # Capital letters: intrinsic rotations, R = Rx Ry Rz.
    expected = transform.Rotation.from_euler("XYZ", angles).as_matrix()
    np.testing.assert_allclose(from_euler(angles), expected, atol=1e-6)


@pytest.mark.parametrize(("axis", "moved", "to"), [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_quarter_turn_about_each_axis_is_right_handed(axis, moved, to):
    angles = np.zeros(3, np.float32)
    angles[axis] = np.pi / 2
    turned = rotation.apply(from_euler(jnp.asarray(angles)), jnp.eye(3)[moved])
    np.testing.assert_allclose(turned, np.eye(3)[to], atol=1e-6)


def test_from_euler_returns_proper_rotations():
    R = np.asarray(from_euler(_random_angles(2, 4, scale=3.0)), np.float64)
    identity = np.broadcast_to(np.eye(3), R.shape)
    np.testing.assert_allclose(R @ np.swapaxes(R, -1, -2), identity, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-6)


def test_small_angles_are_exact_to_first_order():
    x, y, z = 3e-6, -2e-6, 1e-6
    R = from_euler(jnp.array([x, y, z]))
    expected = np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]])
    np.testing.assert_allclose(R, expected, rtol=1e-5)


def test_from_euler_at_zero_has_the_generators_as_gradient():
    jacobian = jax.jit(jax.jacobian(rotation.from_euler))(jnp.zeros(3))
    generators = np.zeros((3, 3, 3))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        generators[i, j, k], generators[j, i, k] = -1, 1
    np.testing.assert_array_equal(jacobian, generators)


def test_to_euler_inverts_from_euler():
    angles = _random_angles(7, scale=1.5) * jnp.array([[2.0, 1.0, 2.0]])
    there_and_back = rotation.to_euler(from_euler(angles))
    np.testing.assert_allclose(there_and_back, angles, atol=1e-5)


def test_to_euler_has_a_finite_gradient_at_the_identity():
    jacobian = jax.jit(jax.jacobian(rotation.to_euler))(jnp.eye(3))
    assert np.isfinite(jacobian).all()


def test_angle_is_the_length_of_the_rotation_vector():
    vectors = np.array([[0, 0, 0], [1e-5, 0, 0], [0.3, -1, 0.7], [0, 3.14, 0]])
    R = transform.Rotation.from_rotvec(vectors).as_matrix().astype(np.float32)
    expected = np.linalg.norm(vectors, axis=-1)
    np.testing.assert_allclose(angle(jnp.asarray(R)), expected, rtol=1e-4, atol=1e-7)


def test_angle_is_the_same_of_the_inverse():
    R = from_euler(_random_angles(6, scale=3.0))
    inverse_angle = angle(jnp.swapaxes(R, -1, -2))
    np.testing.assert_allclose(angle(R), inverse_angle, atol=1e-6)


@pytest.mark.parametrize("diagonal", [(1, 1, 1), (1, -1, -1)])
def test_angle_has_a_finite_gradient_at_zero_and_at_pi(diagonal):
    gradient = jax.jit(jax.grad(rotation.angle))(
        jnp.diag(jnp.array(diagonal, jnp.float32))
    )
    assert np.isfinite(gradient).all()


def test_angle_of_euler_angles_has_a_finite_gradient_at_zero():
    @jax.jit
    @jax.grad
    def gradient(angles):
        return rotation.angle(rotation.from_euler(angles))

    np.testing.assert_array_equal(gradient(jnp.zeros(3)), 0)


def test_apply_is_the_matrix_product_and_broadcasts():
    random = np.random.default_rng(1)
    matrices = random.normal(size=(2, 1, 3, 3)).astype(np.float32)
    points = random.normal(size=(1, 5, 3)).astype(np.float32)
    expected = (matrices @ points[..., None])[..., 0]
    actual = rotation.apply(jnp.asarray(matrices), jnp.asarray(points))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
