"""Which pixels of a warped view count, and how much.

Notation: of the target pixel p, Z' is the depth of its moved point in the source
camera frame (`Warped.depth`), D^_b the depth that the source's own depth map has where
that point lands, O the occlusion mask and W the proximity weight. Neither O nor W
carries gradient: a network must not lower a loss by moving pixels out of it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer


def in_front(
    valid: Bool[Array, "*n h w"],
    projected_depth: Float[Array, "*n h w"],
    sampled_depth: Float[Array, "*n h w"],
) -> Bool[Array, "*n h w"]:
    """Returns the occlusion mask O: the pixel lands, and before what is seen there.

    Of two pixels in two frames that show one surface with slightly different depth,
    exactly one counts; occluded pixels never do (Li et al. 2020, section 3.3).

    Args:
        valid: the warp's validity.
        projected_depth: Z', in the source camera frame.
        sampled_depth: D^_b, the source's depth at the landing point.
    """
    # O(p) = 1[valid and Z'(p) < D^_b(p)]
    return valid & (projected_depth < sampled_depth)


def proximity_weight(
    valid: Bool[Array, "*n h w"],
    projected_depth: Float[Array, "*n h w"],
    sampled_depth: Float[Array, "*n h w"],
) -> Float[Array, "*n h w"]:
    """Returns W, in [0, 1]: 1 where both depths agree, 1/2 one deviation apart.

    Args:
        valid: the warp's validity; W is 0 outside.
        projected_depth: Z', in the source camera frame.
        sampled_depth: D^_b, the source's depth at the landing point.

    Returns:
        The weight of each pixel, without gradient (Li et al. 2020, section 3.3).
    """
    front = in_front(valid, projected_depth, sampled_depth)
    squared_error = jnp.square(zero_outside(valid, sampled_depth - projected_depth))
    # s2 = sum O (D^_b - Z')^2 / (sum O + 1) + 1e-4, per image
    total = jnp.sum(zero_outside(front, squared_error), axis=(-2, -1), keepdims=True)
    count = jnp.sum(front, axis=(-2, -1), keepdims=True)
    variance = total / (count + 1) + 1e-4
    # W = valid * s2 / (s2 + (D^_b - Z')^2)
    weight = zero_outside(valid, variance / (variance + squared_error))
    return jax.lax.stop_gradient(weight)


def movable_mask(
    labels: Integer[Array, "*n h w"], *, dilation: int = 8
) -> Bool[Array, "*n h w"]:
    """Returns where objects may be: within `dilation` pixels of a label that is not 0.

    The distance is the larger of the two coordinate distances, so each labelled pixel
    grows to a square of `2 dilation + 1` pixels.

    Args:
        labels: 0 for background; of any integer type.
        dilation: in pixels of this image.

    Raises:
        ValueError: `dilation` is negative.
    """
    if dilation < 0:
        raise ValueError(f"dilation expects at least 0 pixels, got {dilation}")
    mask = labels != 0
    for axis in (-2, -1):
        mask = _dilate(mask, dilation, mask.ndim + axis)
    return mask


def min_pool(valid: Bool[Array, "*n h w"], *, factor: int = 2) -> Bool[Array, "*n H W"]:
    """Returns which blocks of `factor` x `factor` pixels are valid throughout.

    Rows and columns that fill no block are dropped, as in `pyramid.halve`.
    """
    require_bool(valid)
    height, width = (size // factor for size in valid.shape[-2:])
    if min(height, width) < 1:
        raise ValueError(
            f"min_pool expects at least {factor}x{factor} pixels, got {valid.shape}"
        )
    inside = valid[..., : height * factor, : width * factor]
    blocks = inside.reshape(*valid.shape[:-2], height, factor, width, factor)
    return jnp.all(blocks, axis=(-3, -1))


def zero_outside(mask: Bool[Array, "*m"], values: Array) -> Array:
    """Returns `values` where the mask is true and 0 elsewhere, as are the gradients.

    Args:
        mask: the leading axes of `values`; all trailing ones are masked together.
        values: may be non-finite where masked out.

    Raises:
        ValueError: the mask is not bool: `where` would take any weight for true.
    """
    require_bool(mask)
    trailing = tuple(range(mask.ndim, values.ndim))
    return jnp.where(jnp.expand_dims(mask, trailing), values, 0.0)


def require_bool(mask: Array) -> None:
    """Raises ValueError if a mask is not bool."""
    if mask.dtype != jnp.bool_:
        raise ValueError(
            f"mask expects bool, got {mask.dtype} of shape {mask.shape}: threshold it"
        )


def _dilate(mask, radius, axis):
    """Returns the maximum over `2 radius + 1` pixels along an axis."""
    border = [(0, 0)] * mask.ndim
    border[axis] = (radius, radius)
    mask = jnp.pad(mask, border)
    # Doubling the window needs log2(window) passes, one maximum per offset all of them.
    window = 1
    while window < 2 * radius + 1:
        shift = min(window, 2 * radius + 1 - window)
        size = mask.shape[axis] - shift
        ahead = jax.lax.slice_in_dim(mask, shift, shift + size, axis=axis)
        mask = jax.lax.slice_in_dim(mask, 0, size, axis=axis) | ahead
        window += shift
    return mask
