"""Label maps of single frames: PNG in two codings, and NPZ.

A plain map holds ids, and one value for background. A map of the other coding, that of
KITTI MOTS and Cityscapes, holds `class*1000 + id`; what is below 1000 there is a class
without single objects, and class 10 of KITTI MOTS are regions to ignore.
"""

from __future__ import annotations

import pathlib
import zipfile
from collections.abc import Iterable

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances

CODINGS = ("auto", "plain", "class_id")
_IDS_PER_CLASS = 1000
_IGNORED = 10_000
# Where a PNG says what its values are, and the kind whose values number a palette.
_BIT_DEPTH, _COLOR_TYPE, _PALETTE = 24, 25, 3
_LABEL_NAMES = ("instance_labels", "labels", "instance")


def read_png(
    path: pathlib.Path,
    *,
    size: tuple[int, int],
    background: int = 0,
    coding: str = "auto",
    example: pathlib.Path | None = None,
) -> Instances:
    """Returns the instances of a PNG label map, of 8 or 16 bits.

    Three equal channels are one. Colours of a palette are ids, and black is background.

    Raises:
        DataError: not such a file, of another size, or of an unclear coding.
    """
    content = file_content.read_bytes(path)
    values = image_file.decode_labels(content, path, size=size)
    if values.ndim == 3 and content[_COLOR_TYPE] == _PALETTE:
        scale = 1 << np.array([0, 8, 16], np.int32)
        values = values[..., :3].astype(np.int32) @ scale
        return instances.from_label_map(values)
    if values.ndim == 3:
        if values.shape[2] == 2 or (values[..., :3] != values[..., :1]).any():
            raise DataError(
                path,
                "expected a label map, one value per pixel, got colours; are these the"
                " frames themselves, or a coloured picture of masks?",
            )
        values = values[..., 0]
    return decode(values, path, background=background, coding=coding, example=example)


def find_class_ids(
    paths: Iterable[pathlib.Path], *, size: tuple[int, int], background: int = 0
) -> pathlib.Path | None:
    """Returns the first PNG label map with values from 1000 on; None if none has any.

    What cannot be read is passed over: who needs it says what is wrong with it.
    """
    for path in paths:
        try:
            # Of 8 bits there are none.
            if file_content.read_bytes(path, _BIT_DEPTH + 1)[_BIT_DEPTH:] != b"\x10":
                continue
            found = read_png(path, size=size, background=background, coding="plain")
        except DataError:
            continue
        if (found.ids >= _IDS_PER_CLASS).any():
            return path
    return None


def decode(
    values: np.ndarray,
    path: pathlib.Path,
    *,
    background: int = 0,
    coding: str = "auto",
    example: pathlib.Path | None = None,
) -> Instances:
    """Returns the instances of a map `[h w]` of non-negative values.

    Args:
        values: as read.
        path: named in errors.
        background: value without an object, in the plain coding.
        coding: `plain`; `class_id` for `class*1000 + id`; `auto` takes values from 1000
            on for the latter, and smaller ones beside them are an error.
        example: another map of the recording with values from 1000 on, for `auto`: all
            of a recording have one coding.

    Raises:
        DataError: the coding is unclear.
    """
    found = instances.present(values)
    found = found[found != background]
    large = found >= _IDS_PER_CLASS
    if coding == "auto":
        if (large.any() or example) and not large.all():
            beside = f" ({found[large][0]})" if large.any() else f" in {example}"
            raise DataError(
                path,
                f"values below 1000 ({found[~large][0]}) beside larger ones{beside} may"
                " be plain ids, or classes beside class*1000 + id: choose"
                " mask_coding=plain or mask_coding=class_id",
            )
        coding = "class_id" if large.any() else "plain"
    if coding == "plain":
        return instances.from_label_map(values, background=background)
    if coding != "class_id":
        raise ValueError(f"mask_coding must be one of {CODINGS}, got {coding!r}")
    ids = found[large & (found != _IGNORED)]
    return instances.create(
        values[None] == ids[:, None, None], ids=ids, classes=ids // _IDS_PER_CLASS
    )


def read_npz(
    path: pathlib.Path, *, size: tuple[int, int], background: int = 0
) -> Instances:
    """Returns the instances of one frame.

    Args:
        path: with `masks` (`[k h w]`, and `ids`, `classes` and `scores` where known),
            or with a label map as `read_labels_npz` finds it.
        size: height and width that they must have.
        background: the value of pixels of a label map without an object.

    Raises:
        DataError: not such a file, or of another size.
    """
    names = _names(path)
    if "masks" not in names:
        labels = read_labels_npz(path, axes=2)
        _check_size(path, labels.shape, size)
        return instances.from_label_map(labels, background=background)
    masks = file_content.read_array(path, "masks")
    _check_size(path, masks.shape[1:], size)
    rows = {
        name: file_content.read_array(path, name)
        for name in ("ids", "classes", "scores")
        if name in names
    }
    try:
        found = instances.create(masks.astype(bool), **rows)
    except (ValueError, TypeError) as error:
        raise DataError(path, str(error)) from error
    if len(np.unique(found.ids)) != len(found):
        raise DataError(path, "two masks have one id")
    return found


def read_labels_npz(path: pathlib.Path, *, axes: int) -> np.ndarray:
    """Returns the integer label maps of an NPZ: `[h w]`, or `[n h w]` for three axes.

    They are called `instance_labels`, `labels` or `instance`, or are the only array.
    """
    names = _names(path)
    chosen = next((name for name in _LABEL_NAMES if name in names), "")
    if not chosen and len(names) == 1:
        chosen = names[0]
    if not chosen:
        raise DataError(
            path,
            f"expected an array {' or '.join(_LABEL_NAMES)}, got {', '.join(names)}",
        )
    labels = file_content.read_array(path, chosen)
    if labels.ndim == axes + 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim != axes or labels.dtype.kind not in "iub" or (labels < 0).any():
        raise DataError(
            path,
            f"{chosen}: expected non-negative integers with {axes} axes, got"
            f" {labels.dtype} {list(labels.shape)}",
        )
    return labels.astype(np.uint8) if labels.dtype == np.bool_ else labels


def _names(path: pathlib.Path) -> list[str]:
    file_content.read_bytes(path, 1)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            path, f"expected NumPy's .npz; is it cut off? ({error})"
        ) from error


def _check_size(
    path: pathlib.Path, found: tuple[int, ...], size: tuple[int, int]
) -> None:
    if tuple(found) != tuple(size):
        raise DataError(
            path,
            f"expected masks of {size[1]} x {size[0]} pixels (width x height) like the"
            f" frames, got an array of {list(found)}; were they resized?",
        )
