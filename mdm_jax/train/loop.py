"""Training from start to end: `train_and_evaluate(config, workdir)`.

The order is fixed: check everything, open the data, make or restore the state, step,
and at their intervals log, evaluate and save. Nothing in the loop waits for the device
except a log line, and nothing in it is compiled after the first step.
"""

from __future__ import annotations

import time

import jax
import ml_collections
import numpy as np
from clu import parameter_overview

from mdm_jax import config as config_lib
from mdm_jax import methods
from mdm_jax.structs import batch_from_arrays
from mdm_jax.train import (
    checkpoint,
    data,
    evaluation,
    failure,
    optimizer,
    reporting,
    sharding,
)
from mdm_jax.train import state as state_lib
from mdm_jax.train import step as step_lib


def train_and_evaluate(
    config: ml_collections.ConfigDict, workdir: str
) -> dict[str, float]:
    """Trains as configured, in or from `workdir`, and returns the final metrics.

    Writes into `workdir`: `config.json`, `checkpoints/`, `metrics.jsonl`,
    `metrics.json` and `panel.png`. A run that was stopped goes on from its newest
    checkpoint and gives, on the same machine, the same result bit for bit.

    Raises:
        ValueError: config, data or workdir are not usable; the message says what to do.
        FloatingPointError: a loss was not finite; its batch is kept in `workdir`.
    """
    config_lib.validate(config)
    mesh = sharding.make_mesh()
    sharding.check_batch_size(
        mesh, config.train.batch_size, config.optimizer.accumulate_steps
    )
    checkpoint.prepare_workdir(workdir, config)
    recordings = data.open_data(config, workdir)
    config = data.settle(config, recordings)
    method = methods.create(config)
    iterator = iter(data.make_loader(recordings.train, config))
    start = iterator.get_state()
    example = sharding.to_devices(mesh, next(iterator))
    iterator.set_state(start)

    transform = optimizer.create(config)
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
    checkpointer = checkpoint.Checkpointer(workdir, keep=config.train.keep_checkpoints)
    if checkpointer.latest_step() is not None:
        state = checkpointer.restore(state, iterator)
    else:
        parameter_overview.log_parameter_overview(state.params)

    num_steps, last = config.train.num_steps, int(state.step)
    reporter = reporting.make_reporter(workdir, num_steps, resumed_step=last)
    evaluator = evaluation.Evaluator(method, recordings, config, mesh, workdir)
    learning_rate = optimizer.schedule(config)
    empty = step_lib.empty_metrics(step_lib.metric_names(config.loss_weights))
    empty = metrics = jax.device_put(empty, layout)
    clock, position, began = time.monotonic(), iterator.get_state(), time.monotonic()

    def due(step: int, every: int) -> bool:
        return bool(every) and (step % every == 0 or step == num_steps)

    try:
        for step in range(last + 1, num_steps + 1):
            batch = sharding.to_devices(mesh, next(iterator))
            state, metrics = step_function(state, metrics, batch)
            reporter.advance(step)
            log = due(step, config.train.log_every)
            save = due(step, config.train.checkpoint_every)
            if log or save:
                failure.stop_if_not_finite(
                    metrics,
                    state,
                    iterator,
                    position=position,
                    position_step=last,
                    workdir=workdir,
                )
            if log:
                scalars = step_lib.compute(metrics)
                scalars["learning_rate"] = float(learning_rate(step))
                now = time.monotonic()
                scalars["steps_per_second"] = (step - last) / max(now - clock, 1e-9)
                reporter.write_scalars(step, scalars)
                metrics, last, clock = empty, step, now
                position = iterator.get_state()
            if save:
                checkpointer.save(state, iterator)
            if due(step, config.train.evaluate_every) and step < num_steps:
                seconds = time.monotonic() - began
                reporter.write_scalars(
                    step, evaluator(state.variables, seconds=seconds)
                )
                reporter.write_images(step, evaluator.images)
        seconds = time.monotonic() - began
        final = evaluator(state.variables, seconds=seconds)
        reporter.write_scalars(num_steps, final)
        reporter.write_images(num_steps, evaluator.images)
        evaluation.print_tables(final, reporter)
    finally:
        checkpointer.close()
        reporter.close()
    return {name: float(np.asarray(value)) for name, value in final.items()}
