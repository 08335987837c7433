"""Pooling and resizing against slow loops and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from mdm_jax.networks import resampling


def _random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_max_pool_is_the_maximum_over_windows_of_three(size):
    x = _random(2, *size, 3)
    got = np.asarray(resampling.max_pool(jnp.asarray(x)))
    height, width = size
    assert got.shape == (2, (height + 1) // 2, (width + 1) // 2, 3)
    for i in range(got.shape[1]):
        for j in range(got.shape[2]):
            window = x[:, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            np.testing.assert_array_equal(got[:, i, j], window.max(axis=(1, 2)))


def test_the_gradient_of_max_pool_goes_to_the_maximum():
    x = jnp.asarray(_random(1, 6, 8, 2))
    gradient = jax.grad(lambda x: jnp.sum(resampling.max_pool(x)))(x)
    assert float(gradient.sum()) == pytest.approx(2 * 3 * 4)
    assert set(np.unique(gradient)) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_resize_with_aligned_corners_equals_scipy():
    x = _random(1, 5, 7, 2)
    got = resampling.resize_bilinear(jnp.asarray(x), (9, 4))
    rows, columns = np.meshgrid(
        np.linspace(0, 4, 9), np.linspace(0, 6, 4), indexing="ij"
    )
    for c in range(2):
        want = ndimage.map_coordinates(x[0, ..., c], [rows, columns], order=1)
        np.testing.assert_allclose(got[0, ..., c], want, atol=1e-5)


def test_one_pixel_resizes_to_a_constant():
    got = resampling.resize_bilinear(jnp.full((1, 1, 1, 3), 2.5), (3, 5))
    np.testing.assert_allclose(got, np.full((1, 3, 5, 3), 2.5))


def test_doubling_keeps_half_pixel_centres():
    # A ramp over the image's area, sampled at both resolutions.
    coarse = (jnp.arange(6) + 0.5)[None, None, :, None] * jnp.ones((1, 4, 1, 1))
    fine = resampling.double_bilinear(coarse, (8, 12))
    want = (np.arange(12) + 0.5) / 2
    np.testing.assert_allclose(fine[0, 3, 1:-1, 0], want[1:-1], atol=1e-6)


def test_average_pool_is_the_mean_of_blocks():
    x = _random(2, 4, 6, 3)
    got = resampling.average_pool(jnp.asarray(x))
    want = x.reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(got, want, atol=1e-6)
