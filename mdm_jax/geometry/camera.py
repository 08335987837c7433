"""The pinhole camera: pixels to rays to 3D points, and back.

`X(p) = D(p) K^-1 p~` and `pi(X) = (fx X/Z + cx, fy Y/Z + cy)`, with depth along the
optical axis and `K^-1` in closed form. One camera per call: K is `[3 3]`.
"""

from __future__ import annotations

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Coordinates beyond this count as infinite: up to here X/Z^2, which the gradient of a
# projection needs, does not overflow float32.
_FARTHEST = 1e18
# Pixel of points without a projection: outside every image, and finite.
_NOWHERE = -1.0


@flax.struct.dataclass
class Projection:
    """The projection of points into an image.

    Attributes:
        pixels: `[* 2]`, (x, y), possibly outside the image; (-1, -1) where not
            `in_front`.
        depth: `[*]`, z in the camera frame; 0 where not `in_front`.
        in_front: bool `[*]`, whether the point is finite and in front of the camera.
            Elsewhere pixels and depth have no gradient.
    """

    pixels: jax.Array
    depth: jax.Array
    in_front: jax.Array


def pixel_grid(height: int, width: int) -> Float[Array, "h w 2"]:
    """Returns the (x, y) of every pixel centre: `grid[y, x] == (x, y)`."""
    x, y = jnp.meshgrid(
        jnp.arange(width, dtype=jnp.float32), jnp.arange(height, dtype=jnp.float32)
    )
    return jnp.stack([x, y], axis=-1)


def rays(K: Float[Array, "3 3"], height: int, width: int) -> Float[Array, "h w 3"]:
    """Returns `K^-1 p~` of every pixel p: the 3D point on its ray at depth 1."""
    grid = pixel_grid(height, width)
    x = (grid[..., 0] - K[0, 2]) / K[0, 0]
    y = (grid[..., 1] - K[1, 2]) / K[1, 1]
    return jnp.stack([x, y, jnp.ones_like(x)], axis=-1)


def unproject(
    depth: Float[Array, "h w"], K: Float[Array, "3 3"]
) -> Float[Array, "h w 3"]:
    """Returns the 3D point of every pixel, in the camera frame and the unit of depth.

    Args:
        depth: along the optical axis; any finite number.
        K: intrinsics in pixels of the depth map.
    """
    height, width = depth.shape
    ray = rays(K, height, width)
    # X(p) = D(p) K^-1 p~, by component: see rotation.apply.
    return jnp.stack([ray[..., i] * depth for i in range(3)], axis=-1)


def project(
    points: Float[Array, "*n 3"],
    K: Float[Array, "3 3"],
    *,
    min_depth: float = 1e-4,
) -> Projection:
    """Returns the projection of points in the camera frame.

    Args:
        points: any numbers, finite or not.
        K: intrinsics in pixels.
        min_depth: points with a smaller depth, in particular those behind the camera,
            are not `in_front`. Choose it well below the nearest depth of the scene.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    in_front = (z > min_depth) & (z < _FARTHEST)  # False for NaN
    in_front &= (jnp.abs(x) < _FARTHEST) & (jnp.abs(y) < _FARTHEST)
    # Guarded before and after the division, so that neither values nor gradients of
    # points behind the camera come through.
    x = jnp.where(in_front, x, 0.0)
    y = jnp.where(in_front, y, 0.0)
    z = jnp.where(in_front, z, 1.0)
    # pi(X) = (fx X/Z + cx, fy Y/Z + cy)
    u = jnp.where(in_front, K[0, 0] * (x / z) + K[0, 2], _NOWHERE)
    v = jnp.where(in_front, K[1, 1] * (y / z) + K[1, 2], _NOWHERE)
    return Projection(
        pixels=jnp.stack([u, v], axis=-1),
        depth=jnp.where(in_front, z, 0.0),
        in_front=in_front,
    )
