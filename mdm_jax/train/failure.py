"""When a loss is not finite: find the batch again, keep it, and say what to do."""

from __future__ import annotations

import pathlib

import grain
import numpy as np

from mdm_jax.train.state import TrainState
from mdm_jax.train.step import StepMetrics


def stop_if_not_finite(
    metrics: StepMetrics,
    state: TrainState,
    iterator: grain.DatasetIterator,
    *,
    position: dict,
    position_step: int,
    workdir: str,
):
    """Returns if all is well; waits for the device.

    The step that failed was undone on the device and named in the metrics. Its batch is
    drawn again from the iterator, which is deterministic, and saved.

    Args:
        metrics: since `position_step`.
        state: as it was before the failed step.
        iterator: of the training data.
        position: the iterator's state at `position_step`.
        position_step: a step before the failure.
        workdir: where the batch goes.

    Raises:
        FloatingPointError: a loss or gradient was not finite.
    """
    failed_step = int(metrics.failed_step)
    if failed_step < 0:
        return
    iterator.set_state(position)
    for _ in range(failed_step - position_step + 1):
        batch = next(iterator)
    path = pathlib.Path(workdir) / f"non_finite_batch_{failed_step}.npz"
    np.savez_compressed(path, **batch)
    terms = {name: float(value.total) for name, value in metrics.means.items()}
    culprits = [name for name, value in terms.items() if not np.isfinite(value)]
    raise FloatingPointError(
        f"not finite at step {failed_step}: {', '.join(culprits)}. The batch is kept in "
        f"{path} and the parameters before that step (step {int(state.step)}) in the "
        "newest checkpoint. Lower config.optimizer.learning_rate or clip_norm, look at "
        "the batch for broken frames or intrinsics, then run the same command to resume"
    )
