"""Training from start to end: `train_and_evaluate(config, workdir)`.

The order is fixed: check everything, open the data, make or restore the state, step,
and at their intervals log, save and evaluate. Nothing in the loop waits for the device
except at these intervals, and nothing in it is compiled after the first step.
"""

from __future__ import annotations

import contextlib
import time

import jax
import ml_collections
import numpy as np
from absl import logging
from clu import parameter_overview

from mdm_jax import methods
from mdm_jax.methods import trainable
from mdm_jax.structs import batch_from_arrays
from mdm_jax.train import (
    checkpoint,
    data,
    failure,
    initial_weights,
    optimizer,
    preflight,
    reporting,
    sharding,
)
from mdm_jax.train import evaluator as evaluator_lib
from mdm_jax.train import state as state_lib
from mdm_jax.train import step as step_lib


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: str
) -> dict[str, float]:
    """Trains as configured, in or from `workdir`, and returns the final metrics.

    Writes into `workdir`: `config.json`, `settled_config.json`, `checkpoints/`,
    `metrics.jsonl`, `metrics.json` and `panel.png`. A run that was stopped goes on from
    its newest checkpoint and gives, on the same machine, the same result bit for bit.
    One that is complete is evaluated anew.

    Raises:
        ValueError: config, data or workdir are not usable; the message says what to do.
        FloatingPointError: a loss was not finite; its batch is kept in `workdir`.
    """
    mesh = sharding.make_mesh()
    preflight.check(config, mesh, resumes=checkpoint.has_any(workdir))
    checkpoint.prepare_workdir(workdir, config)
    recordings = data.open_data(config, workdir)
    config = data.settle(config, recordings)
    checkpoint.keep_settled(workdir, config)
    method, transform = methods.create(config), optimizer.create(config)
    num_steps, learning_rate = config.train.num_steps, optimizer.schedule(config)

    with contextlib.ExitStack() as stack:
        loader = data.make_loader(recordings.train, config)
        iterator = stack.enter_context(contextlib.closing(iter(loader)))
        start = iterator.get_state()
        example = sharding.to_devices(mesh, next(iterator))
        iterator.set_state(start)

        layout = sharding.replicated(mesh)
        state = jax.jit(
            lambda arrays: state_lib.create(
                method, transform, batch_from_arrays(arrays), config.seed
            ),
            out_shardings=layout,
        )(example)
        step_function = jax.jit(
            step_lib.make_train_step(
                method,
                transform,
                loss_weights=config.loss_weights,
                seed=config.seed,
                accumulate_steps=config.optimizer.accumulate_steps,
            ),
            in_shardings=(layout, layout, sharding.by_clip(mesh)),
            out_shardings=(layout, layout),
            donate_argnums=0,
        )
        names = step_lib.metric_names(config.loss_weights, method.count_names)
        empty = jax.device_put(step_lib.empty_metrics(names), layout)
        checkpointer = checkpoint.Checkpointer(
            workdir, keep=config.train.keep_checkpoints
        )
        stack.enter_context(contextlib.closing(checkpointer))
        if config.networks.init and checkpointer.latest_step() is None:
            state = initial_weights.apply(config, state, workdir)
            frames = batch_from_arrays(example).frames
            state = initial_weights.calibrate(config, state, frames)
        resumed = checkpointer.restore(state, empty, iterator)
        state, metrics, seconds = resumed.state, resumed.metrics, resumed.seconds
        last = step = int(state.step)
        if not step:
            parameter_overview.log_parameter_overview(state.params)
            freeze = config.networks.freeze
            logging.info(
                "parameters that learn: %s", trainable.counts(state.params, freeze)
            )
        reporter = stack.enter_context(
            reporting.make_reporter(workdir, num_steps, resumed_step=step)
        )
        evaluator = evaluator_lib.Evaluator(method, recordings, config, mesh, workdir)

        def due(every: int) -> bool:
            return bool(every) and (step % every == 0 or step == num_steps)

        # As if the clock had not stopped while the run was interrupted.
        clock, began = seconds, time.monotonic() - seconds
        for step in range(last + 1, num_steps + 1):
            batch = sharding.to_devices(mesh, next(iterator))
            state, metrics = step_function(state, metrics, batch)
            reporter.advance(step)
            log, save = due(config.train.log_every), due(config.train.checkpoint_every)
            evaluate = due(config.train.evaluate_every) and step < num_steps
            if log or save or evaluate or due(failure.CHECK_EVERY):
                failure.stop_if_not_finite(
                    state,
                    metrics,
                    iterator,
                    empty=empty,
                    seconds=seconds,
                    checkpointer=checkpointer,
                    workdir=workdir,
                )
            seconds = time.monotonic() - began
            if log:
                scalars = step_lib.compute(metrics)
                # Of the update just made, which was number step - 1.
                scalars["learning_rate"] = np.asarray(learning_rate(step - 1)).item()
                scalars["steps_per_second"] = (step - last) / max(seconds - clock, 1e-9)
                reporter.write_scalars(step, scalars)
                metrics, last, clock = empty, step, seconds
            if save:
                checkpointer.save(state, metrics, iterator, seconds=seconds)
            if evaluate:
                reporter.write_scalars(step, evaluator(state, seconds=seconds))
                reporter.write_images(step, evaluator.images)
        final = evaluator(state, seconds=seconds)
        reporter.write_scalars(step, final)
        reporter.write_images(step, evaluator.images)
        evaluator_lib.print_tables(final, reporter)
    return final
