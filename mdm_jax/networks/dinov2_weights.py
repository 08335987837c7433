"""Weights of DINOv2 and Depth Anything V2 as our variables.

Two layouts are known: the official files (`pretrained.blocks.0.attn.qkv.weight`, or
`blocks.0...` for DINOv2 alone; `depth_head.scratch...`) and those of `transformers`
(`backbone.encoder.layer.0.attention.attention.query.weight`, `neck...`, `head...`), which
are renamed to the first. Kernels are `[out in]` and `[out in h w]` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mdm_jax.networks import pretrained, vit

Arrays = dict[str, np.ndarray]

# Depth Anything V2 has weights of these widths under CC-BY-NC-4.0.
_NON_COMMERCIAL = {768: "Base", 1024: "Large"}
# Names of transformers, in order, to the official ones.
_RENAMES = [
    (r"^(backbone|dinov2)\.", "pretrained."),
    (r"^(?=embeddings\.|encoder\.layer\.|layernorm\.)", "pretrained."),
    (r"embeddings\.position_embeddings", "pos_embed"),
    (r"embeddings\.(cls_token|mask_token)", r"\1"),
    (r"embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"encoder\.layer\.", "blocks."),
    (r"attention\.(attention\.)?(query|key|value)\.", r"attn.\2."),
    (r"attention\.([qkv])_proj\.", r"attn.\1."),
    (r"attention\.(output\.dense|o_proj)\.", "attn.proj."),
    (r"layer_scale(\d)\.lambda1", r"ls\1.gamma"),
    (r"^pretrained\.layernorm\.", "pretrained.norm."),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.projection", r"depth_head.projects.\1"),
    (r"^neck\.reassemble_stage\.layers\.(\d)\.resize", r"depth_head.resize_layers.\1"),
    (r"^head\.conv1\.", "depth_head.scratch.output_conv1."),
    (r"^head\.conv2\.", "depth_head.scratch.output_conv2.0."),
    (r"^head\.conv3\.", "depth_head.scratch.output_conv2.2."),
]
_WITHOUT_PLACE = re.compile(
    # The deepest fusion has nothing to fuse with; no token is masked here.
    r"pretrained\.mask_token|depth_head\.scratch\.refinenet4\.resConfUnit1\."
)
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def official_names(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Returns the arrays by their official names, whichever layout they have."""
    renamed = {}
    for name, array in arrays.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        if match := re.match(r"neck\.convs\.(\d)\.(.*)", name):
            name = f"depth_head.scratch.layer{int(match[1]) + 1}_rn.{match[2]}"
        if match := re.match(r"neck\.fusion_stage\.layers\.(\d)\.(.*)", name):
            rest = re.sub(
                r"residual_layer(\d)\.convolution", r"resConfUnit\1.conv", match[2]
            )
            rest = rest.replace("projection.", "out_conv.")
            # They count from the deepest, and the official names from the finest.
            name = f"depth_head.scratch.refinenet{4 - int(match[1])}.{rest}"
        if not name.startswith(("pretrained.", "depth_head.")):
            name = f"pretrained.{name}"
        renamed[name] = array
    for name in [name for name in renamed if re.search(r"\.attn\.(query|q)\.", name)]:
        short = ".attn.q." in name
        parts = ("q", "k", "v") if short else ("query", "key", "value")
        names = [name.replace(f".attn.{parts[0]}.", f".attn.{p}.") for p in parts]
        qkv = name.replace(f".attn.{parts[0]}.", ".attn.qkv.")
        if all(part in renamed for part in names):
            renamed[qkv] = np.concatenate([renamed.pop(part) for part in names])
    return {n: a for n, a in renamed.items() if not _WITHOUT_PLACE.match(n)}


def licence_notice(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns what to know before using these weights; empty if there is nothing.

    Args:
        arrays: by `official_names`.
    """
    width = arrays["pretrained.pos_embed"].shape[-1]
    if content(arrays) == "encoder" or width not in _NON_COMMERCIAL:
        return ""
    return (
        f"Depth Anything V2 {_NON_COMMERCIAL[width]} is licensed under CC-BY-NC-4.0, "
        "for non-commercial use only, and so is what is trained from it; Small is "
        "under Apache-2.0"
    )


def content(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns which parts of a depth net arrays by their official names fill."""
    has_head = any(name.startswith("depth_head.") for name in arrays)
    return "encoder and head" if has_head else "encoder"


def import_depth_net(
    variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Returns the variables of `DepthAnything` filled; the encoder alone from DINOv2.

    What has no place in published weights, low-rank updates and the two numbers between
    disparity and depth, stays.

    Args:
        variables: of the network, or their shapes.
        arrays: by `official_names`.

    Raises:
        ValueError: an array is missing, has no place or another shape; nothing is
            filled, and the message lists them.
    """
    own = pretrained.flatten(variables)
    parts = content(arrays).split(" and ")
    names = {
        path: _name(path)
        for path in own
        if path.split("/")[1] in parts and "/lora_" not in path
    }
    wanted = {n: _published_shape(p, own[p].shape) for p, n in names.items()}
    pretrained.check_shapes(wanted, arrays)
    filled = dict(own)
    for path, name in names.items():
        array = np.asarray(arrays[name], np.float32)
        if path.endswith("/kernel"):
            array = _turned(path, array)
        filled[path] = np.asarray(array, np.float32, order="C")
    return pretrained.unflatten(filled)


def _turned(path: str, kernel: np.ndarray) -> np.ndarray:
    """Returns a published kernel with our order of axes."""
    if "/patch_embed/" in path:
        return kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0])
    if kernel.ndim == 2:
        return kernel.T
    # Those of transposed convolutions are [in out h w].
    return kernel.transpose(2, 3, *((0, 1) if _is_transposed(path) else (1, 0)))


def _published_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if not path.endswith("/kernel"):
        return tuple(shape)
    if "/patch_embed/" in path:
        return (shape[1], 3, vit.PATCH, vit.PATCH)
    if len(shape) == 2:
        return (shape[1], shape[0])
    height, width, inputs, outputs = shape
    channels = (inputs, outputs) if _is_transposed(path) else (outputs, inputs)
    return (*channels, height, width)


def _is_transposed(path: str) -> bool:
    return re.search(r"/resize[01]/", path) is not None


def _name(path: str) -> str:
    """Returns the official name of one of our variables."""
    _, part, *modules, leaf = path.split("/")
    end = _LEAVES.get(leaf, leaf)
    if part == "encoder":
        if not modules:
            return f"pretrained.{leaf}"
        first, *rest = modules
        if first == "patch_embed":
            return f"pretrained.patch_embed.proj.{end}"
        if first == "norm":
            return f"pretrained.norm.{end}"
        block = f"pretrained.blocks.{first.removeprefix('block')}"
        if not rest:
            return f"{block}.ls{leaf[-1]}.gamma"
        group = {"qkv": "attn.", "proj": "attn.", "fc1": "mlp.", "fc2": "mlp."}
        return f"{block}.{group.get(rest[0], '')}{rest[0]}.{end}"
    return f"depth_head.{_head_module(modules)}.{end}"


def _head_module(modules: list[str]) -> str:
    if not modules:
        return "scratch.output_conv2.2"
    first, *rest = modules
    level = int(first[-1]) if first[-1].isdigit() else 0
    if first.startswith("project"):
        return f"projects.{level}"
    if first.startswith("resize"):
        return f"resize_layers.{level}"
    if first.startswith("reduce"):
        return f"scratch.layer{level + 1}_rn"
    if first.startswith("output"):
        return "scratch.output_conv1" if level == 1 else "scratch.output_conv2.0"
    _, index, kind = re.split(r"fuse(\d)_", first)
    unit = {"out": "out_conv", "skip": "resConfUnit1", "unit": "resConfUnit2"}[kind]
    return ".".join([f"scratch.refinenet{int(index) + 1}.{unit}", *rest])
