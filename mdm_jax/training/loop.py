"""Training from start to end: `train(config, workdir)`.

The order is fixed: check the config, open the data, make or restore the state, and then
step, and log, save and evaluate at their intervals. The loop waits for the device at
these intervals only, and compiles nothing after the first step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview
from jax.sharding import Mesh

from mdm_jax import methods
from mdm_jax.methods import trainable
from mdm_jax.methods.base import Method
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training import (
    checkpoint,
    data,
    failure,
    initial_weights,
    optimizer,
    preflight,
    reporting,
    sharding,
)
from mdm_jax.training import evaluator as evaluator_lib
from mdm_jax.training import state as state_lib
from mdm_jax.training import step as step_lib


def train(config: ml_collections.ConfigDict, workdir: str) -> dict[str, float]:
    """Trains as configured, in or from `workdir`, and returns the final metrics.

    Writes into `workdir`: `config.json`, `settled_config.json`, `checkpoints/`,
    `metrics.jsonl`, `metrics.json` and `panel.png`. An interrupted run continues from its
    newest checkpoint, bitwise as if uninterrupted; a complete one is evaluated again.

    Raises:
        ValueError: config, data or workdir cannot be used; the message says what to do.
        FloatingPointError: a loss was not finite; its batch is kept in `workdir`.
        CollapseError: depth became the same everywhere, see `failure.stop_if_flat`.
    """
    mesh = sharding.make_mesh()
    preflight.check(config, mesh, resumes=checkpoint.has_any(workdir))
    checkpoint.prepare_workdir(workdir, config)
    recordings = data.open_data(config, workdir)
    config = data.settle(config, recordings)
    checkpoint.keep_settled(workdir, config)
    method = methods.create(config)
    num_steps, learning_rate = config.train.num_steps, optimizer.schedule(config)

    with contextlib.ExitStack() as stack:
        loader = data.make_loader(recordings.train, config)
        iterator = stack.enter_context(contextlib.closing(iter(loader)))
        example = _first_batch(iterator, mesh)
        step_function = _compiled_step(config, method, mesh)
        names = step_lib.metric_names(config.loss_weights, method.count_names)
        empty = jax.device_put(step_lib.empty_metrics(names), sharding.replicated(mesh))
        checkpointer = checkpoint.Checkpointer(
            workdir, keep=config.train.keep_checkpoints
        )
        stack.enter_context(contextlib.closing(checkpointer))
        state = _fresh_state(config, method, example, mesh)
        if checkpointer.latest_step() is None:
            state = _with_initial_weights(config, state, example, workdir)
        resumed = checkpointer.restore(state, empty, iterator)
        state, metrics, seconds = resumed.state, resumed.metrics, resumed.seconds
        last = step = int(state.step)
        reporter = stack.enter_context(
            reporting.make_reporter(workdir, num_steps, resumed_step=step)
        )
        evaluator = evaluator_lib.Evaluator(method, recordings, config, mesh, workdir)

        def due(every: int) -> bool:
            return bool(every) and (step % every == 0 or step == num_steps)

        def evaluate() -> dict[str, float]:
            metrics = evaluator(state, seconds=seconds)
            reporter.write_scalars(step, metrics)
            reporter.write_images(step, evaluator.images)
            return metrics

        # The clock continues from the checkpoint.
        clock, began = seconds, time.monotonic() - seconds
        for step in range(last + 1, num_steps + 1):
            batch = sharding.to_devices(mesh, next(iterator))
            state, metrics = step_function(state, metrics, batch)
            reporter.advance(step)
            log, save = due(config.train.log_every), due(config.train.checkpoint_every)
            measure = due(config.train.evaluate_every) and step < num_steps
            if log or save or measure or due(failure.CHECK_EVERY):
                failure.stop_if_not_finite(
                    state, metrics, iterator, checkpointer, empty=empty, seconds=seconds
                )
            seconds = time.monotonic() - began
            if log:
                scalars = step_lib.compute(metrics)
                # The rate of the last update, whose number is step - 1.
                scalars["learning_rate"] = np.asarray(learning_rate(step - 1)).item()
                scalars["steps_per_second"] = (step - last) / max(seconds - clock, 1e-9)
                reporter.write_scalars(step, scalars)
                failure.stop_if_flat(
                    step,
                    scalars[step_lib.DEPTH_VARIATION],
                    config.train.min_depth_variation,
                )
                metrics, last, clock = empty, step, seconds
            if save:
                checkpointer.save(state, metrics, iterator, seconds=seconds)
            if measure:
                evaluate()
        final = evaluate()
        evaluator_lib.print_tables(final, reporter)
    return final


def _first_batch(iterator: Any, mesh: Mesh) -> dict[str, jax.Array]:
    """Returns the next batch, and leaves the iterator where it was."""
    start = iterator.get_state()
    batch = sharding.to_devices(mesh, next(iterator))
    iterator.set_state(start)
    return batch


def _fresh_state(
    config: ml_collections.ConfigDict,
    method: Method,
    example: Mapping[str, jax.Array],
    mesh: Mesh,
) -> state_lib.TrainState:
    """Returns the state at step 0, for batches like the example."""
    transform = optimizer.create(config)
    create = jax.jit(
        lambda arrays: state_lib.create(
            method, transform, batch_from_arrays(arrays), config.seed
        ),
        out_shardings=sharding.replicated(mesh),
    )
    return create(example)


def _compiled_step(
    config: ml_collections.ConfigDict, method: Method, mesh: Mesh
) -> step_lib.TrainStep:
    """Returns the jitted train step, which reuses the memory of the state."""
    layout = sharding.replicated(mesh)
    return jax.jit(
        step_lib.make_train_step(
            method,
            optimizer.create(config),
            loss_weights=config.loss_weights,
            seed=config.seed,
            accumulate_steps=config.optimizer.accumulate_steps,
        ),
        in_shardings=(layout, layout, sharding.by_clip(mesh)),
        out_shardings=(layout, layout),
        donate_argnums=0,
    )


def _with_initial_weights(
    config: ml_collections.ConfigDict,
    state: state_lib.TrainState,
    example: Mapping[str, jax.Array],
    workdir: str,
) -> state_lib.TrainState:
    """Returns the fresh state with the weights of `config.networks.init`, if any."""
    if config.networks.init:
        state = initial_weights.apply(config, state, workdir)
        frames = batch_from_arrays(example).frames
        state = initial_weights.calibrate(config, state, frames)
    parameter_overview.log_parameter_overview(state.params)
    counts = trainable.counts(state.params, config.networks.freeze)
    logging.info("parameters that learn: %s", counts)
    return state
