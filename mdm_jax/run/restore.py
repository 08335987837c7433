"""A trained run, read back from its folder: what it predicts with, and nothing else.

Neither its data nor its optimiser are needed, and it does not matter how many devices
the run was trained on: the variables are read into the memory of the default device.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import orbax.checkpoint as ocp

from mdm_jax import config as config_lib
from mdm_jax import methods, settings
from mdm_jax.methods.base import Method, Variables
from mdm_jax.train import checkpoint, preflight

# So many differences are named; more would hide what they have in common.
_MAX_NAMED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A trained run.

    Attributes:
        config: of the run, with what `data.settle` found out about its data.
        method: that it trained.
        variables: what `method.predict` takes, on the default device.
        step: training steps done.
        workdir: its folder.
    """

    config: ml_collections.ConfigDict
    method: Method
    variables: Variables
    step: int
    workdir: pathlib.Path


def load_run(
    workdir: str | os.PathLike[str],
    *,
    config: ml_collections.ConfigDict | None = None,
    step: int | None = None,
) -> Run:
    """Returns the run of a folder, as its newest checkpoint has it.

    A run of an older version may lack fields of the config; they get their defaults.

    Args:
        workdir: that the run was trained in.
        config: settings to take instead of the run's: of data and evaluation, but what
            makes the networks must be the same. None for the run's own.
        step: of the checkpoint; None for the newest.

    Raises:
        ValueError: there is no run or no such checkpoint; the checkpoint is damaged or
            does not fit the config; or `config` is of another method or networks. The
            message says what to do.
    """
    workdir = pathlib.Path(workdir)
    own = load_config(workdir)
    folder = _checkpoint_folder(workdir, step)
    settled = own if config is None else _with_own_model(config, own, workdir)
    method = methods.create(settled)
    return Run(
        config=settled,
        method=method,
        variables=_read_variables(folder, method, settled),
        step=int(folder.name),
        workdir=workdir,
    )


def load_config(workdir: str | os.PathLike[str]) -> ml_collections.ConfigDict:
    """Returns the settled config of a run, whether or not it has a checkpoint.

    Raises:
        ValueError: the folder holds no run, or one of a version that is too different.
    """
    workdir = pathlib.Path(workdir)
    if not workdir.is_dir():
        raise ValueError(
            f"--workdir={workdir}: there is no such folder; give the one that"
            " `python -m mdm_jax.main` trained in"
        )
    # Without a settled config, training stopped early or an older version did it.
    for name in (checkpoint.SETTLED_CONFIG, checkpoint.CONFIG):
        if (path := workdir / name).is_file():
            break
    else:
        raise ValueError(
            f"--workdir={workdir}: holds no {checkpoint.CONFIG}, so no run was trained"
            " there; give the folder that `python -m mdm_jax.main` trained in"
        )
    return config_lib.read(path)


def checkpoint_time(run: Run) -> int | None:
    """Returns when a run's checkpoint was written, nanoseconds; None if it is gone."""
    folder = run.workdir / "checkpoints" / str(run.step)
    return folder.stat().st_mtime_ns if folder.is_dir() else None


def _model(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Returns the beginnings of the fields that say what is computed."""
    return ("method", "networks.", "camera.", f"{config.method}.")


def _with_own_model(
    given: ml_collections.ConfigDict,
    own: ml_collections.ConfigDict,
    workdir: pathlib.Path,
) -> ml_collections.ConfigDict:
    """Returns the given config with what the run's data told filled in."""
    config_lib.validate(given)
    # Lists and tuples are the same there.
    new = settings.flatten(settings.from_json(settings.to_json(given)))
    old = settings.flatten(own)
    before, path = old, workdir / checkpoint.CONFIG
    if path.is_file():
        before = settings.flatten(config_lib.read(path))
    differing = [
        f"config.{name}: {old.get(name, 'absent')} there, {new.get(name, 'absent')}"
        " in --config"
        for name in sorted(set(old) | set(new))
        if name.startswith((*_model(own), *_model(given)[:1]))
        # What training began with, it has behind it.
        and name != "networks.init"
        and new.get(name) not in (old.get(name), before.get(name, old.get(name)))
    ]
    if differing:
        raise ValueError(
            f"--workdir={workdir} was trained with other networks than --config says: "
            + _first(differing)
            + "; leave --config out to use the run's own"
        )
    merged = given.copy_and_resolve_references()
    settled = {name: x for name, x in old.items() if x != before.get(name, x)}
    merged.update_from_flattened_dict(settled)
    return merged


def _checkpoint_folder(workdir: pathlib.Path, step: int | None) -> pathlib.Path:
    folder = workdir / "checkpoints"
    # One that is being written has another name until it is whole.
    steps = sorted(int(f.name) for f in folder.glob("*") if f.name.isdigit())
    if not steps:
        raise ValueError(
            f"{folder} holds no checkpoint yet: wait until training has written one"
            " (config.train.checkpoint_every), or train the run"
        )
    if step is None:
        step = steps[-1]
    elif step not in steps:
        raise ValueError(
            f"{folder} holds no checkpoint of step {step}, only of"
            f" {', '.join(map(str, steps))}"
        )
    return folder / str(step)


def _read_variables(
    folder: pathlib.Path, method: Method, config: ml_collections.ConfigDict
) -> Variables:
    """Returns the variables of a checkpoint, without the optimiser's memory."""
    expected = dict(preflight.variable_shapes(method, config))
    wanted = {"params": expected.pop("params"), "model_state": expected}
    handler = ocp.PyTreeCheckpointHandler()
    # Typed for another kind of path, Orbax takes this one too.
    path: Any = folder.absolute() / "state"
    try:
        stored = handler.metadata(path)
        stored = {name: stored[name] for name in wanted}
    except Exception as error:  # Orbax raises many kinds
        raise _damaged(folder, error) from error
    _check_shapes(folder, _leaves(stored), _leaves(wanted))
    # As NumPy arrays: they remember no device of those that wrote them.
    arguments = ocp.args.PyTreeRestore(
        item=wanted,
        restore_args=jax.tree.map(
            lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
        ),
        partial_restore=True,
    )
    try:
        arrays = handler.restore(path, args=arguments)
    except Exception as error:
        raise _damaged(folder, error) from error
    variables = {"params": arrays["params"], **arrays["model_state"]}
    return jax.tree.map(jnp.asarray, variables)


def _leaves(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the leaves by path, `params/depth_net/...`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _check_shapes(
    folder: pathlib.Path,
    stored: dict[str, tuple[int, ...]],
    wanted: dict[str, tuple[int, ...]],
):
    differing = [
        f"{name}: {list(stored[name]) if name in stored else 'absent'} there,"
        f" {list(wanted[name]) if name in wanted else 'absent'} by the config"
        for name in sorted(set(stored) | set(wanted))
        if stored.get(name) != wanted.get(name)
    ]
    if differing:
        raise ValueError(
            f"checkpoint {folder} does not fit the networks of the run's config: "
            + _first(differing)
            + ". It was written by another version or config: train the run anew"
        )


def _damaged(folder: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"checkpoint {folder} is damaged: {str(error)[:300]}. Remove that folder to"
        " fall back to the one before it"
    )


def _first(lines: list[str]) -> str:
    more = len(lines) - _MAX_NAMED
    return "; ".join(lines[:_MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")
