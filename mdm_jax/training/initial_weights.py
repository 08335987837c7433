"""Initial weights from a file, instead of random ones.

`config.networks.init` names a file or folder. Its weights are used completely or not at
all, and only at step 0. The run's folder records the files, and what was taken from them,
in `initial_weights.json`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np
from absl import logging

from mdm_jax.files import atomic, fingerprint
from mdm_jax.methods import depth_nets
from mdm_jax.methods.base import Variables
from mdm_jax.networks import (
    dinov2_weights,
    dpt_head,
    efficientnet,
    efficientnet_weights,
    pretrained,
    weight_files,
)
from mdm_jax.training.state import TrainState

RECORD = "initial_weights.json"
# Networks of the methods that may hold a ResNet that sees two frames.
_PAIR_NETWORKS = ("ego_net", "object_net")


def check(config: ml_collections.ConfigDict, variables: Variables):
    """Checks that the weights named by the config fit the networks.

    Args:
        config: of the run.
        variables: of its method, or their shapes.

    Raises:
        ValueError: they do not; the message names file and field.
    """
    arrays = _read(config)
    # The number of videos, which some of our own shapes depend on, is not known yet.
    if not pretrained.is_ours(arrays):
        _filled(config, variables, arrays)


def apply(
    config: ml_collections.ConfigDict,
    state: TrainState,
    workdir: str | os.PathLike[str],
) -> TrainState:
    """Returns the fresh state with the weights that the config names; records them.

    Args:
        config: of the run, settled.
        state: at step 0.
        workdir: where to keep the record.

    Raises:
        ValueError: the weights do not fit.
    """
    filled, taken = _filled(config, state.variables, _read(config))
    for network, what in taken.items():
        logging.info("%s begins with %s: %s", network, config.networks.init, what)
    if jax.process_index() == 0:
        record = {"files": _digests(_path(config)), "networks": taken}
        atomic.write_json(pathlib.Path(workdir) / RECORD, record)
    filled = jax.tree.map(
        lambda new, old: jax.device_put(np.asarray(new, old.dtype), old.sharding),
        filled,
        state.variables,
    )
    params = filled.pop("params")
    return dataclasses.replace(state, params=params, model_state=filled)


def calibrate(
    config: ml_collections.ConfigDict, state: TrainState, frames: jax.Array
) -> TrainState:
    """Returns the fresh state with the factor and offset of disparity set, if it has any.

    The median depth of the frames becomes `exp(config.train.log_depth_pin)`, and zero
    disparity 20 times that. A factor and offset that were learned before stay.

    Args:
        config: of the run.
        state: at step 0, with the weights to begin with.
        frames: `[b t h w 3]`, colours in [0, 1].
    """
    depth_params = state.params.get("depth_net", {})
    if "head_factor" not in depth_params:
        return state
    given = jax.device_get((depth_params["head_factor"], depth_params["head_offset"]))
    if given != (1.0, 0.0):  # Not their initial values: of an export of ours.
        return state
    net = depth_nets.create(config.networks)
    raw = jax.jit(functools.partial(net.apply, method="raw"))(
        {"params": depth_params}, frames.reshape(-1, *frames.shape[2:])
    )
    median = max(np.median(np.asarray(raw)).item(), 1e-6)
    wanted = np.exp(-config.train.log_depth_pin)
    offset = wanted / 20
    new = {"head_factor": (wanted - offset) / median, "head_offset": offset}
    placed = {
        name: jax.device_put(np.float32(value), depth_params[name].sharding)
        for name, value in new.items()
    }
    params = {**state.params, "depth_net": {**depth_params, **placed}}
    return dataclasses.replace(state, params=params)


def _path(config: ml_collections.ConfigDict) -> str:
    """Returns the file or folder that the config names."""
    encoder, init = config.networks.encoder, config.networks.init
    if init != "imagenet":
        return init
    if encoder not in efficientnet.VARIANTS:
        raise ValueError(
            f"imagenet names weights of {', '.join(efficientnet.VARIANTS)}, and "
            f"config.networks.encoder is {encoder}: give a file with its weights"
        )
    return str(efficientnet_weights.find(encoder))


def _read(config: ml_collections.ConfigDict) -> pretrained.Arrays:
    try:
        if config.networks.encoder in dpt_head.SIZES:
            arrays = weight_files.read(_path(config))
            if not pretrained.is_ours(arrays):
                arrays = dinov2_weights.official_names(arrays)
        else:
            arrays = pretrained.read(_path(config))
    except (ValueError, OSError) as error:
        raise ValueError(f"config.networks.init: {error}") from error
    broken = [
        name
        for name, array in arrays.items()
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all()
    ]
    if broken:
        raise ValueError(
            f"config.networks.init={config.networks.init} holds numbers that are not "
            f"finite, in {broken[0]}: it is damaged, or of a run that failed"
        )
    return arrays


def _filled(
    config: ml_collections.ConfigDict, variables: Variables, arrays: pretrained.Arrays
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the variables, and for each network what it got."""
    networks = config.networks

    def refuse(reason: object) -> ValueError:
        return ValueError(
            f"config.networks.init={networks.init} does not fit the networks: {reason}."
            " Look at config.networks.encoder, encoder_depth, width_multiplier (1 for "
            "published ResNets), norm and depth_decoder"
        )

    if "depth_net" not in variables["params"]:
        raise refuse(f"method {config.method} has no depth_net to put weights into")
    with_decoder = pretrained.has_decoder(arrays)
    if with_decoder and networks.depth_decoder != "disparity":
        raise refuse(
            "it has a decoder of disparity; give its encoder alone, or set "
            "config.networks.depth_decoder=disparity"
        )
    try:
        if pretrained.is_ours(arrays):
            filled = pretrained.import_own(variables, arrays)
            return filled, dict.fromkeys(filled["params"], "all, of our own export")
        depth_net = _part(variables, "depth_net")
        if networks.encoder in efficientnet.VARIANTS:
            depth_net = efficientnet_weights.import_encoder(depth_net, arrays)
            filled = _with_part(variables, "depth_net", depth_net)
            return filled, {"depth_net": "encoder"}
        if networks.encoder in dpt_head.SIZES:
            depth_net = dinov2_weights.import_depth_net(depth_net, arrays)
            notice = dinov2_weights.licence_notice(arrays)
            if notice:
                logging.warning("%s: %s", networks.init, notice)
            filled = _with_part(variables, "depth_net", depth_net)
            return filled, {"depth_net": dinov2_weights.content(arrays)}
        if with_decoder:
            depth_net = pretrained.import_disparity_net(depth_net, arrays)
        else:
            depth_net = pretrained.import_encoder(depth_net, arrays)
    except ValueError as error:
        raise refuse(error) from error
    filled = _with_part(variables, "depth_net", depth_net)
    taken = {"depth_net": "encoder and decoder" if with_decoder else "encoder"}
    for name in _PAIR_NETWORKS:
        if "encoder" not in variables["params"].get(name, {}):
            continue
        try:
            part = pretrained.import_encoder(_part(variables, name), arrays)
        except ValueError as error:
            taken[name] = f"nothing, it is another ResNet ({error})"
            continue
        filled = _with_part(filled, name, part)
        taken[name] = "encoder, for two frames"
    return filled, taken


def _part(variables: Variables, name: str) -> dict[str, Any]:
    """Returns the collections of one network."""
    return {
        collection: values[name]
        for collection, values in variables.items()
        if name in values or collection == "params"
    }


def _with_part(variables: Variables, name: str, part: dict[str, Any]) -> Variables:
    return {
        collection: {**values, name: part[collection]} if collection in part else values
        for collection, values in variables.items()
    }


def _digests(path: str) -> dict[str, str]:
    """Returns the SHA-256 of every file of weights, to tell which ones they were."""
    place = pathlib.Path(path)
    files = [place]
    if place.is_dir():
        names = ("encoder.pth", "depth.pth")
        files = [place / name for name in names if (place / name).is_file()]
    return {str(file): fingerprint.content_digest(file) for file in files}
