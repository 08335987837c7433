"""Edge-aware smoothness: depth changes little where the image changes little.

Notation: D is depth, d disparity divided by its mean over the image, du and dv are
differences between horizontal and vertical neighbours.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics


def edge_aware_disparity(
    depth: Float[Array, "*n h w"], image: Float[Array, "*n h w c"]
) -> Float[Array, ""]:
    """Returns the mean gradient of disparity, weighted down at image edges.

    Dividing by the mean disparity makes it independent of the scale of depth; otherwise
    moving everything away would lower it (Li et al. 2020, eq. 5).

    Args:
        depth: positive, of any scale.
        image: the frame, in [0, 1].

    Raises:
        ValueError: the image has fewer than two rows or columns.
    """
    _check(depth)
    disparity = numerics.safe_divide(1.0, depth)
    mean = jnp.mean(disparity, axis=(-2, -1))
    # d = (1/D) / <1/D>
    # mean |du d| exp(-mean_c |du I|) + mean |dv d| exp(-mean_c |dv I|)
    # Dividing by <1/D> earlier would leave gradients of random sign on a constant map,
    # by rounding.
    horizontal = numerics.safe_abs(jnp.diff(disparity, axis=-1))
    horizontal = horizontal * _flatness(jnp.diff(image, axis=-2))
    vertical = numerics.safe_abs(jnp.diff(disparity, axis=-2))
    vertical = vertical * _flatness(jnp.diff(image, axis=-3))
    total = jnp.mean(horizontal, axis=(-2, -1)) + jnp.mean(vertical, axis=(-2, -1))
    return jnp.mean(numerics.safe_divide(total, mean))


def edge_aware_depth_squared(
    depth: Float[Array, "*n h w"], image: Float[Array, "*n h w c"]
) -> Float[Array, ""]:
    """Returns the mean squared gradient of depth, weighted down at image edges.

    It grows with the square of the depth's scale, and distant surfaces, whose depth
    changes most per pixel, dominate it (Lee et al. 2019, after Ranjan et al. 2019).

    Args:
        depth: positive.
        image: the frame, in [0, 1].

    Raises:
        ValueError: the image has fewer than two rows or columns.
    """
    _check(depth)
    # sum (grad D exp(-grad I))^2, as a mean over pixels
    horizontal = jnp.diff(depth, axis=-1) * _flatness(jnp.diff(image, axis=-2))
    vertical = jnp.diff(depth, axis=-2) * _flatness(jnp.diff(image, axis=-3))
    return jnp.mean(jnp.square(horizontal)) + jnp.mean(jnp.square(vertical))


def _check(depth: Array) -> None:
    if min(depth.shape[-2:]) < 2:
        raise ValueError(
            f"depth expects [*n h w] of at least 2x2 pixels, got {depth.shape}: use "
            "fewer scales or larger images"
        )


def _flatness(image_difference: Array) -> Array:
    return jnp.exp(-jnp.mean(numerics.safe_abs(image_difference), axis=-1))
