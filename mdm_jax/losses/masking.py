"""Masks and weights of the pixels of a warped view.

Notation: Z' is the depth of a target pixel's moved point in the source camera frame
(`Warped.depth`), D^_b the source's depth map sampled at the projection of that point, O
the occlusion mask and W the proximity weight. O and W have no gradient: a network must
not lower a loss by moving pixels out of it.
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
    """Returns the occlusion mask O.

    It is true where the moved point projects into the source image, in front of the
    surface seen there. If two frames show one surface at slightly different depths, it is
    true for exactly one of the two pixels (Li et al. 2020, section 3.3).

    Args:
        valid: validity of the warp.
        projected_depth: Z', in the source camera frame.
        sampled_depth: D^_b, the source's depth at the projection.
    """
    # O(p) = 1[valid and Z'(p) < D^_b(p)]
    return valid & (projected_depth < sampled_depth)


def proximity_weight(
    valid: Bool[Array, "*n h w"],
    projected_depth: Float[Array, "*n h w"],
    sampled_depth: Float[Array, "*n h w"],
) -> Float[Array, "*n h w"]:
    """Returns the proximity weight W, in [0, 1], without gradient.

    It is 1 where both depths agree and 1/2 where they are one standard deviation apart
    (Li et al. 2020, section 3.3).

    Args:
        valid: validity of the warp; W is 0 outside.
        projected_depth: Z', in the source camera frame.
        sampled_depth: D^_b, the source's depth at the projection.
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
    """Returns the pixels within `dilation` pixels of a label other than 0.

    Each labelled pixel grows to a square with sides of `2 dilation + 1` pixels.

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


def zero_outside(mask: Bool[Array, "*m"], values: Array) -> Array:
    """Returns `values` where the mask is true and 0 elsewhere; likewise the gradients.

    Args:
        mask: over the leading axes of `values`.
        values: may be non-finite where masked out.

    Raises:
        ValueError: the mask is not bool; `where` would treat any weight as true.
    """
    if mask.dtype != jnp.bool_:
        raise ValueError(
            f"mask expects bool, got {mask.dtype} of shape {mask.shape}: threshold it"
        )
    trailing = tuple(range(mask.ndim, values.ndim))
    return jnp.where(jnp.expand_dims(mask, trailing), values, 0.0)


def _dilate(mask, radius, axis):
    """Returns the maximum over `2 radius + 1` pixels along an axis."""
    border = [(0, 0)] * mask.ndim
    border[axis] = (radius, radius)
    mask = jnp.pad(mask, border)
    # Doubling the window takes log2(window) passes instead of one per offset.
    window = 1
    while window < 2 * radius + 1:
        shift = min(window, 2 * radius + 1 - window)
        size = mask.shape[axis] - shift
        ahead = jax.lax.slice_in_dim(mask, shift, shift + size, axis=axis)
        mask = jax.lax.slice_in_dim(mask, 0, size, axis=axis) | ahead
        window += shift
    return mask
