"""Loads a trained run from its folder.

Neither its data nor its optimiser state are needed. The variables are read into the
memory of the default device, on however many devices the run was trained.
"""

from __future__ import annotations

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
from mdm_jax.run.run import Run
from mdm_jax.training import checkpoint, preflight

# Number of differences that an error lists.
_MAX_LISTED = 5


def load(
    workdir: str | os.PathLike[str],
    step: int | None = None,
    *,
    config: ml_collections.ConfigDict | None = None,
) -> Run:
    """Returns the run in a folder, from its newest checkpoint.

    Settings that the run does not have, because it is older, take their defaults.

    Args:
        workdir: folder that the run was trained in.
        step: of the checkpoint; None for the newest.
        config: settings to take instead of the run's, of data and evaluation. Those of
            the networks must be the same. None for the run's own.

    Raises:
        ValueError: there is no such run or checkpoint, the checkpoint is damaged or
            does not fit the config, or `config` has another method or other networks.
            The message says what to do.
    """
    workdir = pathlib.Path(workdir).expanduser()
    own = load_config(workdir)
    folder = _checkpoint_folder(workdir, step)
    settled = own if config is None else _with_own_model(config, own, workdir)
    method = methods.for_inference(methods.create(settled), settled)
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
        ValueError: the folder has no run, or the config of an incompatible version.
    """
    workdir = pathlib.Path(workdir)
    if not workdir.is_dir():
        raise ValueError(
            f"--workdir={workdir}: no such folder; give the folder that"
            " `python -m mdm_jax.main` trained in"
        )
    # Old runs, and those that stopped early, have no settled config.
    for name in (checkpoint.SETTLED_CONFIG, checkpoint.CONFIG):
        if (path := workdir / name).is_file():
            break
    else:
        raise ValueError(
            f"--workdir={workdir} has no {checkpoint.CONFIG}, so no run was trained there;"
            " give the folder that `python -m mdm_jax.main` trained in"
        )
    return config_lib.read(path)


def _model(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    """Returns the prefixes of the settings that determine the networks."""
    return ("method", "networks.", "camera.", f"{config.method}.")


def _with_own_model(
    given: ml_collections.ConfigDict,
    own: ml_collections.ConfigDict,
    workdir: pathlib.Path,
) -> ml_collections.ConfigDict:
    """Returns the given config with the settings that the training data determined."""
    config_lib.validate(given)
    # Through JSON, where lists and tuples are the same.
    new = settings.flatten(settings.from_json(settings.to_json(given)))
    old = settings.flatten(own)
    before, path = old, workdir / checkpoint.CONFIG
    if path.is_file():
        before = settings.flatten(config_lib.read(path))
    differing = [
        f"config.{name}: {old.get(name, 'absent')} in the run, {new.get(name, 'absent')}"
        " in --config"
        for name in sorted(set(old) | set(new))
        if name.startswith((*_model(own), *_model(given)[:1]))
        # Initial weights no longer matter.
        and name != "networks.init"
        and new.get(name) not in (old.get(name), before.get(name, old.get(name)))
    ]
    if differing:
        raise ValueError(
            f"--workdir={workdir} was trained with other networks than --config has: "
            + _listed(differing)
            + "; omit --config to use the run's own"
        )
    merged = given.copy_and_resolve_references()
    settled = {name: x for name, x in old.items() if x != before.get(name, x)}
    merged.update_from_flattened_dict(settled)
    return merged


def _checkpoint_folder(workdir: pathlib.Path, step: int | None) -> pathlib.Path:
    folder = workdir / "checkpoints"
    # A checkpoint gets its name when it is complete.
    steps = sorted(int(f.name) for f in folder.glob("*") if f.name.isdigit())
    if not steps:
        raise ValueError(
            f"{folder} has no checkpoint yet: wait until training has written one"
            " (config.train.checkpoint_every), or train the run"
        )
    if step is None:
        step = steps[-1]
    elif step not in steps:
        raise ValueError(
            f"{folder} has no checkpoint of step {step}, only of"
            f" {', '.join(map(str, steps))}"
        )
    return folder / str(step)


def _read_variables(
    folder: pathlib.Path, method: Method, config: ml_collections.ConfigDict
) -> Variables:
    """Returns the variables of a checkpoint, without the optimiser state."""
    expected = dict(preflight.variable_shapes(method, config))
    wanted = {"params": expected.pop("params"), "model_state": expected}
    handler = ocp.PyTreeCheckpointHandler()
    # Orbax takes this kind of path, although it is typed for another.
    path: Any = folder.absolute() / "state"
    try:
        stored = handler.metadata(path)
        stored = {name: stored[name] for name in wanted}
    except Exception as error:  # Orbax raises many kinds
        raise _damaged(folder, error) from error
    _check_shapes(folder, _leaves(stored), _leaves(wanted))
    # As NumPy arrays, which do not depend on the devices that wrote them.
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
    """Returns the shape of each leaf by its path, such as `params/depth_net/...`."""
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
        f"{name}: {list(stored[name]) if name in stored else 'absent'} in the file,"
        f" {list(wanted[name]) if name in wanted else 'absent'} by the config"
        for name in sorted(set(stored) | set(wanted))
        if stored.get(name) != wanted.get(name)
    ]
    if differing:
        raise ValueError(
            f"checkpoint {folder} does not fit the networks of the run's config: "
            + _listed(differing)
            + ". It was written by another version: train the run again"
        )


def _damaged(folder: pathlib.Path, error: Exception) -> ValueError:
    return ValueError(
        f"checkpoint {folder} is damaged: {str(error)[:300]}. Remove that folder to"
        " fall back to the previous one"
    )


def _listed(lines: list[str]) -> str:
    more = len(lines) - _MAX_LISTED
    return "; ".join(lines[:_MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
