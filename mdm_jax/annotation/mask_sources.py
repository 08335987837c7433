"""Where masks come from: files, torchvision's Mask R-CNN, or any callable.

| name               | source                                                         |
|--------------------|----------------------------------------------------------------|
| a folder or file   | label maps (PNG, NPZ) or run lengths (JSON, TXT), `mask_files` |
| `maskrcnn:WEIGHTS` | torchvision's Mask R-CNN with a file of its weights            |
| `call:pkg.mod.f`   | `f(frame)` of a `Frame`:        `Instances`, or bool `[k h w]` |
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError
from mdm_jax.flow import callables
from mdm_jax.flow.video_frame import Frame
from mdm_jax.masks import frame_names, instances, mask_set
from mdm_jax.masks.instances import Instances

# Returns the objects of a frame. Masks may overlap, and ids mean nothing.
MaskSource = Callable[[Frame], Instances]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How masks from files are read.

    Attributes:
        background: the value of pixels of label maps that belong to no object.
        coding: of PNG label maps, see `label_images.decode`.
        class_maps: folder of PNG that tell the class of every pixel, for masks whose
            files do not; empty for none.
    """

    background: int = 0
    coding: str = "auto"
    class_maps: str = ""


AS_USUAL = Reading()


def create(
    name: str,
    *,
    clip: str,
    names: Sequence[str],
    size: tuple[int, int],
    alone: bool = True,
    reading: Reading = AS_USUAL,
) -> MaskSource:
    """Returns a mask source by name, see above.

    Args:
        name: a path, `maskrcnn:WEIGHTS` or `call:DOTTED.NAME`.
        clip: name of the recording, which a folder may hold the masks of.
        names: of its frames, see `mask_files.open_masks`.
        size: height and width of the frames.
        alone: there is no other recording, that the path itself could belong to.
        reading: how files are read.

    Raises:
        ValueError: there is no such source; what files lack is a `DataError`.
    """
    kind, _, value = name.partition(":")
    if kind == "maskrcnn" and value:
        from mdm_jax.annotation import mask_rcnn

        return mask_rcnn.load(pathlib.Path(value).expanduser())
    if kind == "call" and value:
        return _called(value)
    masks = mask_set.MaskSet(
        root=name, coding=reading.coding, background=reading.background, alone=alone
    ).open(clip, names, size=size)
    if not reading.class_maps:
        return lambda frame: masks.read(frame.index)
    class_of = _class_maps(pathlib.Path(reading.class_maps).expanduser(), clip, names)

    def read(frame: Frame) -> Instances:
        found = masks.read(frame.index)
        return with_classes(
            found, image_file.read_labels(class_of[frame.index], size=size)
        )

    return read


def with_classes(found: Instances, class_map: np.ndarray) -> Instances:
    """Returns the instances, each with the class that most of its pixels have."""
    classes = [
        np.bincount(class_map[mask].ravel(), minlength=1).argmax()
        for mask in found.masks
    ]
    return dataclasses.replace(found, classes=np.array(classes, np.int64))


def _class_maps(
    root: pathlib.Path, clip: str, names: Sequence[str]
) -> list[pathlib.Path]:
    folder = root / clip if file_content.is_folder(root / clip) else root
    by_stem = {
        p.stem: p for p in file_content.children(folder) if p.suffix.lower() == ".png"
    }
    keys = frame_names.match(names, list(by_stem))
    missing = [name for name, key in zip(names, keys, strict=True) if key is None]
    if missing:
        raise DataError(
            folder,
            f"{len(missing)} of {len(names)} frames have no class map (PNG):"
            f" {', '.join(missing[:3])}",
        )
    return [by_stem[key] for key in keys if key is not None]


def _called(name: str) -> MaskSource:
    function = callables.load(name)

    def call(frame: Frame) -> Instances:
        found = function(frame)
        if not isinstance(found, Instances):
            try:
                found = instances.create(np.asarray(found, bool))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if found.size != frame.image.shape[:2]:
            raise ValueError(
                f"{name}: expected masks of {frame.image.shape[:2]} (height, width),"
                f" got {found.size}"
            )
        return found

    return call
