"""Optional terms on depth: against collapse and scale drift, and sparse supervision.

Notation: D is predicted depth and <D> its mean over the pixels of one image.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics


def depth_variance(depth: Float[Array, "*n h w"]) -> Float[Array, ""]:
    """Returns the inverse of the relative variance of depth, averaged over images.

    It is large for a depth map that collapses to a constant, and bounded by 1e6, where
    the gradient vanishes.

    Args:
        depth: positive, of any scale.
    """
    mean = jnp.mean(depth, axis=(-2, -1), keepdims=True)
    relative = numerics.safe_divide(depth, mean) - 1.0
    # 1 / <(D/<D> - 1)^2>
    variance = jnp.mean(jnp.square(relative), axis=(-2, -1))
    return jnp.mean(1.0 / (variance + 1e-6))


def sparse_depth_l1(
    depth: Float[Array, "*n h w"], ground_truth: Float[Array, "*n h w"]
) -> Float[Array, ""]:
    """Returns the mean absolute log ratio of predicted and known depth.

    In the logarithm an error of one percent counts the same at every depth and in both
    directions. The mean is over the known pixels of all images, so that sparse scans
    weigh no less than dense ones; it is 0 if there are none.

    Args:
        depth: positive, in the unit of the ground truth.
        ground_truth: depth; 0, negative or non-finite where unknown.
    """
    known = (ground_truth > 0) & jnp.isfinite(ground_truth) & (depth > 0)
    # mean_known |log D - log D_gt|
    error = _log(known, depth) - _log(known, ground_truth)
    return numerics.masked_mean(numerics.safe_abs(error), known)


def log_scale_pin(
    depth: Float[Array, "*n h w"], target_log_depth: float | Float[Array, ""]
) -> Float[Array, ""]:
    """Returns the squared distance of the mean log depth from a target.

    The other losses leave one global scale free; this one fixes it. The mean is over all
    images, because a mean per image would pull near and far scenes to one depth. Its
    gradient is the same for all log depths, so it does not change the shape of a map.

    Args:
        depth: positive.
        target_log_depth: natural logarithm of the target geometric mean depth.
    """
    return jnp.square(jnp.mean(_log(depth > 0, depth)) - target_log_depth)


def _log(positive: Array, x: Array) -> Array:
    return jnp.log(jnp.where(positive, x, 1.0))
