"""Loss terms that both methods take from two-view geometry; see `losses.two_view`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import numerics
from mdm_jax.losses import two_view
from mdm_jax.methods import base, frame_pairs
from mdm_jax.structs import Batch, Prediction

Array = jax.Array

# Off: neither paper has them.
LOSS_WEIGHTS = {"triangulation": 0.0, "egomotion_prior": 0.0, "static_motion": 0.0}


def added_to(
    loss_terms: base.LossTermsFn, options: ml_collections.FrozenConfigDict
) -> base.LossTermsFn:
    """Returns the loss terms of a method together with those of LOSS_WEIGHTS.

    Args:
        loss_terms: of the method.
        options: `config.two_view`.
    """

    def both(prediction: Prediction, batch: Batch, step: Array) -> dict[str, Array]:
        return loss_terms(prediction, batch, step) | terms(
            prediction, batch, step, options=options
        )

    return both


def terms(
    prediction: Prediction,
    batch: Batch,
    step: Array,
    *,
    options: ml_collections.FrozenConfigDict,
) -> dict[str, Array]:
    """Returns the terms of LOSS_WEIGHTS, 0 where the batch has no two-view geometry.

    `static_motion` is the mean length of the residual translation, relative to that of
    the total translation, where two-view geometry classifies the scene as static.

    Args:
        prediction: of clips of at least two frames.
        batch: with `pair_inverse_depth` and so on, or without.
        step: for the schedule.
        options: `config.two_view`.
    """
    if batch.pair_weight is None:
        return dict.fromkeys(LOSS_WEIGHTS, jnp.zeros(()))
    pairs = prediction.require_pairs()
    depth = frame_pairs.select(prediction.depth, pairs.target_index)
    inverse_depth, weight, rotation, direction = (
        frame_pairs.flatten(jnp.asarray(values, jnp.float32))
        for values in (
            batch.pair_inverse_depth,
            batch.pair_weight,
            batch.pair_rotation,
            batch.pair_direction,
        )
    )
    ego_rotation = frame_pairs.flatten(pairs.egomotion.rotation)
    ego_translation = frame_pairs.flatten(pairs.egomotion.translation)
    residual = frame_pairs.flatten(pairs.residual_translation)
    speed = jax.lax.stop_gradient(numerics.safe_norm(ego_translation))[:, None, None]
    moved = numerics.safe_divide(numerics.safe_norm(residual), speed)
    values = {
        "triangulation": two_view.triangulation(depth, inverse_depth, weight),
        "egomotion_prior": two_view.egomotion_prior(
            ego_rotation,
            ego_translation,
            rotation,
            direction,
            two_view.baseline(depth, inverse_depth, weight),
        ),
        "static_motion": numerics.masked_mean(moved, weight > 0),
    }
    factor = schedule(step, options)
    return {name: factor * value for name, value in values.items()}


def schedule(step: Array, options: ml_collections.FrozenConfigDict) -> Array:
    """Returns the factor of the terms: 1 at the start, falling linearly to a floor."""
    share = jnp.minimum(step / max(options.decay_steps, 1), 1.0)
    if not options.decay_steps:
        share = jnp.zeros(())
    return 1.0 - (1.0 - options.floor) * share
