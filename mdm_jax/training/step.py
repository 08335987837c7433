"""One training step: a pure function of state, running metrics and a batch.

The loop jits it, with shardings and donated buffers. XLA sums the gradients of a batch
that is split over several devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from clu import metrics as clu_metrics
from jaxtyping import Array, Float

from mdm_jax import numerics
from mdm_jax.methods.base import Method, total_loss
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training.state import NOISE_STREAM, TrainState, random_key

Arrays = Mapping[str, jax.Array]

DEPTH_VARIATION = "depth_variation"


@flax.struct.dataclass
class StepMetrics:
    """Running means of the weighted loss terms since the last log line.

    Attributes:
        means: name to running mean.
        failed_step: the step at which a loss or gradient was not finite, or -1. From
            then on the state stays as it was before that step.
    """

    means: dict[str, clu_metrics.Average]
    failed_step: jax.Array

    def only(self, names: Collection[str]) -> StepMetrics:
        """Returns the metrics with these names, if there are any."""
        means = {name: mean for name, mean in self.means.items() if name in names}
        return dataclasses.replace(self, means=means)


TrainStep = Callable[[TrainState, StepMetrics, Arrays], tuple[TrainState, StepMetrics]]


def empty_metrics(names: list[str]) -> StepMetrics:
    """Returns metrics without any values."""
    return StepMetrics(
        means={name: clu_metrics.Average.empty() for name in names},
        failed_step=jnp.full((), -1, jnp.int32),
    )


def compute(metrics: StepMetrics) -> dict[str, float]:
    """Returns the means as Python numbers, the total first; waits for the device."""
    means = jax.device_get(metrics.means)
    names = sorted(means, key=lambda name: (name != "loss/total", name))
    return {name: float(means[name].compute()) for name in names}


def metric_names(
    loss_weights: Mapping[str, float], count_names: Sequence[str] = ()
) -> list[str]:
    """Returns the names of the metrics of a train step; terms of weight 0 have none."""
    terms = [f"loss/{name}" for name, weight in loss_weights.items() if weight]
    return ["loss/total", "gradient_norm", DEPTH_VARIATION, *terms, *count_names]


def depth_variation(depth: Float[Array, "b n h w"]) -> Float[Array, ""]:
    """Returns the standard deviation of depth relative to its mean, averaged over images.

    Close to 0, the net has collapsed: it predicts a flat wall for every image.
    """
    depth = jax.lax.stop_gradient(depth).astype(jnp.float32)
    spread, mean = jnp.std(depth, axis=(-2, -1)), jnp.mean(depth, axis=(-2, -1))
    return jnp.mean(numerics.safe_divide(spread, mean))


def make_train_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    *,
    loss_weights: Mapping[str, float],
    seed: int,
    accumulate_steps: int = 1,
) -> TrainStep:
    """Returns `step(state, metrics, arrays) -> (state, metrics)`.

    Args:
        method: its objective is minimised.
        optimizer: maps gradients to updates.
        loss_weights: exactly one for each loss term.
        seed: of the noise; keys depend on it and on the step only.
        accumulate_steps: number of equal parts in which the batch is processed, which
            divides the memory of the activations. The gradient is the mean over the
            parts. For terms that are means over clips, it is that of the whole batch.
            It differs for `log_scale_pin`, which pins the mean log depth of each part;
            for `translation_prior`, `height_prior`, `object_cycle`,
            `depth_supervision`, `triangulation`, `egomotion_prior` and
            `static_motion`, means over the objects, pixels or pairs of a part for which
            something is known, so that a part with few of them counts as much as one
            with many; and for batch norms, which take the statistics of a part.
    """
    weights = dict(loss_weights)

    def loss(params, model_state, arrays, step, key):
        batch = batch_from_arrays(arrays)
        prediction, new_model_state = method.predict(
            {"params": params, **model_state},
            batch,
            step=step,
            train=True,
            rngs={"noise": key},
        )
        terms = method.loss_terms(prediction, batch, step)
        total, weighted = total_loss(terms, weights)
        reported = {"loss/total": total}
        reported[DEPTH_VARIATION] = depth_variation(prediction.depth)
        reported |= {f"loss/{name}": value for name, value in weighted.items()}
        if method.counts is not None:
            reported |= method.counts(prediction)
        return total, (new_model_state, reported)

    gradient = jax.grad(loss, has_aux=True)

    def accumulated(params, model_state, arrays, step, key):
        def split(x: jax.Array) -> jax.Array:
            # Strided parts, so that no clip moves to another device.
            parts = x.reshape(-1, accumulate_steps, *x.shape[1:])
            return jnp.moveaxis(parts, 1, 0)

        def add(carry, part):
            model_state, total = carry
            index, arrays = part
            grads, (model_state, reported) = gradient(
                params, model_state, arrays, step, jax.random.fold_in(key, index)
            )
            total = jax.tree.map(jnp.add, total, grads)
            return (model_state, total), reported

        zeros = jax.tree.map(jnp.zeros_like, params)
        (model_state, total), reported = jax.lax.scan(
            add,
            (model_state, zeros),
            (jnp.arange(accumulate_steps), jax.tree.map(split, dict(arrays))),
        )
        grads = jax.tree.map(lambda g: g / accumulate_steps, total)
        return grads, (model_state, jax.tree.map(jnp.mean, reported))

    def train_step(
        state: TrainState, metrics: StepMetrics, arrays: Arrays
    ) -> tuple[TrainState, StepMetrics]:
        key = random_key(seed, NOISE_STREAM, state.step)
        compute_gradient = gradient if accumulate_steps == 1 else accumulated
        grads, (model_state, reported) = compute_gradient(
            state.params, state.model_state, arrays, state.step, key
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        reported["gradient_norm"] = optax.tree.norm(grads)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
        )

        finite = jnp.isfinite(reported["loss/total"] + reported["gradient_norm"])
        running = metrics.failed_step < 0
        failed_step = jnp.where(running & ~finite, state.step, metrics.failed_step)
        # Reading the loss on the host would stall the device at every step. So a failed
        # step is undone here and reported with the next log line.
        new_state = _where(failed_step < 0, new_state, state)
        means = {
            name: _where(
                running,
                mean.merge(clu_metrics.Average.from_model_output(reported[name])),
                mean,
            )
            for name, mean in metrics.means.items()
        }
        return new_state, StepMetrics(means=means, failed_step=failed_step)

    return train_step


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)
