"""Values of the textbook operations, gradients that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import numerics

POSITIVE = np.random.default_rng(0).uniform(0.1, 3.0, (4, 5)).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "reference", "hard_point"),
    [
        (numerics.safe_sqrt, np.sqrt, 0.0),
        (numerics.safe_abs, np.abs, 0.0),
        (lambda x: numerics.safe_divide(2.0 * x, x), lambda x: 2.0 + 0 * x, 0.0),
        (numerics.safe_sqrt, np.sqrt, -1.0),
    ],
)
def test_safe_operations_equal_the_plain_ones_and_vanish_at_the_hard_point(
    function, reference, hard_point
):
    np.testing.assert_allclose(function(POSITIVE), reference(POSITIVE), rtol=1e-6)
    value, gradient = jax.value_and_grad(function)(jnp.float32(hard_point))
    assert value == 0
    assert gradient == 0


def test_safe_norm_has_no_gradient_at_zero_and_unit_gradient_elsewhere():
    np.testing.assert_allclose(
        numerics.safe_norm(jnp.asarray(POSITIVE)),
        np.linalg.norm(POSITIVE, axis=-1),
        rtol=1e-6,
    )
    gradient = jax.grad(lambda x: numerics.safe_norm(x))
    np.testing.assert_array_equal(gradient(jnp.zeros(3)), np.zeros(3))
    np.testing.assert_allclose(
        gradient(jnp.array([3.0, 0.0, 4.0])), [0.6, 0, 0.8], rtol=1e-6
    )


def test_matmul_is_float32_exact():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 6, 3, 3)).astype(np.float32)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    np.testing.assert_allclose(numerics.matmul(a, b), expected, atol=1e-6)


def test_masked_mean_ignores_what_is_masked_even_nan():
    values = jnp.array([1.0, jnp.nan, 3.0])
    mask = jnp.array([True, False, True])
    value, gradient = jax.value_and_grad(numerics.masked_mean)(values, mask)
    assert value == 2.0
    np.testing.assert_array_equal(gradient, [0.5, 0.0, 0.5])
    assert numerics.masked_mean(values, jnp.zeros(3, bool)) == 0.0
