"""Windows that show every object at one size to the object net.

In a whole image with all but one object masked out, a distant car has a few pixels, which
the strided layers of a pose net merge before comparing them, and its motion in depth
units depends on a depth that the net does not see. Here target and source are cropped to
one square window around the object and resized to a small image. The net predicts the
shift in units of the window and the change of log depth: two cars that look the same have
the same output, at any place and distance.

Notation: n objects, in images of any size; windows are square, in pixels of the image.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Side of a window relative to the larger side of the object, to show its outline.
_MARGIN = 1.25
# Smallest side, pixels; smaller windows hold no detail.
_LEAST_SIDE = 4.0
# Largest change of log depth between two frames; larger outputs have no gradient.
_LARGEST_CHANGE = 3.0


class Window(NamedTuple):
    """Square windows of images.

    Attributes:
        center: `[n 2]`, (x, y) in pixels, integers at pixel centres.
        side: `[n]`, pixels.
    """

    center: Array
    side: Array


def around(mask: Bool[Array, "n h w"]) -> Window:
    """Returns the windows around masks; in the image's corner for an empty mask."""
    firsts, sizes = [], []
    for axis in (1, 2):  # Columns, rows.
        line = jnp.any(mask, axis=axis)
        first = jnp.argmax(line, axis=-1)
        last = line.shape[-1] - 1 - jnp.argmax(line[:, ::-1], axis=-1)
        present = jnp.any(line, axis=-1)
        firsts.append(jnp.where(present, first, 0).astype(jnp.float32))
        sizes.append(jnp.where(present, last - first + 1, 1).astype(jnp.float32))
    first, size = jnp.stack(firsts, axis=-1), jnp.stack(sizes, axis=-1)
    return Window(
        center=first + 0.5 * (size - 1.0),
        side=jnp.maximum(_MARGIN * jnp.max(size, axis=-1), _LEAST_SIDE),
    )


def crop(
    values: Float[Array, "n h w c"], window: Window, size: int
) -> Float[Array, "n size size c"]:
    """Returns the contents of the windows, antialiased, and 0 outside the images.

    Args:
        values: images.
        window: of each image.
        size: side of the result, pixels.
    """

    def crop_image(image: Array, center: Array, side: Array) -> Array:
        # Pixel i of the result is centred on first + (i + 1/2) side / size.
        scale = size / side
        first = center + 0.5 - 0.5 * side
        return jax.image.scale_and_translate(
            image,
            (size, size, image.shape[-1]),
            (0, 1),
            jnp.stack([scale, scale]),
            -scale * first[::-1],
            method="linear",
        )

    return jax.vmap(crop_image)(values, window.center, window.side)


def translation(
    numbers: Float[Array, "n 3"],
    window: Window,
    center: Float[Array, "n 3"],
    intrinsics: Float[Array, "n 3 3"],
) -> Float[Array, "n 3"]:
    """Returns the displacement of the objects' centres, in depth units.

    An object's centre C = Z (x, y, 1) moves to
    `e^b Z (x + a_x s / fx, y + a_y s / fy, 1)`, where s is the side of the window.

    Args:
        numbers: shift (a_x, a_y) as fractions of the window, and change b of log depth.
        window: around the object.
        center: C, camera frame.
        intrinsics: K of the whole image.
    """
    focal = intrinsics[:, (0, 1), (0, 1)]
    shift = numbers[:, :2] * (window.side * center[:, 2])[:, None] / focal
    moved = center + jnp.pad(shift, ((0, 0), (0, 1)))
    ratio = jnp.exp(jnp.clip(numbers[:, 2:], -_LARGEST_CHANGE, _LARGEST_CHANGE))
    return ratio * moved - center
