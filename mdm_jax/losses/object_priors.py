"""What is known of an object before its motion is: where it went, and how tall it is.

Photometric losses alone let the motion of small objects stay at zero, and put a car that
drives as fast as the camera infinitely far away. Two priors prevent it (Lee et al. 2019,
section 3.3, after Casser et al. 2019).

Every loss is a mean over the objects that are valid, of all images together: a batch
with many of them does not weigh more than one with few, and one with none gives 0.
Objects are in slots `k`; M^n is the mask of the n-th.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from mdm_jax import numerics

# Squared motion (radians, depth units) below which forth and back are not compared: the
# rounding of what takes several float32 products to bring into one frame.
_LEAST_SQUARED_MOTION = 1e-8


class Boxes(NamedTuple):
    """How tall objects appear.

    Attributes:
        height: `[*n k]`, rows from an object's first to its last; 0 without a pixel.
        complete: bool `[*n k]`, neither of them is the image's first or last row, where
            an object may go on outside.
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
    """Returns how tall the objects appear, in pixels."""
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
    """Returns the mean L1 distance of objects' translations from a measured one.

    Relative to the scene's depth, as `height_prior` is. The papers' is not, which weighs
    about as much where depth is about 1; in metres it would outweigh all other losses
    together, and the measured translation is no more than a rough guide.

    Args:
        translation: t^n.
        displacement: t^n_p, from the mean of an object's points in the target to that
            in the source, camera motion undone; carries no gradient.
        scene_depth: <D_t>, mean depth of the image; carries no gradient.
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
    """Returns how far objects are from where their height in the image puts them.

    Relative to the scene's depth; gradients flow into the object's depth and the height
    all objects share, so that it is learned. An object that the image cuts off is at
    least as tall as what is seen of it: it may be nearer, but not farther (not in the
    papers; nothing else holds near cars, which leave the image from frame to frame).
    Those that are nearer count as objects without an error.

    Args:
        object_depth: <D_t in M^n>, mean depth of the object.
        box_height: h^n, pixels.
        focal_y: f_y, pixels.
        height: h_prior, in depth units.
        scene_depth: <D_t>, mean depth of the image; carries no gradient.
        valid: which objects count; false for one of no height.
        complete: which are not cut off above or below.
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
    """Returns how far objects' motions forth and back are from cancelling.

    Relative to the motions themselves, rotation and translation apart, as in
    `consistency`.

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
