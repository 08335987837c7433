from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import jaxlie
import numpy as np
import pytest

from mdm_jax.geometry import pose
from mdm_jax.structs import Pose

# Compiled: operation by operation, these tests would mostly wait for XLA.
compose = jax.jit(pose.compose)
inverse = jax.jit(pose.inverse)
transform = jax.jit(pose.transform)
to_matrix = jax.jit(pose.to_matrix)
from_euler = jax.jit(pose.from_euler)


def _random_pose(*shape: int, seed: int = 0) -> Pose:
    random = np.random.default_rng(seed)
    angles, translation = jnp.asarray(random.normal(size=(2, *shape, 3)), jnp.float32)
    return from_euler(angles, translation)


def _random_points(*shape: int) -> jax.Array:
    points = np.random.default_rng(9).normal(size=(*shape, 3))
    return jnp.asarray(points, jnp.float32)


def _assert_close(actual: Pose, expected: Pose) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), actual, expected
    )


def _jaxlie(a_from_b: Pose) -> jaxlie.SE3:
    return jaxlie.SE3.from_matrix(to_matrix(a_from_b))


def test_composing_agrees_with_jaxlie():
    a_from_b, b_from_c = _random_pose(seed=1), _random_pose(seed=2)
    expected = (_jaxlie(a_from_b) @ _jaxlie(b_from_c)).as_matrix()
    a_from_c = to_matrix(compose(a_from_b, b_from_c))
    np.testing.assert_allclose(a_from_c, expected, atol=2e-6)


def test_inverting_agrees_with_jaxlie():
    a_from_b = _random_pose(seed=3)
    expected = _jaxlie(a_from_b).inverse().as_matrix()
    b_from_a = to_matrix(inverse(a_from_b))
    np.testing.assert_allclose(b_from_a, expected, atol=2e-6)


def test_a_pose_after_its_inverse_is_the_identity():
    a_from_b = _random_pose(5)
    b_from_a = inverse(a_from_b)
    _assert_close(compose(a_from_b, b_from_a), pose.identity((5,)))
    _assert_close(compose(b_from_a, a_from_b), pose.identity((5,)))


def test_identity_is_neutral():
    a_from_b = _random_pose(2)
    _assert_close(compose(a_from_b, pose.identity()), a_from_b)
    _assert_close(compose(pose.identity((1,)), a_from_b), a_from_b)


def test_transforming_by_a_composition_is_transforming_twice():
    a_from_b, b_from_c = _random_pose(seed=1), _random_pose(seed=2)
    points_c = _random_points(4, 7)
    once = transform(compose(a_from_b, b_from_c), points_c)
    twice = transform(a_from_b, transform(b_from_c, points_c))
    np.testing.assert_allclose(once, twice, atol=1e-5)


def test_transforming_agrees_with_homogeneous_matrices_for_every_pose():
    a_from_b = _random_pose(2, 3)
    points_b = _random_points(2, 3, 5)
    matrices = np.asarray(to_matrix(a_from_b))
    for i in range(2):
        for j in range(3):
            expected = [(matrices[i, j] @ [*point, 1])[:3] for point in points_b[i, j]]
            actual = transform(a_from_b, points_b)[i, j]
            np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_matrices_round_trip():
    a_from_b = _random_pose(3)
    _assert_close(pose.from_matrix(to_matrix(a_from_b)), a_from_b)


def test_a_matrix_without_its_last_row_is_an_error():
    with pytest.raises(ValueError, match=r"got \[2, 3, 4\]: append the row"):
        inspect.unwrap(pose.from_matrix)(jnp.zeros((2, 3, 4)))


def test_gradients_are_finite_at_zero_motion():
    def loss(parameters):
        a_from_b = pose.from_euler(parameters[:3], parameters[3:])
        there_and_back = pose.compose(a_from_b, pose.inverse(a_from_b))
        return jnp.sum(pose.transform(there_and_back, _random_points(4)))

    gradient = jax.jit(jax.grad(loss))(jnp.zeros(6))
    np.testing.assert_allclose(gradient, 0, atol=1e-5)  # always the identity
