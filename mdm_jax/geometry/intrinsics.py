"""Pinhole intrinsics in pixels, and how they change with the image.

`K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]`, with zero skew and pixel centres at
integers: the image spans [-0.5, width - 0.5] in x. Every function takes NumPy or JAX
arrays with any leading axes and returns the same kind, so that the input pipeline never
touches a device. Sizes are (height, width), as in `image.shape[:2]`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

AnyArray = np.ndarray | jax.Array
Kind = TypeVar("Kind", np.ndarray, jax.Array)
Size = tuple[int, int]

# Outside these bounds K almost surely belongs to another resolution. They hold for
# views of 3 to 136 degrees and for crops that keep the optical axis off the border.
_FOCAL_PER_WIDTH = (0.2, 20.0)
_CENTRE_PER_SIZE = (0.1, 0.9)


def matrix(fx: Any, fy: Any, cx: Any, cy: Any) -> Float[Any, "*n 3 3"]:
    """Returns K from focal lengths and principal point in pixels.

    Args:
        fx: number or array; the four broadcast against each other.
        fy: likewise.
        cx: likewise.
        cy: likewise.
    """
    numbers = (fx, fy, cx, cy)
    if not any(isinstance(value, jax.Array) for value in numbers):
        # Filled in: the loader does this for every clip, and stacking is slow.
        fx, fy, cx, cy = (np.asarray(value) for value in numbers)
        shape = np.broadcast_shapes(fx.shape, fy.shape, cx.shape, cy.shape)
        found = np.zeros((*shape, 3, 3), np.result_type(fx, fy, cx, cy))
        found[..., 0, 0], found[..., 1, 1] = fx, fy
        found[..., 0, 2], found[..., 1, 2] = cx, cy
        found[..., 2, 2] = 1
        return found
    fx, fy, cx, cy = jnp.broadcast_arrays(*[jnp.asarray(v) for v in numbers])
    zero, one = jnp.zeros_like(fx), jnp.ones_like(fx)
    rows = ((fx, zero, cx), (zero, fy, cy), (zero, zero, one))
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def resize(
    K: Float[Kind, "*n 3 3"], *, from_size: Size, to_size: Size
) -> Float[Kind, "*n 3 3"]:
    """Returns K of the image resized by the half-pixel rule.

    A pixel is an area, whose borders (not centre) are what a resize scales:
    `fx' = s fx`, `cx' = s (cx + 0.5) - 0.5`.

    Args:
        K: intrinsics of the image before resizing.
        from_size: its (height, width).
        to_size: (height, width) after resizing.
    """
    sy, sx = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return matrix(
        sx * K[..., 0, 0],
        sy * K[..., 1, 1],
        sx * (K[..., 0, 2] + 0.5) - 0.5,
        sy * (K[..., 1, 2] + 0.5) - 0.5,
    )


def crop(K: Float[Kind, "*n 3 3"], *, x0: Any, y0: Any) -> Float[Kind, "*n 3 3"]:
    """Returns K of the crop whose top-left pixel is (x0, y0) of the whole image."""
    return matrix(K[..., 0, 0], K[..., 1, 1], K[..., 0, 2] - x0, K[..., 1, 2] - y0)


def flip_horizontal(K: Float[Kind, "*n 3 3"], *, width: int) -> Float[Kind, "*n 3 3"]:
    """Returns K of the image mirrored left to right: `cx' = (width - 1) - cx`.

    The mirrored image shows the mirrored world, whose points have `x' = -x`.
    """
    return matrix(K[..., 0, 0], K[..., 1, 1], (width - 1) - K[..., 0, 2], K[..., 1, 2])


def from_fov(horizontal_degrees: Any, size: Size) -> Float[Any, "*n 3 3"]:
    """Returns K of a centred camera with square pixels and a horizontal field of view.

    Args:
        horizontal_degrees: angle between the left and the right border of the image,
            in degrees, below 180.
        size: (height, width) of the image.
    """
    height, width = size
    xp = jnp if isinstance(horizontal_degrees, jax.Array) else np
    focal = 0.5 * width / xp.tan(xp.deg2rad(horizontal_degrees) / 2)
    return matrix(focal, focal, (width - 1) / 2, (height - 1) / 2)


def initial_guess(size: Size) -> Float[np.ndarray, "3 3"]:
    """Returns float32 K to start from where the camera is unknown and learned.

    The focal length is the mean of the sides, (h + w) / 2, and the principal point is
    the centre of the image (Li et al. 2020, the start of per-video intrinsics).

    Args:
        size: (height, width) of the image.
    """
    height, width = size
    focal = (height + width) / 2
    K = matrix(focal, focal, (width - 1) / 2, (height - 1) / 2)
    return np.asarray(K, np.float32)


def validate(
    K: Float[AnyArray, "*n 3 3"], *, size: Size, cropped: bool = False
) -> None:
    """Checks that K is in pixels of an image of this size; call it outside `jit`.

    Args:
        K: intrinsics, with any leading axes.
        size: (height, width) of the image.
        cropped: whether the image may be part of a larger one, so that the principal
            point lies anywhere in it.

    Raises:
        ValueError: K is not a zero-skew pinhole matrix, is normalised to [0, 1], or
            belongs to an image of another size.
    """
    K = np.asarray(K, np.float64)
    height, width = size
    if K.shape[-2:] != (3, 3):
        raise ValueError(
            f"intrinsics expect shape [... 3 3], got {list(K.shape)}: build them with "
            "geometry.intrinsics.matrix(fx, fy, cx, cy)"
        )
    for k in K.reshape(-1, 3, 3):
        fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
        got = f"got fx={fx:g} fy={fy:g} cx={cx:g} cy={cy:g}"
        if not np.isfinite(k).all():
            raise ValueError(f"intrinsics expect finite numbers, got {k.tolist()}")
        if k[0, 1] != 0 or k[1, 0] != 0 or k[2].tolist() != [0, 0, 1]:
            raise ValueError(
                "intrinsics expect [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got "
                f"{k.tolist()}: undistort and rectify the images first, or transpose K"
            )
        if fx <= 0 or fy <= 0:
            raise ValueError(
                f"intrinsics expect positive focal lengths, {got}: is z forward, x "
                "right, y down?"
            )
        centre = (cx + 0.5) / width, (cy + 0.5) / height
        low, high = (0.0, 1.0) if cropped else _CENTRE_PER_SIZE
        fits = all(low <= c <= high for c in centre)
        fits &= _FOCAL_PER_WIDTH[0] <= fx / width <= _FOCAL_PER_WIDTH[1]
        if not fits and max(cx, cy) <= 1:
            raise ValueError(
                f"intrinsics expect pixels, {got} for a {height}x{width} image: did "
                "you pass normalised K? Multiply its first row by the width and its "
                "second by the height"
            )
        if not fits:
            raise ValueError(
                f"intrinsics expect pixels of a {height}x{width} image, {got}: were "
                "they measured at another resolution? Convert them with "
                "geometry.intrinsics.resize or crop"
            )
