"""Decoded frames, depth and labels on disk, so that hours of video fit in memory.

The arrays of a recording are computed once and stored in one `.npy` file, which is
memory mapped from then on: a random clip costs one read of its own bytes. The file name
holds a fingerprint of everything the content depends on, so a changed source or option
makes a new file, and the next run finds the old one.
"""

from __future__ import annotations

import dataclasses
import mmap
import os
import pathlib
import re
import shutil
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import tqdm
from absl import logging

from mdm_jax.files import atomic

_ABANDONED = 3600.0  # seconds; a running process writes every few seconds


def default_directory() -> pathlib.Path:
    """Returns the cache folder of the user, for a config that names none."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "mdm_jax" / "frames"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One cached file: an array `[n *shape]`, one item for each frame of a recording.

    Attributes:
        directory: of all cached files; created if missing.
        name: of the recording, for the file name and messages.
        kind: `frames`, `depth` or `labels`, likewise.
        fingerprint: digest of everything the content depends on.
        shape: of one item.
        dtype: of the items.
        expected: number of items; 0 if it is unknown. A video may break off earlier.
    """

    directory: pathlib.Path
    name: str
    kind: str
    fingerprint: str
    shape: tuple[int, ...]
    dtype: Any
    expected: int = 0

    @property
    def path(self) -> pathlib.Path:
        """The file, which exists once `cached` has returned."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.name)[:80] or "recording"
        file = f"{name}-{self.kind}-{self.fingerprint}.npy"
        return self.directory.expanduser() / file


def cached(entry: Entry, items: Iterable[np.ndarray]) -> np.memmap:
    """Returns a cached array as a read-only memory map, and computes it at first use.

    Args:
        entry: describes the file.
        items: consumed only if the file does not exist.

    Raises:
        ValueError: an item has another shape or dtype than the entry says.
        OSError: the file cannot be written, or does not fit on the disk.
        Exception: whatever `items` raises; no file remains then.
    """
    path = entry.path
    if path.exists():
        try:
            return _open(entry)
        except ValueError as error:
            logging.warning("%s is damaged and is made again: %s", path, error)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.remove_abandoned(path.parent, min_age=_ABANDONED)
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    num_bytes = entry.expected * _item_bytes(entry)
    if free < num_bytes:
        raise OSError(
            f"the {entry.kind} of {entry.name} need {num_bytes / 1e9:.1f} GB in"
            f" {path.parent}, where {free / 1e9:.1f} GB are free; set"
            " dataset.cache_dir to a folder on a larger disk, lower dataset.size, or"
            " leave out depth with dataset.with_truth=False"
        )
    with atomic.replacing(path) as temporary:
        count = _write(temporary, entry, items)
    logging.info("Cached %d %s of %s in %s", count, entry.kind, entry.name, path)
    return _open(entry)


def _write(path: pathlib.Path, entry: Entry, items: Iterable[np.ndarray]) -> int:
    """Writes an `.npy` file item by item, and returns their number."""
    count = 0
    progress = tqdm.tqdm(
        items,
        total=entry.expected or None,
        desc=f"{entry.kind} of {entry.name}",
        unit=" frames",
        disable=None,  # shown on a terminal only
    )
    try:
        file = path.open("wb")
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    with file:
        start = _write_header(file, count, entry)
        for item in progress:
            if item.shape != entry.shape or item.dtype != entry.dtype:
                raise ValueError(
                    f"{entry.kind} of {entry.name}: expected"
                    f" {np.dtype(entry.dtype)} {entry.shape}, got"
                    f" {item.dtype} {item.shape}"
                )
            content = np.ascontiguousarray(item).data
            try:
                file.write(content)
            except OSError as error:
                raise _unwritable(path.parent, error) from error
            count += 1
        # The number of frames of a video is known only now. NumPy pads the header, so
        # that the first axis can grow in place.
        file.seek(0)
        if _write_header(file, count, entry) != start:
            raise RuntimeError(f"the header of {path} changed its length")
    return count


def _write_header(file: BinaryIO, count: int, entry: Entry) -> int:
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(entry.dtype)),
        "fortran_order": False,
        "shape": (count, *entry.shape),
    }
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def _open(entry: Entry) -> np.memmap:
    array = np.lib.format.open_memmap(entry.path, mode="r")
    if array.shape[1:] != entry.shape or array.dtype != entry.dtype:
        raise ValueError(
            f"expected {np.dtype(entry.dtype)} [n {entry.shape}], got {array.dtype}"
            f" {array.shape}"
        )
    return array


def _item_bytes(entry: Entry) -> int:
    return int(np.prod(entry.shape)) * np.dtype(entry.dtype).itemsize


def _unwritable(directory: pathlib.Path, error: OSError) -> OSError:
    return OSError(
        f"cannot write the cache in {directory} ({error.strerror or error}); set"
        " dataset.cache_dir to a folder that you may write to"
    )


@dataclasses.dataclass(frozen=True)
class MappedFile:
    """The location of a memory map, which is sent to a worker process in its place."""

    filename: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


def detach(array: Any) -> Any:
    """Returns the location of a memory-mapped file; any other value unchanged.

    Pickling a memory map itself would copy all hours of video into the pickle.
    """
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return array
    if array.filename is None or not array.flags.c_contiguous:
        return array
    return MappedFile(str(array.filename), array.dtype, array.shape, array.offset)


def attach(array: Any) -> Any:
    """Returns the array whose location `detach` gave; any other value unchanged."""
    if not isinstance(array, MappedFile):
        return array
    return np.memmap(
        array.filename,
        dtype=array.dtype,
        mode="r",
        shape=array.shape,
        offset=array.offset,
    )


def part(array: np.memmap, start: int, stop: int) -> np.ndarray:
    """Returns items `start` to `stop` of a cached array, as a map that detaches."""
    if (start, stop) == (0, len(array)):
        return array
    location = detach(array)
    return attach(
        dataclasses.replace(
            location,
            shape=(stop - start, *location.shape[1:]),
            offset=location.offset + start * array[0].nbytes,
        )
    )
