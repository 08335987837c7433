"""Priors on single objects: their displacement, and their height.

With photometric losses alone the motion of small objects stays at zero, and a car at the
camera's speed is placed infinitely far away. Two priors prevent this (Lee et al. 2019,
section 3.3, after Casser et al. 2019).

Every loss is a mean over the valid objects of all images, and 0 without any. Objects are
in slots `k`; M^n is the mask of the n-th.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mdm_jax import numerics

# Squared motion (radians, depth units) below which the cycle error vanishes: the rounding
# error of the float32 products that bring both motions into one frame.
_LEAST_SQUARED_MOTION = 1e-8


class Boxes(NamedTuple):
    """The vertical extent of objects.

    Attributes:
        height: `[*n k]`, number of rows from an object's first to its last; 0 for an
            empty mask.
        complete: bool `[*n k]`, the object touches neither the first nor the last row of
            the image, where it may be cut off.
    """

    height: Array
    complete: Array


def mean_over(
    masks: Bool[Array, "*n h w k"], values: Float[Array, "*n h w c"]
) -> Float[Array, "*n k c"]:
    """Returns the mean of each object's values, 0 for an empty mask.

    Args:
        masks: M^n; they may overlap.
        values: finite.
    """
    weights = masks.astype(values.dtype)
    total = jnp.einsum(
        "...hwk,...hwc->...kc", weights, values, precision=lax.Precision.HIGHEST
    )
    count = jnp.sum(weights, axis=(-3, -2))
    return numerics.safe_divide(total, jnp.broadcast_to(count[..., None], total.shape))


def slot_masks(
    regions: Int[Array, "*n h w"], num_slots: int
) -> Bool[Array, "*n h w k"]:
    """Returns the masks of regions 1 to k; region 0 has none."""
    numbers = jnp.arange(1, num_slots + 1, dtype=regions.dtype)
    return regions[..., None] == numbers.reshape((1,) * regions.ndim + (-1,))


def boxes(masks: Bool[Array, "*n h w k"]) -> Boxes:
    """Returns the vertical extent of the objects, in pixels."""
    rows = jnp.any(masks, axis=-2)
    num_rows = rows.shape[-2]
    first = jnp.argmax(rows, axis=-2)
    last = num_rows - 1 - jnp.argmax(rows[..., ::-1, :], axis=-2)
    present = jnp.any(rows, axis=-2)
    return Boxes(
        height=jnp.where(present, last - first + 1, 0).astype(jnp.float32),
        complete=present & (first > 0) & (last < num_rows - 1),
    )


def translation_prior(
    translation: Float[Array, "*n k 3"],
    displacement: Float[Array, "*n k 3"],
    scene_depth: Float[Array, "*n"],
    valid: Bool[Array, "*n k"],
) -> Float[Array, ""]:
    """Returns the mean L1 distance of objects' translations from measured ones.

    It is relative to the scene's depth, as `height_prior` is. The papers' is absolute,
    which is about the same for depths near 1; in metres it would dominate all other
    losses, and the measured translation is only a rough guide.

    Args:
        translation: t^n.
        displacement: t^n_p, from the mean of an object's points in the target to their
            mean in the stabilized source; its gradient is stopped.
        scene_depth: <D_t>, mean depth of the image; its gradient is stopped.
        valid: which objects count.
    """
    # L_t = sum_n |t^n - t^n_p|_1 / <D_t>
    difference = translation - lax.stop_gradient(displacement)
    distance = jnp.sum(numerics.safe_abs(difference), axis=-1)
    distance = numerics.safe_divide(distance, lax.stop_gradient(scene_depth)[..., None])
    return numerics.masked_mean(distance, valid)


def height_prior(
    object_depth: Float[Array, "*n k"],
    box_height: Float[Array, "*n k"],
    focal_y: Float[Array, "*n"],
    height: Float[Array, ""],
    scene_depth: Float[Array, "*n"],
    valid: Bool[Array, "*n k"],
    complete: Bool[Array, "*n k"],
) -> Float[Array, ""]:
    """Returns the mean error of objects' depth against the depth their height implies.

    It is relative to the scene's depth. The object's depth and the height that all
    objects share have gradients, so that the height is learned. An object that the image
    border cuts off is taller than its visible part and may be nearer, so only a depth
    that is too large counts as an error (not in the papers; no other loss constrains
    near cars, which leave the image from frame to frame).

    Args:
        object_depth: <D_t in M^n>, mean depth of the object.
        box_height: h^n, pixels.
        focal_y: f_y, pixels.
        height: h_prior, in depth units.
        scene_depth: <D_t>, mean depth of the image; its gradient is stopped.
        valid: which objects count.
        complete: which objects are not cut off above or below.
    """
    # L_h = sum_n |<D_t in M^n> - f_y h_prior / h^n| / <D_t>
    expected = numerics.safe_divide(focal_y[..., None] * height, box_height)
    error = object_depth - expected
    error = jnp.where(complete | (error > 0), numerics.safe_abs(error), 0.0)
    error = numerics.safe_divide(error, lax.stop_gradient(scene_depth)[..., None])
    return numerics.masked_mean(error, valid & (box_height > 0))


def motion_cycle(
    rotation: Float[Array, "*n 3 3"],
    translation: Float[Array, "*n 3"],
    reverse_rotation: Float[Array, "*n 3 3"],
    reverse_translation: Float[Array, "*n 3"],
    valid: Bool[Array, "*n"],
) -> Float[Array, ""]:
    """Returns the deviation of forward and backward motions of objects from cancelling.

    Rotation and translation are each relative to their own size, as in `consistency`.

    Args:
        rotation: R, from target to source.
        translation: t.
        reverse_rotation: R', from source to target, in the same frame.
        reverse_translation: t'.
        valid: which objects count.
    """
    identity = jnp.broadcast_to(jnp.eye(3, dtype=rotation.dtype), rotation.shape)

    def squared(matrix: Array) -> Array:
        return jnp.sum(jnp.square(matrix - identity), axis=(-2, -1))

    # |R R' - 1|^2 / (|R - 1|^2 + |R' - 1|^2)
    turn = squared(numerics.matmul(rotation, reverse_rotation))
    turn = turn / (
        squared(rotation) + squared(reverse_rotation) + _LEAST_SQUARED_MOTION
    )
    # |R t' + t|^2 / (|t|^2 + |t'|^2)
    back = jnp.einsum(
        "...ij,...j->...i",
        rotation,
        reverse_translation,
        precision=lax.Precision.HIGHEST,
    )
    step = jnp.sum(jnp.square(back + translation), axis=-1)
    size = jnp.square(translation) + jnp.square(reverse_translation)
    step = step / (jnp.sum(size, axis=-1) + _LEAST_SQUARED_MOTION)
    return numerics.masked_mean(turn + step, valid)
