"""Rays of pixels and their motion."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import rays

_INTRINSICS = np.array([[[20.0, 0, 6.5], [0, 25.0, 3.0], [0, 0, 1]]], np.float32)


def test_rays_equal_the_inverse_of_k_at_strided_pixels():
    actual = rays.ray_coordinates(_INTRINSICS, (3, 4), 2)[0]
    inverse = np.linalg.inv(_INTRINSICS[0])
    for i in range(3):
        for j in range(4):
            ray = inverse @ np.array([2.0 * j, 2.0 * i, 1.0])
            np.testing.assert_allclose(actual[i, j], ray[:2] / ray[2], atol=1e-6)


def test_a_half_resolution_pixel_has_the_mean_ray_of_the_four_it_covers():
    half = rays.ray_coordinates(rays.halved(_INTRINSICS), (3, 4), 1)
    full = np.asarray(rays.ray_coordinates(_INTRINSICS, (6, 8), 1))
    expected = full.reshape(1, 3, 2, 4, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(half, expected, atol=1e-6)


def _rotation(angles):
    cx, cy, cz, sx, sy, sz = *np.cos(angles), *np.sin(angles)
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return rx @ ry @ rz


@pytest.mark.parametrize("scale", [1e-3, 1e-2])
def test_rigid_flow_is_the_motion_of_projections_up_to_second_order(scale):
    rng = np.random.default_rng(0)
    angles, translation = scale * rng.normal(size=(2, 3))
    points = rays.ray_coordinates(_INTRINSICS, (4, 5), 1)
    depth = rng.uniform(1, 3, (1, 4, 5)).astype(np.float32)
    flow = rays.rigid_flow(
        points,
        jnp.asarray(1 / depth),
        jnp.asarray(angles, jnp.float32)[None],
        jnp.asarray(translation, jnp.float32)[None],
    )
    homogeneous = np.concatenate([points, np.ones((1, 4, 5, 1))], axis=-1)
    moved = depth[..., None] * homogeneous @ _rotation(angles).T + translation
    expected = moved[..., :2] / moved[..., 2:] - points
    np.testing.assert_allclose(flow, expected, atol=20 * scale**2 + 1e-6)
