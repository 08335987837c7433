"""Consistency of a view put together: formulas, masks, and where gradients go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import instance_consistency as losses
from mdm_jax.losses import smoothness

N, H, W = 2, 5, 7


def _random(*shape, seed=0, low=0.1, high=0.9):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(low, high, shape), jnp.float32)


def test_depths_that_agree_are_consistent_and_scale_does_not_matter():
    depth, other = _random(N, H, W), _random(N, H, W, seed=1)
    valid = jnp.ones((N, H, W), bool)
    np.testing.assert_array_equal(
        losses.depth_inconsistency(depth, depth, valid), jnp.zeros((N, H, W))
    )
    one = losses.depth_inconsistency(depth, other, valid)
    np.testing.assert_allclose(
        one, np.abs(depth - other) / np.asarray(depth + other), rtol=1e-5
    )
    np.testing.assert_allclose(
        losses.depth_inconsistency(3 * depth, 3 * other, valid), one, atol=1e-6
    )
    assert float(one.max()) < 1


def test_what_is_not_valid_neither_counts_nor_teaches():
    valid = jnp.zeros((N, H, W), bool).at[:, 1].set(True)
    bad = jnp.where(valid, 2.0, jnp.nan)

    def loss(sampled, computed):
        inconsistency = losses.depth_inconsistency(sampled, computed, valid)
        return losses.weighted_mean(inconsistency, valid.astype(jnp.float32))

    value, gradient = jax.jit(jax.value_and_grad(loss))(bad, jnp.full((N, H, W), 1.0))
    assert value == pytest.approx(1 / 3)
    assert jnp.isfinite(gradient).all()
    assert not jnp.where(valid, 0.0, gradient).any()


def test_weights_fall_with_inconsistency_and_carry_no_gradient():
    valid = jnp.ones((N, H, W), bool).at[0, 0, 0].set(False)
    inconsistency = _random(N, H, W)
    weight = losses.weighted_valid(valid, inconsistency)
    expected = np.where(valid, 1 - np.asarray(inconsistency), 0)
    np.testing.assert_allclose(weight, expected, rtol=1e-6)
    gradient = jax.grad(lambda x: losses.weighted_valid(valid, x).sum())(inconsistency)
    assert not gradient.any()


def test_pixels_count_where_the_warp_explains_more_than_none():
    target, source = _random(N, H, W, 3), _random(N, H, W, 3, seed=1)
    assert losses.explained(target, target, source).all()
    assert not losses.explained(target, source, source).any()


def test_the_photometric_loss_is_zero_for_equal_images_and_weighs_its_parts():
    target, view = _random(N, H, W, 3), _random(N, H, W, 3, seed=1)
    weight = _random(N, H, W, seed=2)
    assert losses.photometric(target, target, weight, ssim_share=0.85) == 0
    photometric = jax.jit(losses.photometric, static_argnames="ssim_share")
    color = photometric(target, view, weight, ssim_share=0.0)
    difference = np.abs(target - view).mean(axis=-1)
    expected = [np.average(d, weights=w) for d, w in zip(difference, weight)]
    assert color == pytest.approx(np.mean(expected), rel=1e-5)
    structure = photometric(target, view, weight, ssim_share=1.0)
    mixed = photometric(target, view, weight, ssim_share=0.85)
    assert mixed == pytest.approx(float(0.15 * color + 0.85 * structure), rel=1e-5)


def test_an_image_without_a_valid_pixel_adds_nothing():
    values, weight = _random(N, H, W), jnp.ones((N, H, W)).at[1].set(0.0)
    mean = losses.weighted_mean(values, weight)
    assert mean == pytest.approx(float(values[0].mean()) / 2, rel=1e-6)
    gradient = jax.grad(losses.weighted_mean)(values, weight)
    assert not gradient[1].any()
    assert not jax.grad(losses.weighted_mean, argnums=1)(values, weight).any()


def test_squared_smoothness_is_that_of_a_slow_loop():
    depth, image = _random(N, H, W), _random(N, H, W, 3, seed=1)
    across, down = [], []
    depth, image = np.asarray(depth), np.asarray(image)
    for n, y, x in np.ndindex(N, H, W):
        if x + 1 < W:
            edge = np.abs(image[n, y, x + 1] - image[n, y, x]).mean()
            step = depth[n, y, x + 1] - depth[n, y, x]
            across.append(float(step * np.exp(-edge)) ** 2)
        if y + 1 < H:
            edge = np.abs(image[n, y + 1, x] - image[n, y, x]).mean()
            step = depth[n, y + 1, x] - depth[n, y, x]
            down.append(float(step * np.exp(-edge)) ** 2)
    loss = smoothness.edge_aware_depth_squared(jnp.asarray(depth), jnp.asarray(image))
    assert loss == pytest.approx(np.mean(across) + np.mean(down), rel=1e-5)


def test_squared_smoothness_of_a_constant_is_zero_with_zero_gradient():
    depth, image = jnp.full((N, H, W), 3.0), _random(N, H, W, 3)
    value, gradient = jax.jit(jax.value_and_grad(smoothness.edge_aware_depth_squared))(
        depth, image
    )
    assert value == 0
    assert not gradient.any()
