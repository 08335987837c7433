"""Parametrised layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import layers

_KEY = jax.random.key(0)


def _normalized(x, *, noise_stddev=0.0, train=False, seed=0):
    module = layers.RandomizedLayerNorm()
    variables = module.init(_KEY, x)
    return module.apply(
        variables,
        x,
        noise_stddev=noise_stddev,
        train=train,
        rngs={"noise": jax.random.key(seed)},
    )


def _features():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(2.0, 3.0, (3, 12, 14, 5)), jnp.float32)


def test_norm_gives_each_image_and_channel_mean_0_and_variance_1():
    y = _normalized(_features())
    np.testing.assert_allclose(jnp.mean(y, axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(jnp.var(y, axis=(1, 2)), 1.0, atol=1e-3)


def test_norm_has_no_noise_in_evaluation_and_at_zero_stddev():
    x = _features()
    expected = _normalized(x)
    evaluated = _normalized(x, noise_stddev=0.5, train=False)
    np.testing.assert_array_equal(evaluated, expected)
    np.testing.assert_allclose(_normalized(x, train=True), expected, atol=1e-6)


def test_norm_in_evaluation_needs_no_random_stream():
    module = layers.RandomizedLayerNorm()
    x = _features()
    module.apply(module.init(_KEY, x), x, noise_stddev=0.5, train=False)


def test_norm_noise_scales_mean_and_variance_by_at_most_two_stddevs():
    x = jnp.tile(_features(), (8, 1, 1, 8))
    sigma = 0.2
    y = _normalized(x, noise_stddev=jnp.float32(sigma), train=True)
    variance = jnp.var(x, axis=(1, 2))
    # var(y) = var / (var (1 + n) + eps)
    n_variance = (variance / jnp.var(y, axis=(1, 2)) - 1e-3) / variance - 1
    # mean(y) = -mean n / sqrt(var (1 + n) + eps)
    root = jnp.sqrt(variance * (1 + n_variance) + 1e-3)
    n_mean = -jnp.mean(y, axis=(1, 2)) * root / jnp.mean(x, axis=(1, 2))
    for noise in (n_variance, n_mean):
        assert float(jnp.max(jnp.abs(noise))) <= 2 * sigma + 1e-3
        # A normal distribution truncated at 2 sigma has 0.88 of its deviation.
        assert float(jnp.std(noise)) == pytest.approx(0.88 * sigma, rel=0.1)
    assert abs(float(jnp.corrcoef(n_mean.ravel(), n_variance.ravel())[0, 1])) < 0.2


def test_norm_noise_differs_between_draws():
    x = _features()
    first, second = (
        _normalized(x, noise_stddev=0.3, train=True, seed=s) for s in (0, 1)
    )
    assert float(jnp.max(jnp.abs(first - second))) > 0.01


def test_norm_of_a_constant_map_is_its_offset_with_finite_gradient():
    x = jnp.full((1, 3, 4, 2), 7.0)
    np.testing.assert_allclose(_normalized(x), 0.0, atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(jnp.square(_normalized(x))))(x)
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_scale_below_its_minimum_is_clamped_but_can_grow():
    def scale(value):
        return layers.LearnedScale().apply({"params": {"scale": value}})

    assert float(scale(0.01)) == pytest.approx(0.01)
    value, gradient = jax.value_and_grad(scale)(-0.5)
    assert float(value) == pytest.approx(0.001, rel=1e-3)
    assert float(gradient) == 1.0


def test_initializer_has_hes_variance():
    values = layers.scaled_normal()(_KEY, (3, 3, 20, 50))
    assert values.shape == (3, 3, 20, 50)
    assert float(jnp.var(values)) == pytest.approx(2 / 180, rel=0.05)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_conv_halves_rounding_up_and_is_centred_at_even_pixels(stride, kernel_size):
    module = layers.Conv(2, kernel_size, stride, use_bias=False)
    x = np.random.default_rng(0).normal(size=(1, 7, 10, 3)).astype(np.float32)
    variables = module.init(_KEY, x)
    y = module.apply(variables, x)
    assert y.shape == (1, -(-7 // stride), -(-10 // stride), 2)
    # The kernel's mirror image of an output pixel: a delta finds the kernel.
    delta = jnp.zeros((1, 9, 9, 3)).at[0, 4, 4, 1].set(1.0)
    kernel = variables["params"]["kernel"]
    response = module.apply(variables, delta)
    centre = kernel[kernel_size // 2, kernel_size // 2, 1]
    np.testing.assert_allclose(response[0, 4 // stride, 4 // stride], centre, rtol=1e-5)


def test_convs_compute_in_bfloat16_with_float32_parameters():
    x = jnp.ones((1, 5, 6, 3))
    for module in (
        layers.Conv(4, dtype=jnp.bfloat16),
        layers.TransposedConv(4, jnp.bfloat16),
    ):
        variables = module.init(_KEY, x)
        assert module.apply(variables, x).dtype == jnp.bfloat16
        assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))


def test_widths_scale_down_to_four():
    assert layers.scaled_width(64, 0.25) == 16
    assert layers.scaled_width(64, 0.01) == 4
