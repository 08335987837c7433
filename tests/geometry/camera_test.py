from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from mdm_jax.geometry import camera, intrinsics

H, W = 5, 7
K = intrinsics.matrix(6.0, 5.5, 3.2, 1.9).astype(np.float32)

project = jax.jit(camera.project, static_argnames="min_depth")
unproject = jax.jit(camera.unproject)


def _random_depth(seed: int = 0) -> jax.Array:
    depth = np.random.default_rng(seed).uniform(0.5, 9.0, (H, W))
    return jnp.asarray(depth, jnp.float32)


def test_pixel_grid_holds_x_then_y():
    grid = np.asarray(camera.pixel_grid(H, W))
    for y in range(H):
        for x in range(W):
            assert grid[y, x].tolist() == [x, y]


def test_rays_agree_with_the_inverse_matrix():
    rays = np.asarray(camera.rays(jnp.asarray(K), H, W))
    inverse = np.linalg.inv(K.astype(np.float64))
    for y in range(H):
        for x in range(W):
            np.testing.assert_allclose(rays[y, x], inverse @ [x, y, 1], atol=1e-6)


def test_projecting_unprojected_pixels_returns_them():
    depth = _random_depth()
    projection = project(unproject(depth, jnp.asarray(K)), jnp.asarray(K))
    np.testing.assert_allclose(
        projection.pixels, camera.pixel_grid(H, W), atol=2e-6 * W
    )
    np.testing.assert_array_equal(projection.depth, depth)
    assert np.all(projection.in_front)


def test_unprojecting_projected_points_returns_them():
    # Only points seen at pixel centres can come back: put them there.
    points = camera.rays(jnp.asarray(K), H, W) * _random_depth(1)[..., None]
    projection = project(points, jnp.asarray(K))
    back = unproject(projection.depth, jnp.asarray(K))
    np.testing.assert_allclose(back, points, rtol=1e-6)


def test_projecting_agrees_with_the_homogeneous_product():
    random = np.random.default_rng(2)
    points = random.normal(size=(3, 4, 3)) + np.array([0, 0, 4.0])
    projection = project(jnp.asarray(points, jnp.float32), jnp.asarray(K))
    for i in range(3):
        for j in range(4):
            x, y, z = K.astype(np.float64) @ points[i, j]
            expected = [x / z, y / z]
            np.testing.assert_allclose(projection.pixels[i, j], expected, rtol=2e-5)


def test_a_mirrored_point_projects_to_the_mirrored_pixel():
    points = unproject(_random_depth(), jnp.asarray(K))[:, ::-1] + 0.1
    mirrored_K = jnp.asarray(intrinsics.flip_horizontal(K, width=W))
    pixels = project(points, jnp.asarray(K)).pixels
    mirror = np.array([-1, 1, 1], np.float32)[None, None]
    mirrored = project(points * mirror, mirrored_K).pixels
    np.testing.assert_allclose(mirrored[..., 0], (W - 1) - pixels[..., 0], atol=1e-5)
    np.testing.assert_allclose(mirrored[..., 1], pixels[..., 1], atol=1e-5)


HOPELESS = [
    (0.3, 0.2, 0.0),
    (0.0, 0.0, 0.0),
    (0.3, 0.2, -0.0),
    (0.3, 0.2, -2.0),
    (0.3, 0.2, 1e-30),
    (np.nan, 0.2, 2.0),
    (0.3, np.nan, 2.0),
    (0.3, 0.2, np.nan),
    (np.inf, 0.2, 2.0),
    (0.3, -np.inf, 2.0),
    (0.3, 0.2, np.inf),
    (3e38, 0.2, 2e-4),
]


@jax.jit
@functools.partial(jax.grad, argnums=(0, 1), has_aux=True)
def _gradients_and_projection(points, K):
    projection = camera.project(points, K)
    # A loss with a gradient that is large everywhere, and NaN at infinite pixels.
    value = jnp.sum(1e3 * jnp.square(projection.pixels))
    return value + jnp.sum(projection.depth), projection


@pytest.mark.parametrize("point", HOPELESS)
def test_points_that_project_nowhere_are_finite_and_have_no_gradient(point):
    points = jnp.array([point, (0.1, 0.2, 3.0)])
    gradients, projection = _gradients_and_projection(points, K)
    assert projection.in_front.tolist() == [False, True]
    assert projection.pixels[0].tolist() == [-1, -1]
    assert projection.depth[0] == 0
    np.testing.assert_array_equal(gradients[0][0], 0)
    assert np.all(gradients[0][1] != 0)
    alone, _ = _gradients_and_projection(points[1:], K)
    np.testing.assert_allclose(gradients[1], alone[1], rtol=1e-6)


def test_the_nearest_projected_depth_can_be_chosen():
    point = jnp.array([0.0, 0.0, 0.5])
    assert project(point, jnp.asarray(K)).in_front
    assert not project(point, jnp.asarray(K), min_depth=0.5).in_front


def test_gradients_agree_with_finite_differences():
    @jax.jit
    def pixels_and_depth(depth, K, shift):
        points = camera.unproject(depth, K) + shift
        projection = camera.project(points, K)
        return projection.pixels, projection.depth

    with jax.enable_x64(True):
        shift = jnp.full((H, W, 3), 0.1)
        arguments = (jnp.asarray(_random_depth(), float), jnp.asarray(K, float), shift)
        test_util.check_grads(pixels_and_depth, arguments, order=1, modes=("rev",))
