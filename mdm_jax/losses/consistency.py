"""Consistency of two frames: of depth, and of forward and backward motion.

Notation: (R_ab, T_ab) moves points of the target frame a to the source frame b and
(R_ba, T_ba) back; p' is the projection of pixel p's moved point into b, and T_ba<p'> the
backward motion sampled there. Z' and D^_b as in `masking`.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm_jax import numerics
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.losses import masking

# Squared motion below which the cycle errors vanish: 1e-6 rad is the rounding error of a
# float32 rotation matrix, and the gradients of the errors grow like 1 / |motion|.
_LEAST_SQUARED_MOTION = 1e-12


def depth_consistency(
    mask: Bool[Array, "*n h w"],
    sampled_depth: Float[Array, "*n h w"],
    projected_depth: Float[Array, "*n h w"],
) -> Float[Array, ""]:
    """Returns the mean over all pixels of the masked depth difference.

    Both depths have gradients. In Li et al. 2020 the gradient of the source's depth map
    is stopped *before* sampling, so that `sampled_depth` depends on p' only.

    Args:
        mask: the occlusion mask O.
        sampled_depth: D^_b; may be non-finite where masked out.
        projected_depth: Z'; may be non-finite where masked out.
    """
    # mean O |D^_b - Z'|
    difference = masking.zero_outside(mask, sampled_depth - projected_depth)
    return jnp.mean(numerics.safe_abs(difference))


def rotation_cycle(
    rotation_ab: Float[Array, "*n 3 3"], rotation_ba: Float[Array, "*n 3 3"]
) -> Float[Array, ""]:
    """Returns the deviation of `R_ab R_ba` from the identity, relative to the rotations.

    Being relative, it cannot be lowered by rotating less: it is 0 for inverse rotations,
    1 if one of them is the identity, and about 2 for equal small ones. Without any
    rotation, it is 0 and has no gradient (Li et al. 2020, eq. 6, first term).
    """
    identity = jnp.broadcast_to(jnp.eye(3, dtype=rotation_ab.dtype), rotation_ab.shape)

    def squared(matrix: Array) -> Array:
        return jnp.sum(jnp.square(matrix - identity), axis=(-2, -1))

    # |R_ab R_ba - 1|^2 / (|R_ab - 1|^2 + |R_ba - 1|^2)
    error = squared(numerics.matmul(rotation_ab, rotation_ba))
    scale = squared(rotation_ab) + squared(rotation_ba)
    return jnp.mean(error / (scale + _LEAST_SQUARED_MOTION))


def translation_cycle(
    rotation_ab: Float[Array, "*n 3 3"],
    translation_ab: Float[Array, "*n h w 3"],
    translation_ba_warped: Float[Array, "*n h w 3"],
    mask: Bool[Array, "*n h w"],
) -> Float[Array, ""]:
    """Returns the deviation of both translation fields from cancelling each other.

    It is relative to the translations, per pixel; the mean is over all pixels, with zero
    where masked out (Li et al. 2020, eq. 6, second term).

    Args:
        rotation_ab: R_ab.
        translation_ab: T_ab, egomotion plus object motion.
        translation_ba_warped: T_ba<p'>, sampled at p' without a gradient to p'; may be
            non-finite where masked out.
        mask: the occlusion mask O.
    """
    forth = masking.zero_outside(mask, translation_ab)
    back = masking.zero_outside(mask, translation_ba_warped)
    # R_ab T_ba<p'> + T_ab
    residual = rotation_lib.apply(rotation_ab[..., None, None, :, :], back) + forth
    # mean O |R_ab T_ba<p'> + T_ab|^2 / (|T_ab|^2 + |T_ba<p'>|^2)
    error = jnp.sum(jnp.square(residual), axis=-1)
    scale = jnp.sum(jnp.square(forth) + jnp.square(back), axis=-1)
    return jnp.mean(error / (scale + _LEAST_SQUARED_MOTION))
