"""Samples label maps between pixels without mixing labels.

A mask that is warped bilinearly and rounded up (Lee et al. 2019, section 3.3) contains
every pixel whose sample includes any pixel of the mask. For label maps this means: each
pixel gets the labels of all pixels in its sample, up to four, and belongs to the masks
of all of them. One map thus carries the masks of any number of instances.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

# Neighbours with less weight are ignored. Rounding moves a static pixel by about this
# many pixels and would otherwise make every mask grow.
_LEAST_WEIGHT = 1e-3


def read(
    labels: Integer[Array, "h w s"], pixels: Float[Array, "H W 2"]
) -> Integer[Array, "H W 4*s"]:
    """Returns the labels of the pixels that a bilinear sample at each pixel includes.

    If a sample includes fewer than four pixels, the one with the largest weight is
    repeated.

    Args:
        labels: one or more labels per pixel, 0 for none.
        pixels: (x, y), clamped to the image, as `Warped.pixels` are.

    Raises:
        ValueError: the arguments are not one map and one grid of coordinates.
    """
    if labels.ndim != 3 or pixels.ndim != 3:
        raise ValueError(
            "read expects labels [h w s] and pixels [H W 2], got "
            f"{list(labels.shape)} and {list(pixels.shape)}: add a last axis to a map, "
            "jax.vmap over a batch"
        )
    height, width, _ = labels.shape
    x, y = pixels[..., 0], pixels[..., 1]
    left = jnp.clip(jnp.floor(x), 0, max(width - 2, 0)).astype(jnp.int32)
    top = jnp.clip(jnp.floor(y), 0, max(height - 2, 0)).astype(jnp.int32)
    wx, wy = x - left, y - top
    rows = labels.reshape(height * width, -1)
    # The nearer column or row replaces one that is ignored.
    columns, lines = [], []
    for indices, first, weight, size in (
        (columns, left, wx, width),
        (lines, top, wy, height),
    ):
        second = jnp.minimum(first + 1, size - 1)
        indices.append(jnp.where(1 - weight > _LEAST_WEIGHT, first, second))
        indices.append(jnp.where(weight > _LEAST_WEIGHT, second, first))
    return jnp.concatenate(
        [
            jnp.take(rows, line * width + column, axis=0, mode="clip")
            for line in lines
            for column in columns
        ],
        axis=-1,
    )


def contains(
    labels: Integer[Array, "*n h w s"], label: Integer[Array, "*n h w"]
) -> Bool[Array, "*n h w"]:
    """Returns whether a pixel's labels include the given one; never for label 0."""
    return jnp.any(labels == label[..., None], axis=-1) & (label != 0)
