"""Coarser copies of images, for losses at several scales.

Scale s has half the resolution of scale s - 1. Its intrinsics are
`intrinsics.resize(K, from_size=(2, 2), to_size=(1, 1))` (the ratio is exactly 2 for odd
sizes too), and its losses have the weight `2**-s`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def pyramid(
    *images: Float[Array, "... h w _"], num_scales: int
) -> tuple[tuple[Array, ...], ...]:
    """Returns the images at `num_scales` scales, finest (as given) first.

    The result has one entry per scale, holding all images at that scale:
    `for image, depth in pyramid(image, depth[..., None], num_scales=3)`.

    Args:
        *images: with any number of channels; a map without channels needs an axis.
        num_scales: at least 1.

    Raises:
        ValueError: `num_scales` is below 1, or the images are too small.
    """
    if num_scales < 1:
        raise ValueError(f"num_scales expects at least 1, got {num_scales}")
    scales = [images]
    for _ in range(num_scales - 1):
        scales.append(tuple(halve(image) for image in scales[-1]))
    return tuple(scales)


def halve(image: Float[Array, "*n h w c"]) -> Float[Array, "*n H W c"]:
    """Returns the means over blocks of 2x2 pixels.

    An odd last row or column is dropped, so that every coarse pixel is centred between
    its four fine pixels.

    Raises:
        ValueError: the image has fewer than two rows or columns.
    """
    *leading, height, width, channels = image.shape
    height, width = height // 2, width // 2
    if min(height, width) < 1:
        raise ValueError(
            f"image expects [*n h w c] of at least 2x2 pixels, got {image.shape}: use "
            "fewer scales or larger images"
        )
    inside = image[..., : 2 * height, : 2 * width, :]
    blocks = inside.reshape(*leading, height, 2, width, 2, channels)
    return jnp.mean(blocks, axis=(-4, -2))
