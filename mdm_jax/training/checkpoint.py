"""Checkpoints of everything that a run needs to continue as if it had not stopped.

A checkpoint has the training state, with that of the optimiser, the metrics since the
last log line, the position of the data iterator and the seconds trained. Orbax renames it
when it is complete, so that an interrupted write is never taken for a checkpoint.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import grain
import grain.checkpoint
import jax
import ml_collections
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from mdm_jax import config as config_lib
from mdm_jax import settings
from mdm_jax.files import atomic
from mdm_jax.training.state import TrainState
from mdm_jax.training.step import StepMetrics

# Settings that may change when a run is resumed: how long, how often and on what
# hardware, but nothing that changes the result of a step.
MAY_CHANGE = (
    "train.log_every",
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.min_depth_variation",
    "train.cpu_devices",
    "train.compilation_cache",
    "dataset.path",
    "dataset.cache_dir",
    "loader.",
    "evaluation.",
)
# Settings that may change with a warning, as advised after a loss that is not finite.
MAY_CHANGE_WITH_WARNING = ("optimizer.learning_rate", "optimizer.clip_norm")

# The config as given, and as settled with the data.
CONFIG = "config.json"
SETTLED_CONFIG = "settled_config.json"


def prepare_workdir(workdir: str | os.PathLike[str], config: ml_collections.ConfigDict):
    """Makes the folder of a run and writes its config to `config.json`.

    Raises:
        ValueError: the folder has a run with another config; the message lists the
            differences.
        OSError: the folder cannot be written to.
    """
    workdir = pathlib.Path(workdir)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        # One name per process, because several do this at the same time.
        probe = workdir / f".write_probe_{jax.process_index()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"--workdir={workdir} cannot be written to ({error}): choose another folder"
        ) from error
    path = workdir / CONFIG
    # Without a checkpoint, nothing is resumed.
    if path.exists() and has_any(workdir):
        _check_same(path, config)
    _write_config(path, config)


def has_any(workdir: str | os.PathLike[str]) -> bool:
    """Returns whether the folder has a checkpoint to resume from."""
    return any((pathlib.Path(workdir) / "checkpoints").glob("[0-9]*"))


def keep_settled(workdir: str | os.PathLike[str], config: ml_collections.ConfigDict):
    """Writes the config of `data.settle`, so that a run can be used without its data."""
    _write_config(pathlib.Path(workdir) / SETTLED_CONFIG, config)


def _write_config(path: pathlib.Path, config: ml_collections.ConfigDict):
    if jax.process_index() == 0:
        atomic.write_text(path, settings.to_json(config))


def _check_same(path: pathlib.Path, config: ml_collections.ConfigDict):
    """Raises ValueError if a run would be resumed with different settings.

    Settings that are newer than the run only get a warning.
    """
    old = config_lib.recorded(path)
    # Through JSON, which does not distinguish lists and tuples.
    new = settings.flatten(settings.from_json(settings.to_json(config)))
    # A run may be prolonged if its schedule does not depend on its length.
    may_change = MAY_CHANGE
    if config.optimizer.schedule != "cosine":
        may_change += ("train.num_steps",)
    differing = {
        name: f"config.{name}: {old.get(name, 'absent')} there, "
        f"{new.get(name, 'absent')} now"
        for name in sorted(set(old) | set(new))
        if old.get(name) != new.get(name) and not name.startswith(may_change)
    }
    for name in list(differing):
        if name in MAY_CHANGE_WITH_WARNING or name not in old:
            logging.warning("Resuming with a change: %s", differing.pop(name))
    if differing:
        raise ValueError(
            f"--workdir={path.parent} belongs to a run with another config: "
            + "; ".join(differing.values())
            + ". Use another --workdir, or the old settings to resume that run"
        )


@dataclasses.dataclass
class Resumed:
    """The contents of a checkpoint, without the position of the iterator."""

    state: TrainState
    metrics: StepMetrics
    seconds: float


class Checkpointer:
    """Saves and restores everything that a run carries from step to step.

    Attributes:
        workdir: folder of the run.
    """

    def __init__(self, workdir: str | os.PathLike[str], *, keep: int = 2):
        self.workdir = pathlib.Path(workdir).absolute()
        self._manager = ocp.CheckpointManager(
            self.workdir / "checkpoints",
            options=ocp.CheckpointManagerOptions(max_to_keep=keep),
        )

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def save(
        self,
        state: TrainState,
        metrics: StepMetrics,
        iterator: grain.DatasetIterator,
        *,
        seconds: float,
    ):
        """Saves in the background, as the checkpoint of the state's step.

        Args:
            state: of training.
            metrics: since the last log line.
            iterator: of the training data.
            seconds: of training so far.
        """
        step = int(state.step)
        if step == self.latest_step():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                running_means=ocp.args.StandardSave(metrics),
                iterator=grain.checkpoint.CheckpointSave(iterator),
                clock=ocp.args.JsonSave({"seconds": seconds}),
            ),
        )

    def restore(
        self, state: TrainState, metrics: StepMetrics, iterator: grain.DatasetIterator
    ) -> Resumed:
        """Returns the newest checkpoint and restores the position of the iterator.

        Without a checkpoint it returns its arguments.

        Args:
            state: the fresh state, for structure, shapes and layout.
            metrics: empty metrics.
            iterator: the fresh iterator.

        Raises:
            ValueError: the checkpoint does not fit the state, or cannot be read.
        """
        step = self.latest_step()
        if step is None:
            return Resumed(state, metrics, 0.0)
        try:
            saved = metrics.only(self._saved_metrics(step))
        except Exception as error:
            raise self._unreadable(step, error) from error
        args = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(_abstract, state)),
            running_means=ocp.args.StandardRestore(jax.tree.map(_abstract, saved)),
            iterator=grain.checkpoint.CheckpointRestore(iterator),
            clock=ocp.args.JsonRestore(),
        )
        try:
            restored = self._manager.restore(step, args=args)
        except Exception as error:
            raise self._unreadable(step, error) from error
        logging.info("Resumed from step %d", step)
        # Metrics that the run did not have yet begin empty.
        means = metrics.means | restored["running_means"].means
        return Resumed(
            restored["state"],
            dataclasses.replace(restored["running_means"], means=means),
            restored["clock"]["seconds"],
        )

    def _saved_metrics(self, step: int) -> set[str]:
        """Returns the names of the metrics in a checkpoint."""
        folder = epath.Path(self._manager.directory / str(step) / "running_means")
        return set(ocp.PyTreeCheckpointHandler().metadata(folder).tree["means"])

    def _unreadable(self, step: int, cause: Exception) -> ValueError:
        return ValueError(
            f"checkpoint {self._manager.directory}/{step} cannot be restored into "
            "this config's state: it is damaged or of other networks. Remove that "
            "folder to fall back to the one before it. Cause: "
            f"{str(cause)[:500]}"
        )

    def close(self):
        """Waits until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
