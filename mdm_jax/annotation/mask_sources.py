"""Where the masks of single frames come from: files, networks, motion, any function.

| name               | source                                                         |
|--------------------|----------------------------------------------------------------|
| a folder or file   | label maps (PNG, NPZ) or run lengths (JSON, TXT), `mask_files` |
| `maskrcnn:WEIGHTS` | torchvision's Mask R-CNN with a file of its weights            |
| `motion`           | moving objects by two-view geometry, see `moving_objects`      |
| `call:pkg.mod.f`   | `f(frame)` of a `Frame`: `Instances`, or bool `[k h w]`        |
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mdm_jax.annotation import moving_objects
from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError
from mdm_jax.flow import callables
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks import frame_names, instances
from mdm_jax.masks.instances import Instances
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.sources.source import Source

# Returns the objects of a frame. Masks may overlap; ids are ignored.
MaskSource = Callable[[Frame], Instances]

MOTION = "motion"


def create(masks: MaskSet, source: Source, *, class_maps: str = "") -> MaskSource:
    """Returns a mask source by name, see the table above.

    Args:
        masks: its root is a path, `maskrcnn:WEIGHTS`, `motion` or `call:DOTTED.NAME`.
        source: the video.
        class_maps: folder of PNG with the class of each pixel, for masks in files that
            do not tell their class; empty for none.

    Raises:
        DataError: masks or class maps are missing.
        ValueError: there is no such function.
    """
    kind, _, value = masks.root.partition(":")
    if kind == "maskrcnn" and value:
        from mdm_jax.annotation import mask_rcnn

        return mask_rcnn.load(pathlib.Path(value).expanduser())
    if kind == "call" and value:
        return _from_function(value)
    if masks.root == MOTION:
        return moving_objects.MovingObjects(source)
    names = source.frame_names()
    files = masks.open(source.name, names, size=source.size)
    if not class_maps:
        return lambda frame: files.read(frame.index)
    root = pathlib.Path(class_maps).expanduser()
    path_of = _find_class_maps(root, source.name, names)

    def read(frame: Frame) -> Instances:
        class_map = image_file.read_labels(path_of[frame.index], size=source.size)
        return with_classes(files.read(frame.index), class_map)

    return read


def with_classes(masks: Instances, class_map: np.ndarray) -> Instances:
    """Returns the instances, each with the most frequent class of its pixels."""
    classes = [
        np.bincount(class_map[mask].ravel(), minlength=1).argmax()
        for mask in masks.masks
    ]
    return dataclasses.replace(masks, classes=np.array(classes, np.int64))


def _find_class_maps(
    root: pathlib.Path, clip: str, names: Sequence[str]
) -> list[pathlib.Path]:
    folder = root / clip if file_content.is_folder(root / clip) else root
    paths = file_content.children(folder)
    by_stem = {path.stem: path for path in paths if path.suffix.lower() == ".png"}
    keys = frame_names.match(names, list(by_stem))
    missing = [name for name, key in zip(names, keys, strict=True) if key is None]
    if missing:
        raise DataError(
            folder,
            f"{len(missing)} of {len(names)} frames have no class map (PNG):"
            f" {', '.join(missing[:3])}",
        )
    return [by_stem[key] for key in keys if key is not None]


def _from_function(name: str) -> MaskSource:
    """Returns a user's function, whose results are checked."""
    function = callables.load(name)

    def call(frame: Frame) -> Instances:
        masks = function(frame)
        if not isinstance(masks, Instances):
            try:
                masks = instances.create(np.asarray(masks, bool))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if masks.size != frame.image.shape[:2]:
            raise ValueError(
                f"{name}: expected masks of {frame.image.shape[:2]} (height, width),"
                f" got {masks.size}"
            )
        return masks

    return call
