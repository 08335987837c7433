"""Differences between the warped source image and the target image.

Notation: I_a is the target image, I^_b the source image warped to it, O the occlusion
mask and W the proximity weight of `masking`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm_jax import numerics
from mdm_jax.losses import masking, ssim


def masked_l1(
    target: Float[Array, "*n h w c"],
    warped: Float[Array, "*n h w c"],
    mask: Bool[Array, "*n h w"],
) -> Float[Array, ""]:
    """Returns the mean over all pixels and channels of the masked colour difference.

    The mean is over the whole image: a mean over the mask would reward masking out all
    but a few easy pixels (Li et al. 2020, section 3.3).

    Args:
        target: I_a.
        warped: I^_b; may be non-finite where masked out.
        mask: O.
    """
    # L_rgb = mean_{p,c} O |I^_b - I_a|
    difference = masking.zero_outside(mask, warped - target)
    return jnp.mean(numerics.safe_abs(difference))


def weighted_ssim_loss(
    target: Float[Array, "*n h w c"],
    warped: Float[Array, "*n h w c"],
    weight: Float[Array, "*n h w"],
) -> Float[Array, ""]:
    """Returns the mean structural dissimilarity, weighted by depth proximity.

    Args:
        target: I_a, in [0, 1].
        warped: I^_b, in [0, 1]; finite everywhere, as `warp.inverse_warp` makes it.
        weight: W; its gradient is stopped.
    """
    similarity = ssim.weighted_ssim(warped, target, jax.lax.stop_gradient(weight))
    # L_ssim = mean( clip((1 - ssim)/2, 0, 1) * pool(W) )
    return jnp.mean(similarity.dissimilarity * similarity.average_weight[..., None])
