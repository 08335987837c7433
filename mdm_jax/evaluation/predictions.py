"""Anybody's depth maps in files: NumPy arrays and 16-bit PNG, one image at a time.

A set of maps is one stack (`.npy` or `.npz` of `[n h w]`, also of maps of different
sizes), an archive (`.npz` with one map a key) or a folder of `.npy`, `.npz` and `.png`
files. Stacks in `.npy` are mapped into memory, the other forms read image by image; a
stack in `.npz` is compressed as one and has to be read as one.
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
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """Maps that are read when asked for.

    Attributes:
        names: of the maps: file names without endings, or numbers in a stack.
        places: where each is, for messages.
        read: returns the map at an index.
        named: whether the names say which image it is, or only the order does.
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
            ValueError: an index is not that of a map.
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
    convert: Callable[[np.ndarray, str], np.ndarray] | None = None,
) -> Maps:
    """Returns the maps found at a path.

    Args:
        path: a file or a folder, whose subfolders are searched too.
        png_unit: what a step of a 16-bit PNG is worth: 1 / 256 m in KITTI.
        labels: the maps are labels or masks: PNGs may have 8 bits, and a unit of 1.
        allow_pickle: read arrays of Python objects, such as maps of different sizes in
            one stack. Opening such a file can run any code that is in it.
        convert: makes a map of an array and the place it comes from; None for arrays
            that are maps. See `ground_truth`.

    Raises:
        ValueError: there is no map, or none of a form described here; names the file.
        OSError: nothing can be read there.
    """
    path = pathlib.Path(path)
    as_map = convert or _as_map
    reader = _Reader(1 if labels else png_unit, labels, allow_pickle)
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.suffix in _SUFFIXES]
        if not files:
            raise ValueError(f"{path}: no file in it ends in {', '.join(_SUFFIXES)}")
        files.sort(key=lambda file: _natural(file.relative_to(path).as_posix()))
        names = [file.relative_to(path).with_suffix("").as_posix() for file in files]
        _check_unique(names, path)
    elif not path.is_file():
        raise FileNotFoundError(f"{path} is neither a file nor a folder")
    elif path.suffix not in _SUFFIXES:
        raise ValueError(
            f"{path}: maps are in {', '.join(_SUFFIXES)} files or a folder of them"
        )
    elif path.suffix == ".npz" and len(keys := _keys(path)) > 1:
        places = [f"{path}[{key!r}]" for key in keys]
        return Maps(
            keys,
            places,
            lambda i: as_map(reader.load(path, key=keys[i]), places[i]),
            named=True,
        )
    elif path.suffix == ".png":
        files, names = [path], [path.stem]
    else:
        return _stack(path, reader.load(path), as_map)
    return Maps(
        names,
        [str(file) for file in files],
        lambda i: as_map(reader.read(files[i]), str(files[i])),
        named=True,
    )


def open_images(path: str | os.PathLike[str]) -> Maps:
    """Returns the pictures of a folder, RGB `[h w 3]`.

    Raises:
        ValueError: there is none, or one cannot be read; names it.
    """
    path = pathlib.Path(path)
    files = [file for file in path.rglob("*") if file.suffix.lower() in _PICTURES]
    if not files:
        raise ValueError(f"{path}: no file in it ends in {', '.join(_PICTURES)}")
    files.sort(key=lambda file: _natural(file.relative_to(path).as_posix()))
    names = [file.relative_to(path).with_suffix("").as_posix() for file in files]

    def read(index: int) -> np.ndarray:
        picture = cv2.imread(str(files[index]), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{files[index]}: cannot be read as an image")
        return picture[..., ::-1]

    return Maps(names, [str(file) for file in files], read, named=True)


def paired(predictions: Maps, truth: Maps, *, by_order: bool = False) -> Maps:
    """Returns the predictions in the order of the truth, one for each true map.

    By name where both sides have names, which may differ in their folders; else, or
    with `by_order`, in order.

    Raises:
        ValueError: counts differ, or a true map has no prediction or a prediction no
            true map; names the first.
    """
    if by_order or not (predictions.named and truth.named):
        if len(predictions) != len(truth):
            raise ValueError(
                f"{len(predictions)} predictions ({_extent(predictions)}) for"
                f" {len(truth)} true depth maps ({_extent(truth)}): the counts must be"
                " equal; a file of indices can choose among the predictions"
            )
        return predictions
    for shorten in (lambda name: name, lambda name: name.rsplit("/", 1)[-1]):
        index = {shorten(name): i for i, name in enumerate(predictions.names)}
        wanted = [shorten(name) for name in truth.names]
        if len(index) != len(predictions) or len(set(wanted)) != len(wanted):
            break  # shortened names are not unique
        if set(index) == set(wanted):
            return predictions.chosen([index[name] for name in wanted])
    index = {name.rsplit("/", 1)[-1] for name in predictions.names}
    wanted = {name.rsplit("/", 1)[-1] for name in truth.names}
    for what, places, names, others in (
        ("true depth map has no prediction", truth, truth.names, index),
        ("prediction has no true depth map", predictions, predictions.names, wanted),
    ):
        alone = [i for i, n in enumerate(names) if n.rsplit("/", 1)[-1] not in others]
        if alone:
            raise ValueError(
                f"{places.places[alone[0]]}: this {what} of its name ({len(alone)} of"
                f" {len(names)}); rename, or pair the files in order"
            )
    raise ValueError(
        "file names repeat in several folders and the folders of predictions"
        f" ({_extent(predictions)}) and truth ({_extent(truth)}) differ"
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads arrays; the fields are those of `open_maps`."""

    png_unit: float
    labels: bool
    allow_pickle: bool

    def read(self, path: pathlib.Path) -> np.ndarray:
        """Returns the one map of a file in a folder."""
        if path.suffix == ".png":
            return self._read_png(path)
        if path.suffix == ".npz" and len(_keys(path)) != 1:
            raise ValueError(
                f"{path}: has the arrays {', '.join(_keys(path))}; in a folder, expected"
                " one map a file"
            )
        return self.load(path)

    def load(self, path: pathlib.Path, *, key: str | None = None) -> np.ndarray:
        """Returns an array of a file of NumPy."""
        try:
            if path.suffix == ".npz":
                with np.load(path, allow_pickle=self.allow_pickle) as archive:
                    return archive[key or archive.files[0]]
            # Arrays of objects cannot be mapped into memory.
            if self.allow_pickle:
                return np.load(path, allow_pickle=True)
            return np.load(path, mmap_mode="r")
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            if "allow_pickle" in str(error) or "Python objects" in str(error):
                raise ValueError(
                    f"{path}: holds Python objects, and opening these can run any code"
                    " in the file; if you trust it, allow pickles"
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
                f" {1 if flat else values.shape[2]}: a picture of values is not values"
            )
        return values if self.png_unit == 1 else values * self.png_unit


def _stack(
    path: pathlib.Path,
    stack: np.ndarray,
    as_map: Callable[[np.ndarray, str], np.ndarray],
) -> Maps:
    """Returns the maps of one array."""
    if stack.dtype != object and stack.ndim == 2:
        stack = stack[None]
    if stack.dtype != object and stack.ndim not in (3, 4):
        raise ValueError(f"{path}: expected maps [n h w], got {list(stack.shape)}")
    places = [f"{path}[{i}]" for i in range(len(stack))]
    mapped, ndim = isinstance(stack, np.memmap), stack.ndim

    def read(index: int) -> np.ndarray:
        # Mapped anew for each map: what has been read of a file that stays mapped
        # counts as memory of the process.
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
        raise ValueError(f"{path}: holds no array")
    return keys


def _as_map(values: np.ndarray, place: str) -> np.ndarray:
    """Returns `[h w]` of maps that may have further axes of length 1."""
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


def _check_unique(names: Sequence[str], path: pathlib.Path) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{path}: several files are named {name!r}")
        seen.add(name)


def _extent(maps: Maps) -> str:
    first, last = maps.places[0], maps.places[-1]
    return first if len(maps) == 1 else f"{first} to {last}"
