"""Conversion of PyTorch weights to our variables, and back.

Two layouts are supported: torchvision's ResNet (He et al. 2016; ImageNet classification),
and monodepth2's depth net on it (Godard et al. 2019; also in the released code of Lee et
al.), whose decoder is that of `DisparityNet`. Their arrays have names such as
`encoder.conv1.weight` and `decoder.0.conv.conv.weight`, and kernels `[out in h w]`; our
variables have paths such as `params/encoder/stem_conv/kernel`, and kernels
`[h w in out]`.

With norm "batch" all arrays are used. With norm "layer", scales and offsets of the norms
are used, but not their statistics, which a layer norm computes itself. The batch norm of
a shortcut, which layer-norm networks do not have, is folded into the shortcut's kernel
and the offset that its result is added to.
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from mdm_jax.networks import weight_files

Arrays = dict[str, np.ndarray]

# Not in our networks: the classifier, counters, and disparity at coarser scales.
_WITHOUT_PLACE = re.compile(
    r"encoder\.fc\.|.*\.num_batches_tracked$|decoder\.1[123]\.conv\."
)
_EPSILON = 1e-5  # of torchvision's batch norms
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "offset": "bias",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
# Number of differences of a kind that an error lists.
_MAX_NAMED = 5


def read(path: str | os.PathLike[str]) -> Arrays:
    """Returns the arrays of a file, or of a folder with encoder.pth and depth.pth.

    Names are those of the module's docstring or, in our own exports, the paths of our
    variables, `params/...`.

    Raises:
        ValueError: the file has another format or is damaged.
        OSError: it cannot be read.
    """
    place = pathlib.Path(path)
    if not place.is_dir():
        return _renamed(weight_files.read(place))
    if not (place / "encoder.pth").is_file():
        raise ValueError(
            f"{place} has no encoder.pth: expected a file with weights, or a folder "
            "with encoder.pth and, for the decoder, depth.pth"
        )
    arrays = _renamed(weight_files.read(place / "encoder.pth"))
    if (place / "depth.pth").is_file():
        arrays |= _renamed(weight_files.read(place / "depth.pth"))
    return arrays


def is_ours(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether the arrays are an export of our variables."""
    return any(name.startswith("params/") for name in arrays)


def has_decoder(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether the arrays have a disparity decoder."""
    return any(name.startswith("decoder.") for name in arrays)


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the leaves by their paths, `params/encoder/stem_conv/kernel`."""
    return dict(flax.traverse_util.flatten_dict(dict(variables), sep="/"))


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the inverse of `flatten`."""
    return flax.traverse_util.unflatten_dict(dict(leaves), sep="/")


def _renamed(arrays: Arrays) -> Arrays:
    if is_ours(arrays):
        return arrays
    renamed = {}
    for name, array in arrays.items():
        name = re.sub(r"^(encoder|decoder)\.\1\.", r"\1.", name.removeprefix("module."))
        if not name.startswith(("encoder.", "decoder.")):
            name = f"encoder.{name}"
        renamed[name] = array
    return renamed


def import_encoder(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the variables of a network with its ResNet, named `encoder`, filled.

    The first kernel of an encoder of two stacked frames is repeated and halved, so that
    its features are as large as those of one frame.

    Args:
        variables: of the network, or their shapes: `params`, and `batch_stats` with
            batch norms.
        arrays: of `read`; a decoder is ignored.

    Raises:
        ValueError: an array is missing, unknown or of another shape; the message lists
            them.
    """
    own = flatten(variables)
    paths = [path for path in own if path.split("/")[1] == "encoder"]
    arrays = {k: v for k, v in arrays.items() if k.startswith("encoder.")}
    stem = arrays.get("encoder.conv1.weight")
    channels = own["params/encoder/stem_conv/kernel"].shape[2]
    if stem is not None and stem.ndim == 4 and channels == 2 * stem.shape[1]:
        arrays["encoder.conv1.weight"] = np.concatenate([stem, stem], axis=1) / 2
    return _filled(own, paths, arrays)


def import_disparity_net(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the variables of `DisparityNet`, encoder and decoder filled.

    Args:
        variables: see `import_encoder`.
        arrays: of `read`.

    Raises:
        ValueError: see `import_encoder`.
    """
    own = flatten(variables)
    return _filled(own, own, dict(arrays))


def import_own(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns all variables of a method, from our own export.

    Raises:
        ValueError: see `import_encoder`.
    """
    own = flatten(variables)
    check_shapes({path: leaf.shape for path, leaf in own.items()}, arrays)
    return unflatten(arrays)


def export_own(variables: Mapping[str, Any]) -> Arrays:
    """Returns a method's variables by path, for `import_own`."""
    own = flatten(variables)
    return {path: np.asarray(leaf, order="C") for path, leaf in own.items()}


def export_network(variables: Mapping[str, Any], *, decoder: bool) -> Arrays:
    """Returns the arrays of a network with batch norms in the layouts of PyTorch.

    The encoder is torchvision's ResNet without classifier, the decoder monodepth2's at
    its finest scale.

    Args:
        variables: of any network whose `encoder` is a ResNet.
        decoder: whether to export the decoder too, of a `DisparityNet`.

    Raises:
        ValueError: the encoder is not a ResNet, or has layer norms.
    """
    own = flatten(variables)
    if "params/encoder/stem_conv/kernel" not in own:
        raise ValueError(
            "this layout is for runs with config.networks.encoder=resnet; export the "
            "parameters instead"
        )
    if not any(path.startswith("batch_stats/encoder/") for path in own):
        raise ValueError(
            "torchvision's ResNets have batch norms, and this encoder has layer norms: "
            "this layout is for runs with config.networks.norm=batch"
        )
    arrays = {}
    for path, leaf in own.items():
        if not decoder and path.split("/")[1] != "encoder":
            continue
        name, array = _name(path), np.asarray(leaf)
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        # Safetensors writes an array's memory, whatever its strides are.
        arrays[name] = np.asarray(array, order="C")
        if path.endswith("/var"):
            counter = name.replace("running_var", "num_batches_tracked")
            arrays[counter] = np.zeros((), np.int64)
    return arrays


def _name(path: str) -> str:
    """Returns the PyTorch name of one of our variables."""
    _, part, *modules, leaf = path.split("/")
    if part == "encoder":
        names = [_encoder_module(module) for module in modules]
        return ".".join(["encoder", *names, _LEAVES[leaf]])
    if part == "head":
        return f"decoder.10.conv.{_LEAVES[leaf]}"
    kind, level = part[:-1], int(part[-1])
    index = 2 * (5 - level) + (kind == "merge")
    return f"decoder.{index}.conv.conv.{_LEAVES[leaf]}"


def _encoder_module(module: str) -> str:
    special = {
        "stem_conv": "conv1",
        "stem_norm": "bn1",
        "shortcut": "downsample.0",
        "shortcut_norm": "downsample.1",
    }
    if module in special:
        return special[module]
    if match := re.fullmatch(r"stage(\d)_block(\d)", module):
        return f"layer{match[1]}.{int(match[2]) - 1}"
    return module.replace("norm", "bn")


def _without_statistics(arrays: Arrays) -> Arrays:
    """Returns the arrays with folded shortcut norms and without statistics."""
    arrays = dict(arrays)
    suffix = ".downsample.1.weight"
    for name in [name for name in arrays if name.endswith(suffix)]:
        block = name.removesuffix(suffix)
        norm = f"{block}.downsample.1"
        kernel = f"{block}.downsample.0.weight"
        last = f"{block}.bn3.bias"
        last = last if last in arrays else f"{block}.bn2.bias"
        try:
            # y = scale (W x - mean) / sqrt(variance + epsilon) + offset
            variance = arrays[f"{norm}.running_var"].astype(np.float64)
            gain = arrays.pop(name) / np.sqrt(variance + _EPSILON)
            offset = arrays.pop(f"{norm}.bias") - arrays[f"{norm}.running_mean"] * gain
            arrays[kernel] = arrays[kernel] * gain[:, None, None, None]
            arrays[last] = arrays[last] + offset
        except KeyError as error:
            raise ValueError(f"missing {error.args[0]}") from error
    return {name: a for name, a in arrays.items() if ".running_" not in name}


def _filled(own: dict[str, Any], paths: Iterable[str], arrays: Arrays) -> dict:
    """Returns our variables, nested, with the arrays at the given paths."""
    if not any(path.startswith("batch_stats/") for path in own):
        arrays = _without_statistics(arrays)
    arrays = {n: a for n, a in arrays.items() if not _WITHOUT_PLACE.match(n)}
    shapes = {}
    for path in paths:
        shape = tuple(own[path].shape)
        turned = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
        shapes[_name(path)] = turned
    check_shapes(shapes, arrays)
    filled = dict(own)
    for path in paths:
        array = arrays[_name(path)]
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
        filled[path] = np.asarray(array, np.float32, order="C")
    return unflatten(filled)


def check_shapes(
    wanted: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]
) -> None:
    """Checks that arrays have exactly the expected names and shapes.

    Raises:
        ValueError: they differ; the message lists the differences.
    """
    differing = [
        f"{name} is {list(arrays[name].shape)} and should be {list(wanted[name])}"
        for name in wanted
        if name in arrays and arrays[name].shape != tuple(wanted[name])
    ]
    kinds = {
        "missing": [name for name in wanted if name not in arrays],
        "without a place": [name for name in arrays if name not in wanted],
        "of another shape": differing,
    }
    report = [
        f"{len(names)} {kind}: " + _first(names)
        for kind, names in kinds.items()
        if names
    ]
    if report:
        raise ValueError("; ".join(report))


def _first(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
