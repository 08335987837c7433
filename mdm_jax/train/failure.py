"""When a loss is not finite: keep the batch and the state before it, say what to do."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import numpy as np

from mdm_jax.input_pipeline.loader import LoaderIterator
from mdm_jax.train import checkpoint
from mdm_jax.train.state import TrainState
from mdm_jax.train.step import StepMetrics

# A step is checked at least so often, with or without log lines.
CHECK_EVERY = 100


def stop_if_not_finite(
    state: TrainState,
    metrics: StepMetrics,
    iterator: LoaderIterator,
    *,
    empty: StepMetrics,
    seconds: float,
    checkpointer: checkpoint.Checkpointer,
    workdir: str,
):
    """Returns if all is well; waits for the device.

    The step that failed was undone on the device and named in the metrics. A checkpoint
    is made of the state before it, with the iterator just before its batch, so that the
    run can be resumed there; the batch is saved by itself too.

    Args:
        state: as it was before the failed step.
        metrics: tell the failed step, if any.
        iterator: of the training data; a batch was drawn for each step so far.
        empty: metrics to go on with: those at hand hold what is not finite.
        seconds: of training so far.
        checkpointer: of the run.
        workdir: where the batch goes; each process keeps its share.

    Raises:
        FloatingPointError: a loss or gradient was not finite.
    """
    failed_step = int(metrics.failed_step)
    if failed_step < 0:
        return
    iterator.set_state({"next_index": failed_step})
    checkpointer.save(state, empty, iterator, seconds=seconds)
    name = f"non_finite_batch_{failed_step}_process_{jax.process_index()}.npz"
    path = pathlib.Path(workdir) / name
    arrays: dict[str, Any] = next(iterator)
    np.savez_compressed(path, **arrays)
    terms = {name: float(value.total) for name, value in metrics.means.items()}
    culprits = [name for name, value in terms.items() if not np.isfinite(value)]
    raise FloatingPointError(
        f"not finite at step {failed_step}: {', '.join(culprits)}. The batch is kept in "
        f"{path} and all that was before it in checkpoint {failed_step}. Lower "
        "config.optimizer.learning_rate or config.optimizer.clip_norm, or look at the "
        "batch for broken frames or intrinsics, then run the same command to resume"
    )
