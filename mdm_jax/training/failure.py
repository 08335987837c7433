"""Trainings that have failed: stop, and say what to do.

Where losses are not finite, the batch and the state before it are stored.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mdm_jax.input_pipeline.loader import LoaderIterator
from mdm_jax.training import checkpoint
from mdm_jax.training.state import TrainState
from mdm_jax.training.step import StepMetrics

# Steps between checks, if there are no log lines in between.
CHECK_EVERY = 100
# Networks begin with a variation of a few per cent or more, by their random weights.
FLAT_AFTER = 300


class CollapseError(ValueError):
    """Depth has become the same everywhere in the image."""


def stop_if_not_finite(
    state: TrainState,
    metrics: StepMetrics,
    iterator: LoaderIterator,
    checkpointer: checkpoint.Checkpointer,
    *,
    empty: StepMetrics,
    seconds: float,
):
    """Returns if all steps were finite; waits for the device.

    The failed step was undone on the device, and the metrics have its number. The state
    before it is saved as a checkpoint, with the iterator just before the failed batch, so
    that the run can be resumed there. The batch is saved too.

    Args:
        state: the state before the failed step.
        metrics: with the failed step, if any.
        iterator: of the training data.
        checkpointer: of the run; each process saves its share of the batch in its folder.
        empty: metrics for the checkpoint; `metrics` are not finite.
        seconds: of training so far.

    Raises:
        FloatingPointError: a loss or gradient was not finite.
    """
    failed_step = int(metrics.failed_step)
    if failed_step < 0:
        return
    iterator.set_state({"next_index": failed_step})
    checkpointer.save(state, empty, iterator, seconds=seconds)
    name = f"non_finite_batch_{failed_step}_process_{jax.process_index()}.npz"
    path = checkpointer.workdir / name
    arrays: dict[str, Any] = next(iterator)
    np.savez_compressed(path, **arrays)
    terms = {name: float(value.total) for name, value in metrics.means.items()}
    culprits = [name for name, value in terms.items() if not np.isfinite(value)]
    raise FloatingPointError(
        f"not finite at step {failed_step}: {', '.join(culprits)}. The batch is kept in "
        f"{path} and the state before it in checkpoint {failed_step}. Lower "
        "config.optimizer.learning_rate or config.optimizer.clip_norm, or look for "
        "broken frames or intrinsics in the batch, then run the same command to resume"
    )


def stop_if_flat(step: int, variation: float, minimum: float):
    """Returns unless depth has collapsed to a flat wall.

    Args:
        step: of the log line; nothing is expected of the first `FLAT_AFTER` steps.
        variation: `step.depth_variation`, the mean since the last log line.
        minimum: `config.train.min_depth_variation`; 0 accepts everything.

    Raises:
        CollapseError: the variation is less than the minimum.
    """
    if step < FLAT_AFTER or variation >= minimum:
        return
    raise CollapseError(
        f"depth has collapsed at step {step}: its standard deviation is"
        f" {100 * variation:.1f} % of its mean, so that every image is a flat wall, and"
        " training rarely recovers. Begin again in another --workdir with"
        " config.loss_weights.triangulation=2 (depth from two-view geometry leads),"
        " smaller config.loss_weights of smoothness and geometric consistency, a lower"
        " config.optimizer.learning_rate, or pretrained weights (config.networks.init)."
        " If the scenes are flat, config.train.min_depth_variation=0 disables this check"
    )
