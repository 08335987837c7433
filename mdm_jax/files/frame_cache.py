"""Decoded frames on disk, so that hours of video stay flat in memory.

Frames are decoded and resized once, into one `.npy` file of uint8 `[n h w 3]` that is
memory mapped from then on: a random clip costs one read of its own bytes. A file is
named by a digest of everything its content follows from, so a changed source or option
makes a new file and the next start finds the old one. It appears under its name only
when complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import pathlib
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import tqdm
from absl import logging

_VERSION = 1  # raise it when the same key would have to give other bytes


def default_directory() -> pathlib.Path:
    """Returns the folder for caches of a user who names none."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "mdm_jax" / "frames"


def cached(
    frames: Iterable[np.ndarray],
    *,
    directory: str | os.PathLike[str],
    name: str,
    files: Sequence[pathlib.Path],
    options: Mapping[str, Any],
    size: tuple[int, int],
    expected: int,
) -> np.memmap:
    """Returns frames as a read-only memory map, decoding them only the first time.

    Args:
        frames: uint8 `[h w 3]` each; consumed only if the cache does not exist.
        directory: where caches lie; made if missing.
        name: of the recording, for the file name and the progress bar.
        files: the sources; path, length and time of change of each are in the key.
        options: whatever else the content follows from; must be JSON.
        size: (height, width) of the cached frames.
        expected: number of frames, possibly wrong; 0 for unknown.

    Returns:
        uint8 `[n h w 3]`.

    Raises:
        OSError: the cache cannot be written, or the disk is too small for it.
        Exception: whatever `frames` raises; nothing is left behind then.
    """
    directory = pathlib.Path(directory).expanduser()
    path = directory / f"{_file_name(name)}-{_digest(files, options, size)}.npy"
    if path.exists():
        try:
            return _open(path, size)
        except ValueError as error:
            logging.warning("Frame cache %s is damaged, renewed: %s", path, error)
    num_bytes = expected * size[0] * size[1] * 3
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(directory)
        free = shutil.disk_usage(directory).free
        temporary = directory / f".{path.stem}-{uuid.uuid4().hex[:8]}.part"
        temporary.touch()
    except OSError as error:
        raise _unwritable(directory, error) from error
    try:
        if free < num_bytes:
            raise OSError(
                f"the frame cache of {name} needs {num_bytes / 1e9:.1f} GB in"
                f" {directory}, where {free / 1e9:.1f} GB are free; set"
                " dataset.cache_dir to a folder with room, or lower dataset.size"
            )
        count = _write(temporary, frames, size=size, expected=expected, name=name)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    logging.info(
        "Frame cache of %s: %d frames of %d x %d in %s", name, count, *size, path
    )
    return _open(path, size)


@dataclasses.dataclass(frozen=True)
class MappedFile:
    """Where a memory map lies: what travels to a worker process in its place."""

    filename: str
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


def detach(array: Any) -> Any:
    """Returns the place of a memory map of a whole file; any other value as it is.

    Pickling a memory map would copy its content, all hours of video, into the pickle.
    """
    if not isinstance(array, np.memmap) or not isinstance(array.base, mmap.mmap):
        return array
    if array.filename is None or not array.flags.c_contiguous:
        return array
    return MappedFile(str(array.filename), array.dtype, array.shape, array.offset)


def attach(array: Any) -> Any:
    """Returns the value that `detach` was given."""
    if not isinstance(array, MappedFile):
        return array
    return np.memmap(
        array.filename,
        dtype=array.dtype,
        mode="r",
        shape=array.shape,
        offset=array.offset,
    )


def _write(
    path: pathlib.Path,
    frames: Iterable[np.ndarray],
    *,
    size: tuple[int, int],
    expected: int,
    name: str,
) -> int:
    count = 0
    with path.open("wb") as file:
        start = _write_header(file, count, size)
        progress = tqdm.tqdm(
            frames,
            total=expected or None,
            desc=f"decoding {name}",
            unit=" frames",
            disable=None,  # shown on a terminal only
        )
        for frame in progress:
            if frame.shape != (*size, 3) or frame.dtype != np.uint8:
                raise ValueError(
                    f"a cached frame of {name} must be uint8 {(*size, 3)}, got"
                    f" {frame.dtype} {frame.shape}"
                )
            content = np.ascontiguousarray(frame).data
            try:
                file.write(content)
            except OSError as error:
                raise _unwritable(path.parent, error) from error
            count += 1
        # How many frames a video holds is known only now. NumPy pads the header so
        # that the first axis may grow in place.
        file.seek(0)
        if _write_header(file, count, size) != start:
            raise RuntimeError(f"the header of {path} changed its length")
    return count


def _remove_abandoned(directory: pathlib.Path):
    """Removes what decoding left behind that was killed: gigabytes, possibly."""
    for part in directory.glob(".*.part"):
        # Another process may be writing; it would do so every few seconds.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def _write_header(file: BinaryIO, count: int, size: tuple[int, int]) -> int:
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, *size, 3)}
    )
    return file.tell()


def _open(path: pathlib.Path, size: tuple[int, int]) -> np.memmap:
    frames = np.lib.format.open_memmap(path, mode="r")
    if frames.ndim != 4 or frames.shape[1:] != (*size, 3) or frames.dtype != np.uint8:
        raise ValueError(
            f"expected uint8 [n {size[0]} {size[1]} 3], got {frames.shape}"
        )
    return frames


def _digest(
    files: Sequence[pathlib.Path], options: Mapping[str, Any], size: tuple[int, int]
) -> str:
    """Returns a name for what the cache follows from.

    The full paths are part of it: archives often unpack with one time of change for
    all files, and raw formats with one length.
    """
    stats = [(str(file.resolve()), file.stat()) for file in files]
    key = {
        "version": _VERSION,
        "files": [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
        "options": dict(options),
        "size": list(size),
    }
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:80] or "frames"


def _unwritable(directory: pathlib.Path, error: OSError) -> OSError:
    return OSError(
        f"cannot write the frame cache in {directory} ({error.strerror or error}); set"
        " dataset.cache_dir to a folder that you may write to"
    )
