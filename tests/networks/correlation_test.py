"""The correlation volume against a slow loop; its flow finds known shifts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import correlation, rays

RADIUS = (3, 2)


def _features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _slow(a, b, radius):
    radius_x, radius_y = radius
    batch, height, width, _ = a.shape
    out = np.zeros((batch, height, width, (2 * radius_y + 1) * (2 * radius_x + 1)))
    for y in range(height):
        for x in range(width):
            k = 0
            for dy in range(-radius_y, radius_y + 1):
                for dx in range(-radius_x, radius_x + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        out[:, y, x, k] = np.sum(
                            a[:, y, x] * b[:, y + dy, x + dx], axis=-1
                        )
                    k += 1
    return out


@pytest.mark.parametrize("size", [(5, 7), (6, 20), (4, 33)])
def test_volume_equals_a_slow_loop(size):
    a, b = _features(2, *size, 4), _features(2, *size, 4, seed=1)
    got = correlation.correlation_volume(jnp.asarray(a), jnp.asarray(b), RADIUS)
    np.testing.assert_allclose(got, _slow(a, b, RADIUS), atol=1e-4)


def test_gradients_of_the_volume_equal_those_of_a_plain_form():
    a, b = (
        jnp.asarray(_features(1, 5, 9, 3)),
        jnp.asarray(_features(1, 5, 9, 3, seed=1)),
    )
    weight = jnp.asarray(_features(1, 5, 9, 35, seed=2))

    def plain(a, b):
        padded = jnp.pad(b, ((0, 0), (2, 2), (3, 3), (0, 0)))
        shifted = [padded[:, y : y + 5, x : x + 9] for y in range(5) for x in range(7)]
        return jnp.stack([jnp.sum(a * s, axis=-1) for s in shifted], axis=-1)

    def ours(a, b):
        return correlation.correlation_volume(a, b, RADIUS)

    grads = [
        jax.grad(lambda a, b, f=f: jnp.sum(f(a, b) * weight), (0, 1))(a, b)
        for f in (ours, plain)
    ]
    for got, want in zip(*grads, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("shift", [(0, 0), (2, 1), (-3, -2)])
def test_soft_argmax_finds_a_known_shift(shift):
    dx, dy = shift
    a = _features(1, 14, 18, 16)
    a /= np.linalg.norm(a, axis=-1, keepdims=True)
    b = np.roll(a, (dy, dx), axis=(1, 2))
    volume = correlation.correlation_volume(jnp.asarray(a), jnp.asarray(b), RADIUS)
    flow = np.asarray(correlation.soft_argmax(volume, RADIUS, 50.0))
    inner = flow[0, 3:-3, 4:-4]
    np.testing.assert_allclose(inner, np.broadcast_to(shift, inner.shape), atol=0.05)


def test_halved_intrinsics_follow_the_half_pixel_rule():
    matrix = jnp.array([[[40.0, 0, 20.5], [0, 42.0, 15.5], [0, 0, 1]]])
    want = [[20.0, 0, 10.0], [0, 21.0, 7.5], [0, 0, 1]]
    np.testing.assert_allclose(rays.halved(matrix)[0], want)


def test_rays_pass_through_every_stride_th_pixel():
    matrix = jnp.array([[[40.0, 0, 20.0], [0, 42.0, 15.0], [0, 0, 1]]])
    got = rays.ray_coordinates(matrix, (4, 5), 2)
    np.testing.assert_allclose(got[0, 3, 1], [(2 - 20) / 40, (6 - 15) / 42], rtol=1e-6)
