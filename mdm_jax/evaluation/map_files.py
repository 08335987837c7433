"""Depth maps, label maps and images in files, read one at a time.

A set of maps is a stack (`.npy` or `.npz` of `[n h w]`, or of maps of different sizes),
an archive (`.npz` with one map per key) or a folder of `.npy`, `.npz` and `.png` files.
Stacks in `.npy` are memory-mapped and the other forms read image by image, except for
stacks in `.npz`, which can only be decompressed as a whole.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Sequence

import cv2
import numpy as np

_SUFFIXES = (".npy", ".npz", ".png")
_IMAGES = (".png", ".jpg", ".jpeg")

# Makes a map of an array and the place it was read from.
Convert = Callable[[np.ndarray, str], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """A sequence of maps that are read when they are needed.

    Attributes:
        names: file names without suffix, or indices in a stack.
        places: where each map is, for messages.
        read: returns the map at an index.
        named: whether the names identify images; else only the order does.
    """

    names: Sequence[str]
    places: Sequence[str]
    read: Callable[[int], np.ndarray]
    named: bool

    def __len__(self) -> int:
        return len(self.names)

    def chosen(self, indices: Sequence[int]) -> Maps:
        """Returns some of the maps, in the order of the indices.

        Raises:
            ValueError: an index is out of range.
        """
        for index in indices:
            if not 0 <= index < len(self):
                raise ValueError(f"index {index} is not one of {len(self)} maps")
        return Maps(
            [self.names[i] for i in indices],
            [self.places[i] for i in indices],
            lambda index: self.read(indices[index]),
            self.named,
        )


def open_maps(
    path: str | os.PathLike[str],
    *,
    png_unit: float = 1 / 256,
    labels: bool = False,
    allow_pickle: bool = False,
    convert: Convert | None = None,
) -> Maps:
    """Returns the maps at a path.

    Args:
        path: a file, or a folder that is searched with its subfolders.
        png_unit: value of one step of a 16-bit PNG; in KITTI 1 / 256 m.
        labels: the maps are labels or masks, whose PNGs may have 8 bits and a unit of 1.
        allow_pickle: read arrays of Python objects, such as stacks of maps of different
            sizes. Such a file can run any code when it is opened.
        convert: makes a map of an array that is none, see `true_depth`.

    Raises:
        ValueError: there is no map, or none of the forms above; names the file.
        OSError: the path cannot be read.
    """
    path = pathlib.Path(path)
    as_map = convert or _as_map
    reader = _Reader(1 if labels else png_unit, labels, allow_pickle)
    if path.is_dir():
        return _folder(path, _SUFFIXES, lambda f: as_map(reader.read(f), str(f)))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is neither a file nor a folder")
    if path.suffix not in _SUFFIXES:
        raise ValueError(
            f"{path}: maps are {', '.join(_SUFFIXES)} files or a folder of them"
        )
    if path.suffix == ".png":
        return Maps(
            [path.stem],
            [str(path)],
            lambda _: as_map(reader.read(path), str(path)),
            named=True,
        )
    if path.suffix == ".npz" and len(keys := _keys(path)) > 1:
        places = [f"{path}[{key!r}]" for key in keys]
        return Maps(
            keys,
            places,
            lambda i: as_map(reader.load(path, key=keys[i]), places[i]),
            named=True,
        )
    return _stack(path, reader.load(path), as_map)


def open_images(path: str | os.PathLike[str]) -> Maps:
    """Returns the images of a folder, RGB `[h w 3]`.

    Raises:
        ValueError: there is no image, or one cannot be read; names it.
    """

    def read(file: pathlib.Path) -> np.ndarray:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{file}: cannot be read as an image")
        return image[..., ::-1]

    return _folder(pathlib.Path(path), _IMAGES, read)


def paired(predictions: Maps, truth: Maps, *, by_order: bool = False) -> Maps:
    """Returns the predictions in the order of the truth, one for each true map.

    Maps are paired by name, whatever their folders, if both sides have names; otherwise,
    or with `by_order`, in order.

    Raises:
        ValueError: the counts differ, or a map has no counterpart; names the first.
    """
    if by_order or not (predictions.named and truth.named):
        if len(predictions) != len(truth):
            raise ValueError(
                f"{len(predictions)} predictions ({_extent(predictions)}) for"
                f" {len(truth)} true depth maps ({_extent(truth)}): both counts must be"
                " equal; a file of indices can select among the predictions"
            )
        return predictions
    for shorten in (lambda name: name, _file_name):
        index = {shorten(name): i for i, name in enumerate(predictions.names)}
        wanted = [shorten(name) for name in truth.names]
        if len(index) != len(predictions) or len(set(wanted)) != len(wanted):
            break  # shortened names are not unique
        if set(index) == set(wanted):
            return predictions.chosen([index[name] for name in wanted])
    for what, maps, others in (
        ("true depth map has no prediction", truth, predictions),
        ("prediction has no true depth map", predictions, truth),
    ):
        known = set(map(_file_name, others.names))
        alone = [i for i, n in enumerate(maps.names) if _file_name(n) not in known]
        if alone:
            raise ValueError(
                f"{maps.places[alone[0]]}: this {what} of the same name ({len(alone)} of"
                f" {len(maps)} have none); rename the files, or pair them in order"
            )
    raise ValueError(
        "file names repeat in several folders, and the folders of predictions"
        f" ({_extent(predictions)}) and truth ({_extent(truth)}) differ"
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads arrays; the fields are those of `open_maps`."""

    png_unit: float
    labels: bool
    allow_pickle: bool

    def read(self, path: pathlib.Path) -> np.ndarray:
        """Returns the map of a file in a folder."""
        suffix = path.suffix.lower()
        if suffix == ".png":
            return self._read_png(path)
        if suffix == ".npz" and len(_keys(path)) != 1:
            raise ValueError(
                f"{path}: contains the arrays {', '.join(_keys(path))}; in a folder,"
                " each file must contain one map"
            )
        return self.load(path)

    def load(self, path: pathlib.Path, *, key: str | None = None) -> np.ndarray:
        """Returns an array of a NumPy file."""
        try:
            if path.suffix.lower() == ".npz":
                with np.load(path, allow_pickle=self.allow_pickle) as archive:
                    return archive[key or archive.files[0]]
            # Arrays of objects cannot be memory-mapped.
            if self.allow_pickle:
                return np.load(path, allow_pickle=True)
            return np.load(path, mmap_mode="r")
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            if "allow_pickle" in str(error) or "Python objects" in str(error):
                raise ValueError(
                    f"{path}: contains Python objects, which can run any code when the"
                    " file is opened; if you trust the file, allow pickles"
                ) from None
            raise ValueError(f"{path}: {error}") from None

    def _read_png(self, path: pathlib.Path) -> np.ndarray:
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise ValueError(f"{path}: cannot be read as an image")
        flat = values.ndim == 2
        if not flat or (values.dtype != np.uint16 and not self.labels):
            bits = "" if self.labels else "16-bit "
            raise ValueError(
                f"{path}: expected a {bits}PNG with one channel, got {values.dtype} with"
                f" {1 if flat else values.shape[2]}; a colour picture of a map does not"
                " contain its values"
            )
        return values if self.png_unit == 1 else values * self.png_unit


def _folder(
    path: pathlib.Path,
    suffixes: Sequence[str],
    read: Callable[[pathlib.Path], np.ndarray],
) -> Maps:
    """Returns the files of a folder in natural order."""
    files = [file for file in path.rglob("*") if file.suffix.lower() in suffixes]
    if not files:
        raise ValueError(f"{path}: no file in it ends in {', '.join(suffixes)}")
    files.sort(key=lambda file: _natural(file.relative_to(path).as_posix()))
    names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: several files are named {name!r}")
    return Maps(names, list(map(str, files)), lambda i: read(files[i]), named=True)


def _stack(path: pathlib.Path, stack: np.ndarray, as_map: Convert) -> Maps:
    """Returns the maps of one array."""
    if stack.dtype != object and stack.ndim == 2:
        stack = stack[None]
    if stack.dtype != object and stack.ndim not in (3, 4):
        raise ValueError(f"{path}: expected maps [n h w], got {list(stack.shape)}")
    places = [f"{path}[{i}]" for i in range(len(stack))]
    mapped, ndim = isinstance(stack, np.memmap), stack.ndim

    def read(index: int) -> np.ndarray:
        # Pages read from a mapping count as memory of the process while it is open.
        source = np.load(path, mmap_mode="r") if mapped else stack
        source = source[None] if source.ndim < ndim else source
        return as_map(np.array(source[index]), places[index])

    return Maps([str(i) for i in range(len(stack))], places, read, named=False)


def _keys(path: pathlib.Path) -> list[str]:
    try:
        with np.load(path) as archive:
            keys = sorted(archive.files, key=_natural)
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if not keys:
        raise ValueError(f"{path}: contains no array")
    return keys


def _as_map(values: np.ndarray, place: str) -> np.ndarray:
    """Returns `[h w]`; further axes must have length 1."""
    shape = values.shape
    if values.ndim == 3 and 1 in (shape[0], shape[2]):
        values = values[0] if shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or values.dtype == object or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{place}: expected one map [h w] of numbers, got {values.dtype}"
            f" {list(shape)}"
        )
    return np.asarray(values)


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns a key that sorts `2` before `10`."""
    parts = re.split(r"(\d+)", name)
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def _file_name(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _extent(maps: Maps) -> str:
    first, last = maps.places[0], maps.places[-1]
    return first if len(maps) == 1 else f"{first} to {last}"
