"""A view put together from background and objects, each warped by its own motion.

Notation (Lee et al. 2019, section 3.3): I_t is the target image, I_r the source and I^
the whole view of it from the target; V is its validity, D^s the source's depth where
each target pixel lands and D^c the depth of the landing point computed from the
target's; both in one camera frame. Means are over the pixels of one image that count,
and then over images; an image of which nothing counts adds 0.
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

    Gradients flow into both, as given (eqs. 18 to 21).

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
    """Returns V', which counts a pixel the less the less its depths agree (eq. 23).

    It carries no gradient: depths must not disagree in order to lower another loss.
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

    What looks alike in both frames without any warp (textureless, at rest relative to
    the camera, infinitely far) says nothing of depth (Godard et al. 2019).
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
        weight: V', zero where a pixel does not count; carries no gradient.
        ssim_share: a, from 0 (colour alone) to 1 (SSIM alone).
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
        weight: at least 0; carries no gradient.
    """
    weight = jax.lax.stop_gradient(weight)
    total = jnp.sum(values * weight, axis=(-2, -1))
    return jnp.mean(numerics.safe_divide(total, jnp.sum(weight, axis=(-2, -1))))
