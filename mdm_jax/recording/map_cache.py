"""Depth and labels of a drive in memory-mapped files beside the cache of its frames.

A file is named by a digest of what its content follows from, so that a changed scan or
calibration makes a new file, and appears under its name only when complete.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tqdm

from mdm_jax.files import file_content
from mdm_jax.sources import drive as drive_lib

_VERSION = 2  # raise it when the same files would have to give other content


def each(
    drive: drive_lib.Drive, read: Callable[[int], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields what is read of each frame, in order; several threads read ahead."""
    num_threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        # In portions: a pool's map would decode ahead without bound.
        for start in range(0, len(drive), 4 * num_threads):
            yield from pool.map(
                read, range(start, min(start + 4 * num_threads, len(drive)))
            )


def cached(
    drive: drive_lib.Drive,
    kind: str,
    maps: Iterable[np.ndarray],
    frames: np.memmap,
    *,
    dtype: type,
    on_error: str,
) -> np.memmap:
    """Returns `[n h w]`, memory mapped and read-only, made only the first time.

    Args:
        drive: whose maps they are.
        kind: `depth` or `labels`, for the name of the file.
        maps: `[h w]` for each frame; consumed only if the file does not exist.
        frames: the cache of the frames, whose name tells images and view already.
        dtype: of the maps.
        on_error: what was done about broken files: skipping makes another file.

    Raises:
        OSError: the file cannot be written, or the disk is too small for it.
        Exception: whatever `maps` raises; nothing is left behind then.
    """
    stats = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in (*drive.truth_files(), *drive.calibration_files())
        if file_content.exists(path)
    ]
    key = json.dumps([_VERSION, kind, on_error, stats, _calibration(drive)])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    place = pathlib.Path(str(frames.filename))
    path = place.with_name(f"{place.stem}-{kind}-{digest}.npy")
    shape = frames.shape[:3]
    if path.exists():
        found = np.lib.format.open_memmap(path, mode="r")
        if found.shape == shape and found.dtype == dtype:
            return found
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    if free < num_bytes:
        raise OSError(
            f"the {kind} of {drive.name} needs {num_bytes / 1e9:.1f} GB in"
            f" {path.parent}, where {free / 1e9:.1f} GB are free; set"
            " dataset.cache_dir to a folder with room, or dataset.with_truth to False"
        )
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.part")
    try:
        made = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        progress = tqdm.tqdm(
            maps,
            total=len(drive),
            desc=f"{kind} of {drive.name}",
            unit=" frames",
            disable=None,  # shown on a terminal only
        )
        for index, values in enumerate(progress):
            made[index] = values
        made.flush()
        del made
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="r")


def _calibration(drive: drive_lib.Drive) -> list[Any]:
    """Returns the numbers that a drive was opened with: scans are projected by them."""
    found: list[Any] = []
    for field in dataclasses.fields(drive):
        value = getattr(drive, field.name)
        if isinstance(value, np.ndarray):
            found.append([field.name, hashlib.sha256(value.tobytes()).hexdigest()])
        elif isinstance(value, float):
            found.append([field.name, value])
        elif isinstance(value, drive_lib.Drive):
            found.append(_calibration(value))
    return found
