"""Samples an image between its pixels.

Coordinates are (x, y) with integers at pixel centres, so that [0, width - 1] spans the
image from the first centre to the last. Everything here takes one image; `jax.vmap`
over a batch keeps each image's reads on the device that holds it.
"""

from __future__ import annotations

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Coordinates this far outside the image, in pixels, still count as on its border.
# Projecting a pixel onto itself is exact to one unit in the last place (2.5e-4 pixels
# at width 1920); the last row and column must stay valid.
_BORDER_TOLERANCE = 1e-3
# Up to this many channels, the gradient sums them one by one.
_FEW_CHANNELS = 8


@flax.struct.dataclass
class Sampled:
    """Values sampled from an image.

    Attributes:
        values: `[H W c]`; outside the image, those of the nearest point of the border.
        valid: bool `[H W]`, whether the coordinates are finite and inside the image,
            including its outermost pixel centres.
    """

    values: jax.Array
    valid: jax.Array


@flax.struct.dataclass
class Clamped:
    """Coordinates moved to the nearest point of an image.

    Attributes:
        pixels: `[* 2]`, finite and within [0, width - 1] x [0, height - 1]; without
            gradient where not `inside`.
        inside: bool `[*]`, whether the coordinates were inside the image or on its
            border.
    """

    pixels: jax.Array
    inside: jax.Array


def clamp(pixels: Float[Array, "*n 2"], *, height: int, width: int) -> Clamped:
    """Returns the nearest points inside an image; NaN becomes 0.

    Args:
        pixels: (x, y), any numbers.
        height: of the image.
        width: of the image.
    """
    x, y, inside = _clamp(pixels, height=height, width=width)
    return Clamped(pixels=jnp.stack([x, y], axis=-1), inside=inside)


def bilinear(image: Float[Array, "h w c"], pixels: Float[Array, "H W 2"]) -> Sampled:
    """Returns an image's bilinear interpolation at given coordinates, `I<p>`.

    Coordinates outside the image, and non-finite ones, are clamped to it and have no
    gradient. At integer coordinates, where the interpolation has a kink, the gradient
    is that towards larger coordinates (towards smaller ones in the last row and
    column).

    The gradient with respect to the image is a scatter: stop it
    (`jax.lax.stop_gradient`) where it is not needed. The four reads are separate on
    purpose: XLA fuses each with its weight, which on CPUs is two to four times as fast,
    forward and backward, as one read of a stack of the four neighbours.

    Args:
        image: finite values.
        pixels: (x, y) of every output pixel, in pixels of `image`.

    Raises:
        ValueError: the arguments are not one image and one grid of coordinates.
    """
    if image.ndim != 3 or pixels.ndim != 3 or pixels.shape[-1] != 2:
        raise ValueError(
            "bilinear expects image [h w c] and pixels [H W 2], got "
            f"{list(image.shape)} and {list(pixels.shape)}: add a channel axis to a "
            "map, jax.vmap over a batch"
        )
    height, width, channels = image.shape
    x, y, inside = _clamp(pixels, height=height, width=width)
    left, top = _cell(x, width), _cell(y, height)
    wx, wy = x - left.astype(x.dtype), y - top.astype(y.dtype)

    rows = jnp.reshape(image, (height * width, channels))
    top_left = top * width + left
    right = 1 if width > 1 else 0
    below = width if height > 1 else 0

    def neighbour(offset: int, weight: Float[Array, "H W"]) -> Float[Array, "H W c"]:
        # The indices are in bounds by construction, so XLA need not clamp them again.
        values = rows.at[top_left + offset].get(mode="promise_in_bounds")
        return values * _per_channel(weight, channels)

    values = (
        neighbour(0, (1 - wx) * (1 - wy))
        + neighbour(right, wx * (1 - wy))
        + neighbour(below, (1 - wx) * wy)
        + neighbour(below + right, wx * wy)
    )
    return Sampled(values=values, valid=inside)


def resize_bilinear(
    image: Float[Array, "h w c"], size: tuple[int, int], *, align_corners: bool
) -> Float[Array, "H W c"]:
    """Returns an image resized by bilinear interpolation, without antialiasing.

    Args:
        image: finite values.
        size: (height, width) of the result.
        align_corners: whether the outermost pixel *centres* stay in place; otherwise
            the outermost pixel *borders* do, which is the rule of `intrinsics.resize`.
    """
    scales, shifts = [], []
    for old, new in zip(image.shape[:2], size, strict=True):
        if not align_corners or old == 1:
            scale, shift = new / old, 0.0
        elif new == 1:  # The only pixel shows the first one.
            scale, shift = 1.0, 0.0
        else:
            # x' = s x, while scale_and_translate computes x' = s (x + 0.5) + t - 0.5
            scale = (new - 1) / (old - 1)
            shift = 0.5 - 0.5 * scale
        scales.append(scale)
        shifts.append(shift)
    return jax.image.scale_and_translate(
        image,
        (*size, image.shape[2]),
        (0, 1),
        jnp.array(scales, jnp.float32),
        jnp.array(shifts, jnp.float32),
        method="linear",
        antialias=False,
    )


def _clamp(
    pixels: Float[Array, "*n 2"], *, height: int, width: int
) -> tuple[Float[Array, "*n"], Float[Array, "*n"], Bool[Array, "*n"]]:
    """Returns clamped x, clamped y, and which coordinates were inside the image."""
    x, y = pixels[..., 0], pixels[..., 1]
    inside = _inside(x, width) & _inside(y, height)
    return _clamp_axis(x, width, inside), _clamp_axis(y, height, inside), inside


def _inside(x: Float[Array, "*n"], size: int) -> Bool[Array, "*n"]:
    """Returns whether coordinates are in [0, size - 1]; False for NaN."""
    return (x >= -_BORDER_TOLERANCE) & (x <= size - 1 + _BORDER_TOLERANCE)


def _clamp_axis(
    x: Float[Array, "*n"], size: int, inside: Bool[Array, "*n"]
) -> Float[Array, "*n"]:
    """Returns coordinates clamped to [0, size - 1], with gradient where inside."""
    nearest = jnp.clip(jnp.where(jnp.isnan(x), 0.0, x), 0.0, float(size - 1))
    nearest = jax.lax.stop_gradient(nearest)
    x = jnp.where(inside, x, nearest)
    # The value of `nearest` with the gradient of x: pixels that rounding moves across
    # the border keep their gradient.
    return x + jax.lax.stop_gradient(nearest - x)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _per_channel(weight: Float[Array, "H W"], channels: int) -> Float[Array, "H W c"]:
    """Returns weights repeated for every channel.

    The gradient is a sum over channels. Written as additions of maps, it takes a third
    of the time of XLA's reduction over such a short axis on a CPU.
    """
    return jnp.broadcast_to(weight[..., None], (*weight.shape, channels))


@_per_channel.defjvp
def _per_channel_jvp(channels, primals, tangents):
    (weight,), (tangent,) = primals, tangents
    if 0 < channels <= _FEW_CHANNELS:
        repeated = jnp.stack([tangent] * channels, axis=-1)
    else:
        repeated = jnp.broadcast_to(tangent[..., None], (*tangent.shape, channels))
    return _per_channel(weight, channels), repeated


def _cell(x: Float[Array, "*n"], size: int) -> Int[Array, "*n"]:
    """Returns the first of the two pixels between which a clamped coordinate lies.

    The last pixel belongs to the cell before it, so that every cell has a second pixel.
    """
    return jnp.minimum(x.astype(jnp.int32), max(size - 2, 0))
