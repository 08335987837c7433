"""From a motion net's residual field to object motion.

The net's output T_obj is nonzero everywhere. Three steps confine it to moving objects:
small vectors are set to zero, it is switched on late in training, and it is zero outside
the masks of movable objects, if these are given (Li et al. 2020, sections 3.2 and 4.4).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import numerics
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.geometry import warp
from mdm_jax.losses import masking, motion_regularizers
from mdm_jax.methods import frame_pairs
from mdm_jax.structs import Batch

Array = jax.Array


def restrain(
    residual: Array,
    batch: Batch,
    *,
    options: ml_collections.FrozenConfigDict,
    step: Array | None,
    required: bool = True,
) -> Array:
    """Returns T_obj `[b n h w 3]`; 0 where masks are used and there are none.

    Args:
        residual: `[b n h w 3]`, output of the motion net.
        batch: with instance labels, if these are used.
        options: `config.motion_field`.
        step: training step, for the burn-in; None after it.
        required: whether masks that are used must be there, as in training. Elsewhere,
            everything is background without them: the net has learned nothing there.

    Raises:
        ValueError: masks are used and required, and the batch has none.
    """
    if options.auto_mask:
        residual = auto_mask(residual)
    residual = residual * burnin(options, step)
    if not options.use_mask:
        return residual
    if batch.instance_labels is None:
        if not required:
            return jnp.zeros_like(residual)
        raise ValueError(
            "config.motion_field.use_mask needs instance_labels in every batch, got "
            "none: give a data set with masks or switch it off"
        )
    movable = masking.movable_mask(
        frame_pairs.flatten(batch.instance_labels), dilation=options.mask_dilation
    ).reshape(batch.instance_labels.shape)
    target, _ = frame_pairs.of_clip(batch.frames.shape[1])
    return residual * movable[:, jnp.array(target), ..., None]


def auto_mask(residual: Array) -> Array:
    """Returns the field with vectors shorter than the image's mean length set to 0.

    A field of zeros is kept: a net whose output starts at zero would otherwise get no
    gradient.

    Args:
        residual: `[* h w 3]`. The threshold is per image; in the published code it is
            per batch.
    """
    length = numerics.safe_norm(jax.lax.stop_gradient(residual))
    # The mean of equal numbers may exceed them by its rounding.
    threshold = (1 - 1e-5) * jnp.mean(length, axis=(-2, -1), keepdims=True)
    keep = length >= threshold
    return jnp.where(keep[..., None], residual, 0.0)


def burnin(
    options: ml_collections.FrozenConfigDict, step: Array | None
) -> Array | float:
    """Returns the factor of the field: 0 for half the burn-in, then rising to 1."""
    if step is None or not options.burnin_steps:
        return 1.0
    return jnp.clip(2.0 * step / options.burnin_steps - 1.0, 0.0, 1.0)


def ego_warp(
    source: Array,
    target_depth: Array,
    angles: Array,
    translation: Array,
    intrinsics: Array,
) -> tuple[Array, Array, Array]:
    """Returns the source seen from the target, as if only the camera had moved.

    Its remaining difference from the target is due to object motion.

    Args:
        source: `[m h w c]`.
        target_depth: `[m h w]`.
        angles: `[m 3]`, Euler angles of the rotation `source_from_target`.
        translation: `[m 3]`.
        intrinsics: `[m 3 3]`, in pixels of these images.

    Returns:
        Values `[m h w c]`, depth in the source frame `[m h w]` and validity `[m h w]`.
    """

    def warp_image(source, target_depth, angles, translation, intrinsics):
        egomotion = pose_lib.from_euler(angles, translation)
        motion = motion_lib.ego_only(egomotion, target_depth.shape)
        warped = warp.inverse_warp(source, target_depth, motion, intrinsics)
        return warped.image, warped.depth, warped.valid

    return jax.vmap(warp_image)(source, target_depth, angles, translation, intrinsics)


def regularizers(
    residual: Array, translation: Array, *, wrap: bool
) -> dict[str, Array]:
    """Returns the motion regularisers, on the residual normalised by the translation.

    Args:
        residual: `[m h w 3]`, T_obj.
        translation: `[m h w 3]`, T.
        wrap: see `motion_regularizers.group_smoothness`.
    """
    field = motion_regularizers.normalize(residual, translation)
    return {
        # Eqs. 2 and 3.
        "motion_smoothness": motion_regularizers.group_smoothness(field, wrap=wrap),
        "motion_sparsity": motion_regularizers.sparsity(field),
    }
