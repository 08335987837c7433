"""Label maps of single frames: PNG in two codings, and NPZ.

A `plain` map holds ids and one background value. A `class_id` map, as in KITTI MOTS and
Cityscapes, holds `class*1000 + id`; values below 1000 are classes without separate
objects, and class 10 of KITTI MOTS marks regions to ignore.
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
# Offsets of two fields of the PNG header, and the colour type of palette images.
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
    """Returns the instances of a PNG label map with 8 or 16 bits.

    Three equal channels count as one. In a palette image each colour is an id and black
    is background.

    Raises:
        DataError: not a label map, of another size, or of an unclear coding.
    """
    content = file_content.read_bytes(path)
    values = image_file.decode_labels(content, path, size=size)
    if values.ndim == 3 and content[_COLOR_TYPE] == _PALETTE:
        scale = 1 << np.array([0, 8, 16], np.int32)
        return instances.from_label_map(values[..., :3].astype(np.int32) @ scale)
    if values.ndim == 3:
        if values.shape[2] == 2 or (values[..., :3] != values[..., :1]).any():
            raise DataError(
                path,
                "expected a label map with one value per pixel, got colours; is this a"
                " frame, or a coloured picture of the masks?",
            )
        values = values[..., 0]
    return decode(values, path, background=background, coding=coding, example=example)


def find_class_ids(
    paths: Iterable[pathlib.Path], *, size: tuple[int, int], background: int = 0
) -> pathlib.Path | None:
    """Returns the first PNG label map with values from 1000 on; None if none has any.

    Unreadable files are ignored here; they are reported when their frame is read.
    """
    for path in paths:
        try:
            # A map of 8 bits has no such values.
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
        values: content of the file.
        path: named in errors.
        background: value of pixels without an object, in the plain coding.
        coding: `plain`; `class_id` for `class*1000 + id`; `auto` chooses `class_id` if
            all values are 1000 or larger and `plain` if none is.
        example: for `auto`, another map of the recording with values from 1000 on: one
            recording has one coding.

    Raises:
        DataError: values below and above 1000 make the coding unclear.
    """
    ids = instances.unique_labels(values)
    ids = ids[ids != background]
    large = ids >= _IDS_PER_CLASS
    if coding == "auto":
        if (large.any() or example) and not large.all():
            where = f" ({ids[large][0]})" if large.any() else f" in {example}"
            raise DataError(
                path,
                f"values below 1000 ({ids[~large][0]}) beside larger ones{where} may be"
                " plain ids, or classes beside class*1000 + id: choose"
                " mask_coding=plain or mask_coding=class_id",
            )
        coding = "class_id" if large.any() else "plain"
    if coding == "plain":
        return instances.from_label_map(values, background=background)
    if coding != "class_id":
        raise ValueError(f"mask_coding must be one of {CODINGS}, got {coding!r}")
    ids = ids[large & (ids != _IGNORED)]
    return instances.create(
        values[None] == ids[:, None, None], ids=ids, classes=ids // _IDS_PER_CLASS
    )


def read_npz(
    path: pathlib.Path, *, size: tuple[int, int], background: int = 0
) -> Instances:
    """Returns the instances of one frame.

    Args:
        path: file with `masks` (`[k h w]`) and optional `ids`, `classes` and `scores`,
            or with a label map, see `read_labels_npz`.
        size: height and width that the masks must have.
        background: value of the pixels of a label map without an object.

    Raises:
        DataError: no masks in the file, or masks of another size.
    """
    names = _array_names(path)
    if "masks" not in names:
        labels = read_labels_npz(path, axes=2)
        _check_size(path, labels.shape, size)
        return instances.from_label_map(labels, background=background)
    masks = file_content.read_array(path, "masks")
    _check_size(path, masks.shape[1:], size)
    optional = {
        name: file_content.read_array(path, name)
        for name in ("ids", "classes", "scores")
        if name in names
    }
    try:
        found = instances.create(masks.astype(bool), **optional)
    except (ValueError, TypeError) as error:
        raise DataError(path, str(error)) from error
    if len(np.unique(found.ids)) != len(found):
        raise DataError(path, "two masks have the same id")
    return found


def read_labels_npz(path: pathlib.Path, *, axes: int) -> np.ndarray:
    """Returns the integer label maps of an NPZ: `[h w]`, or `[n h w]` for three axes.

    The array is called `instance_labels`, `labels` or `instance`, or is the only one.
    """
    names = _array_names(path)
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


def _array_names(path: pathlib.Path) -> list[str]:
    file_content.read_bytes(path, 1)
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(
            path, f"expected a NumPy .npz file; is it truncated? ({error})"
        ) from error


def _check_size(
    path: pathlib.Path, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    if tuple(shape) != tuple(size):
        raise DataError(
            path,
            f"expected masks of {size[0]}x{size[1]} pixels (height x width) like the"
            f" frames, got {'x'.join(map(str, shape))}; were they resized?",
        )
