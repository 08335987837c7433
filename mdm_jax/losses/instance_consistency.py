"""Consistency of the target with a view composed of background and objects.

Notation (Lee et al. 2019, section 3.3): I_t is the target image, I_r the source and I^
the source rebuilt from the target's view; V is the validity of I^, D^s the source's depth
sampled at the projections of the moved points and D^c the depth of these points, both in
the same camera frame. Means are over the counted pixels of an image, and then over
images; an image without such pixels adds 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm_jax import numerics
from mdm_jax.losses import masking, ssim


def depth_inconsistency(
    sampled: Float[Array, "*n h w"],
    computed: Float[Array, "*n h w"],
    valid: Bool[Array, "*n h w"],
) -> Float[Array, "*n h w"]:
    """Returns the relative difference of two depths, in [0, 1), and 0 where not valid.

    Both depths have gradients (eqs. 18 to 21).

    Args:
        sampled: D^s, positive where valid; may be non-finite elsewhere.
        computed: D^c, likewise.
        valid: V.
    """
    # Ddiff = |D^s - D^c| / (D^s + D^c)
    sampled = masking.zero_outside(valid, sampled)
    computed = masking.zero_outside(valid, computed)
    difference = numerics.safe_abs(sampled - computed)
    return numerics.safe_divide(difference, sampled + computed)


def weighted_valid(
    valid: Bool[Array, "*n h w"], inconsistency: Float[Array, "*n h w"]
) -> Float[Array, "*n h w"]:
    """Returns V', the validity weighted by the agreement of the two depths (eq. 23).

    It has no gradient: otherwise depths would disagree to lower another loss.
    """
    # V' = (1 - Ddiff) V
    weight = masking.zero_outside(valid, 1.0 - inconsistency)
    return jax.lax.stop_gradient(weight)


def explained(
    target: Float[Array, "*n h w c"],
    view: Float[Array, "*n h w c"],
    source: Float[Array, "*n h w c"],
) -> Bool[Array, "*n h w"]:
    """Returns the auto mask: where warping the source lowers the colour error.

    Pixels that look alike in both frames without a warp (textureless, at rest relative
    to the camera, infinitely far) give no information on depth (Godard et al. 2019).
    """
    # |I_t - I^| < |I_t - I_r|
    warped_error = jnp.mean(jnp.abs(target - view), axis=-1)
    return warped_error < jnp.mean(jnp.abs(target - source), axis=-1)


def photometric(
    target: Float[Array, "*n h w c"],
    view: Float[Array, "*n h w c"],
    weight: Float[Array, "*n h w"],
    *,
    ssim_share: float,
) -> Float[Array, ""]:
    """Returns the weighted mean of colour difference and dissimilarity (eq. 24).

    Args:
        target: I_t, in [0, 1].
        view: I^, in [0, 1], finite everywhere.
        weight: V', zero for pixels to ignore; its gradient is stopped.
        ssim_share: a, from 0 (only colour) to 1 (only SSIM).
    """
    difference = jnp.mean(numerics.safe_abs(target - view), axis=-1)
    dissimilarity = jnp.mean(ssim.dissimilarity(view, target), axis=-1)
    # L_p = mean_V' { (1 - a) |I_t - I^|_1 + a (1 - SSIM) / 2 }
    error = (1.0 - ssim_share) * difference + ssim_share * dissimilarity
    return weighted_mean(error, weight)


def weighted_mean(
    values: Float[Array, "*n h w"], weight: Float[Array, "*n h w"]
) -> Float[Array, ""]:
    """Returns the mean over images of the weighted mean over pixels.

    Args:
        values: finite.
        weight: at least 0; its gradient is stopped.
    """
    weight = jax.lax.stop_gradient(weight)
    total = jnp.sum(values * weight, axis=(-2, -1))
    return jnp.mean(numerics.safe_divide(total, jnp.sum(weight, axis=(-2, -1))))
