"""Pixels as rays, and how rays move under a rigid motion; closed form, no warping."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def ray_coordinates(
    intrinsics: Float[Array, "b 3 3"], size: tuple[int, int], stride: int
) -> Float[Array, "b h w 2"]:
    """Returns x/z and y/z of the ray `K^-1 p~` through every stride-th pixel.

    Args:
        intrinsics: of the unstrided grid.
        size: (h, w) of the strided grid.
        stride: pixel (i, j) of the strided grid lies at (stride i, stride j).
    """
    height, width = size
    focal_x, focal_y, center_x, center_y = (
        intrinsics[:, i, j][:, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))
    )
    x = (stride * jnp.arange(width, dtype=jnp.float32))[None, None, :]
    y = (stride * jnp.arange(height, dtype=jnp.float32))[None, :, None]
    shape = (intrinsics.shape[0], height, width)
    return jnp.stack(
        [
            jnp.broadcast_to((x - center_x) / focal_x, shape),
            jnp.broadcast_to((y - center_y) / focal_y, shape),
        ],
        axis=-1,
    )


def halved(intrinsics: Float[Array, "b 3 3"]) -> Float[Array, "b 3 3"]:
    """Returns K of the half-resolution grid: c' = (c + 0.5) / 2 - 0.5."""
    scale = jnp.asarray([[0.5, 1.0, 0.5], [1.0, 0.5, 0.5], [1.0, 1.0, 1.0]])
    shift = jnp.asarray([[0.0, 0.0, -0.25], [0.0, 0.0, -0.25], [0.0, 0.0, 0.0]])
    return intrinsics * scale[None] + shift[None]


def rigid_flow(
    rays_a: Float[Array, "b h w 2"],
    inverse_depth: Float[Array, "b h w"],
    angles: Float[Array, "b 3"],
    translation: Float[Array, "b 3"],
) -> Float[Array, "b h w 2"]:
    """Returns the first-order motion of the rays under `X -> R X + t`.

    Longuet-Higgins and Prazdny 1980, eq. 2.3, for the rotation `1 + [angles]x`.

    Args:
        rays_a: x/z and y/z.
        inverse_depth: 1/z.
        angles: small Euler angles, radians.
        translation: in units of depth.
    """
    x, y = rays_a[..., 0], rays_a[..., 1]
    turn_x, turn_y, turn_z = (angles[:, i][:, None, None] for i in range(3))
    move_x, move_y, move_z = (translation[:, i][:, None, None] for i in range(3))
    flow_x = turn_y - turn_z * y + x * (turn_y * x - turn_x * y)
    flow_y = turn_z * x - turn_x + y * (turn_y * x - turn_x * y)
    flow_x = flow_x + (move_x - x * move_z) * inverse_depth
    flow_y = flow_y + (move_y - y * move_z) * inverse_depth
    return jnp.stack([flow_x, flow_y], axis=-1)
