"""Losses that compare predictions with two-view geometry estimated from optical flow.

Follows Zhao et al., "Towards Better Generalization: Joint Depth-Pose Learning without
PoseNet" (CVPR 2020). Notation: a is the target of a directed pair and z its triangulated
depth, in units of the pair's baseline; D is predicted depth. Everything is masked by how
far the geometry can be trusted, per pixel and per pair.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mdm_jax import numerics

# A rotation of one radian moves pixels by the focal length, a turn of the translation by
# the parallax, about a tenth of it on a road.
_ROTATION_FACTOR = 10.0


def triangulation(
    depth: Float[Array, "m h w"],
    inverse_depth: Float[Array, "m h w"],
    weight: Float[Array, "m h w"],
) -> Float[Array, ""]:
    """Returns the scale-invariant error of log depth and of its local differences.

    The weighted mean of `|r - m|`, where `r = log D - log z` and m is the weighted
    median of r over the pair, plus half of that of `|r_i - r_j|` over neighbouring
    pixels i, j. The mean is over the pairs with any trusted pixel; 0 without.

    Args:
        depth: D of the targets, positive.
        inverse_depth: 1 / z; any value where the weight is 0.
        weight: at least 0; 0 where z is not trusted.
    """
    residual = _log_ratio(depth, inverse_depth, weight)
    median = jax.lax.stop_gradient(_weighted_median(residual, weight))
    # One median for the pair: neither pixel of a difference is shifted by it.
    residual = jnp.where(weight > 0, residual - median[:, None, None], 0.0)
    total = jnp.sum(weight, axis=(1, 2))
    error = jnp.sum(weight * numerics.safe_abs(residual), axis=(1, 2))
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        both = jnp.minimum(weight[:, *one], weight[:, *other])
        difference = numerics.safe_abs(residual[:, *one] - residual[:, *other])
        error += 0.5 * jnp.sum(both * difference, axis=(1, 2))
    return numerics.masked_mean(numerics.safe_divide(error, total), total > 0)


def egomotion_prior(
    rotation: Float[Array, "m 3 3"],
    translation: Float[Array, "m 3"],
    prior_rotation: Float[Array, "m 3 3"],
    prior_direction: Float[Array, "m 3"],
    baseline: Float[Array, " m"],
) -> Float[Array, ""]:
    """Returns how far egomotion is from that of two-view geometry.

    The angle between the rotations (times 10, see above), the angle between the
    directions of translation, and the absolute log ratio of its length to the
    baseline. Angles are measured by their chord `2 sin(angle / 2)`, which has finite
    gradients everywhere. Each is a mean over the pairs that it is known for.

    Args:
        rotation: of source_from_target, predicted.
        translation: likewise, in depth units.
        prior_rotation: the geometry's; all zeros where unknown.
        prior_direction: the geometry's, of length 1; zeros where unknown.
        baseline: length of the translation that the predicted depth asks for, see
            `baseline`; 0 where unknown.
    """
    turned = jnp.any(prior_rotation != 0, axis=(1, 2))
    difference = (rotation - prior_rotation).reshape(-1, 9)
    # |R - R'|_F = 2 sqrt(2) sin(angle / 2).
    angle = numerics.safe_norm(difference) / jnp.sqrt(2.0)
    length = numerics.safe_norm(translation)
    direction = numerics.safe_divide(translation, length[:, None])
    moved = jnp.any(prior_direction != 0, axis=-1)
    heading = numerics.safe_norm(direction - prior_direction)
    comparable = moved & (baseline > 0) & (length > 0)
    log_ratio = jnp.log(jnp.where(comparable, length, 1.0)) - jnp.log(
        jnp.where(comparable, baseline, 1.0)
    )
    return (
        _ROTATION_FACTOR * numerics.masked_mean(angle, turned)
        + numerics.masked_mean(heading, moved)
        + numerics.masked_mean(numerics.safe_abs(log_ratio), comparable)
    )


def baseline(
    depth: Float[Array, "m h w"],
    inverse_depth: Float[Array, "m h w"],
    weight: Float[Array, "m h w"],
) -> Float[Array, " m"]:
    """Returns `|t| = median(D / z)`, in the unit of the depth; 0 without trusted pixels.

    Without gradient: depth determines the length of the translation, not the reverse.

    Args:
        depth: D of the targets, positive.
        inverse_depth: 1 / z for a translation of length 1.
        weight: at least 0; 0 where z is not trusted.
    """
    residual = _log_ratio(depth, inverse_depth, weight)
    known = jnp.sum(weight, axis=(1, 2)) > 0
    median = jnp.where(known, jnp.exp(_weighted_median(residual, weight)), 0.0)
    return jax.lax.stop_gradient(median)


def flow(
    induced: Float[Array, "m h w 2"],
    given: Float[Array, "m h w 2"],
    trusted: Bool[Array, "m h w"],
) -> Float[Array, ""]:
    """Returns the mean over trusted pixels of `|f - w| / (1 + 0.2 |w|)`.

    Its gradient reaches over any distance. Long flow has larger errors, so counts less
    per pixel.

    Args:
        induced: f, pixels; of predicted depth and motion.
        given: w, pixels; may be non-finite where not trusted.
        trusted: pixels that count.
    """
    w = jnp.where(trusted[..., None], given, 0.0)
    f = jnp.where(trusted[..., None], induced, 0.0)
    error = numerics.safe_norm(f - w) / (1.0 + 0.2 * numerics.safe_norm(w))
    return numerics.masked_mean(error, trusted)


def _log_ratio(depth: Array, inverse_depth: Array, weight: Array) -> Array:
    """Returns `log D - log z`, 0 where not trusted."""
    known = (weight > 0) & (inverse_depth > 0) & (depth > 0)
    logs = (jnp.log(jnp.where(known, x, 1.0)) for x in (depth, inverse_depth))
    return sum(logs, jnp.zeros_like(depth))


def _weighted_median(values: Array, weight: Array) -> Array:
    """Returns for each image the value that half of the weight does not exceed, `[m]`."""
    flat = (x.reshape(len(values), -1) for x in (values, weight))
    ordered, weights = jax.lax.sort(tuple(flat), dimension=-1, num_keys=1)
    cumulative = jnp.cumsum(weights, axis=-1)
    index = jnp.argmax(cumulative >= 0.5 * cumulative[:, -1:], axis=-1)
    return jnp.take_along_axis(ordered, index[:, None], axis=-1)[:, 0]
