"""Convolutions in a form that XLA likes equal the plain ones, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mdm_jax.networks import convolution

NHWC = ("NHWC", "HWIO", "NHWC")


def _random(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def _assert_same_with_gradients(ours, plain, x, kernel):
    weight = _random(*jax.eval_shape(plain, x, kernel).shape, seed=9)

    def both(function):
        def loss(x, kernel):
            return jnp.sum(function(x, kernel) * weight)

        return function(x, kernel), *jax.grad(loss, (0, 1))(x, kernel)

    for a, b in zip(both(ours), both(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(5, 7), (4, 6), (1, 1)])
def test_transposed_convolution_equals_that_of_lax(size):
    x, kernel = _random(2, *size, 3), _random(3, 3, 3, 5, seed=1)

    def plain(x, kernel):
        return lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=NHWC)

    _assert_same_with_gradients(convolution.transposed_conv, plain, x, kernel)


@pytest.mark.parametrize("size", [(10, 12), (9, 11)])
@pytest.mark.parametrize("channels", [(3, 4), (6, 5)])
def test_convolution_with_zero_padding_equals_that_of_lax(size, channels):
    ci, co = channels
    x, kernel = _random(2, *size, ci), _random(3, 3, ci, co, seed=1)

    def ours(x, kernel):
        return convolution.conv3x3(x, kernel, padding="zeros")

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=NHWC
        )

    _assert_same_with_gradients(ours, plain, x, kernel)


@pytest.mark.parametrize("size", [(10, 12), (3, 5)])
def test_convolution_with_reflection_equals_padding_first(size):
    x, kernel = _random(2, *size, 4), _random(3, 3, 4, 3, seed=1)

    def ours(x, kernel):
        return convolution.conv3x3(x, kernel, padding="reflect")

    def plain(x, kernel):
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return lax.conv_general_dilated(
            padded, kernel, (1, 1), "VALID", dimension_numbers=NHWC
        )

    _assert_same_with_gradients(ours, plain, x, kernel)


def test_space_to_depth_and_back_is_the_identity():
    x = _random(2, 6, 8, 3)
    packed = convolution.space_to_depth(x)
    assert packed.shape == (2, 3, 4, 12)
    np.testing.assert_array_equal(packed[0, 1, 2, 3:6], x[0, 2, 5])
    np.testing.assert_array_equal(convolution.depth_to_space(packed), x)
