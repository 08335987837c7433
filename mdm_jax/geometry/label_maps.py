"""Reading label maps between their pixels, without mixing labels.

A mask that is warped bilinearly and rounded up (Lee et al. 2019, section 3.3) holds
every pixel that reads anything of it. For label maps that is: each pixel gets all
labels it reads, up to four, and belongs to the masks of all of them. So masks of any
number of instances travel in one map, and are told apart when they are needed.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

# Neighbours of less weight count as not read: rounding moves a pixel that stays in
# place by about so many pixels, and would make every mask grow.
_LEAST_WEIGHT = 1e-3


def read(
    labels: Integer[Array, "h w s"], pixels: Float[Array, "H W 2"]
) -> Integer[Array, "H W 4*s"]:
    """Returns the labels that a bilinear sample at each pixel reads.

    Where it reads fewer than four pixels, the one of most weight stands for the others.

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
    # The nearer of both columns and rows takes the place of one that is not read.
    columns, lines = [], []
    for found, first, weight, size in (
        (columns, left, wx, width),
        (lines, top, wy, height),
    ):
        second = jnp.minimum(first + 1, size - 1)
        found.append(jnp.where(1 - weight > _LEAST_WEIGHT, first, second))
        found.append(jnp.where(weight > _LEAST_WEIGHT, second, first))
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
    """Returns where a pixel's labels include the given one; label 0 is in none."""
    return jnp.any(labels == label[..., None], axis=-1) & (label != 0)
