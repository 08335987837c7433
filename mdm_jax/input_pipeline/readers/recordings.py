"""Drives on disk become recordings: frames of one size, memory mapped, with the truth.

Frames are decoded, cut and resized once into the frame cache; depth and labels, where
wanted, into files beside it. A frame that cannot be read ends a recording, and the next
begins after it, so that neighbours in a recording stay neighbours in time.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tqdm

from mdm_jax.input_pipeline import frame_cache
from mdm_jax.input_pipeline.readers import drive as drive_lib
from mdm_jax.input_pipeline.readers import files
from mdm_jax.input_pipeline.readers import view as view_lib
from mdm_jax.input_pipeline.readers.errors import DataError, Problems
from mdm_jax.input_pipeline.recording import Recording

_VERSION = 1  # raise it when the same files would have to give other content


def open_recordings(
    drives: Sequence[drive_lib.Drive],
    *,
    size: tuple[int, int],
    crop: Sequence[float] | None = None,
    with_poses: bool = True,
    with_depth: bool = False,
    with_labels: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    problems: Problems | None = None,
) -> list[Recording]:
    """Returns the recordings of drives at a size, with what is known of them.

    Args:
        drives: as a reader gives them.
        size: (height, width) of the frames.
        crop: fractions (top, bottom, left, right) to cut away first; None for what is
            usual in the data set. What remains is cut about its centre to the aspect
            ratio of `size`.
        with_poses: whether to read camera poses.
        with_depth: whether to lay out known depth; costs four bytes a pixel on disk.
        with_labels: whether to lay out instance labels.
        cache_dir: where decoded frames are kept; None or empty for a folder in the
            user's cache.
        problems: what to do about broken files; None stops at the first. Skipping, a
            broken image splits a recording, broken depth or labels of a frame count as
            unknown, broken poses or times leave out the drive.

    Raises:
        DataError: a broken file.
        ValueError: a crop or size that leaves nothing.
        OSError: the cache cannot be written.
    """
    problems = problems or Problems()
    directory = pathlib.Path(cache_dir or frame_cache.default_directory())
    found: list[Recording] = []
    for drive in drives:
        view = view_lib.centred(drive.size, size, drive.crop if crop is None else crop)
        with problems.caught():
            found += _open(
                drive,
                view,
                with_poses=with_poses,
                with_depth=with_depth,
                with_labels=with_labels,
                directory=directory,
                problems=problems,
            )
    return found


def _open(
    drive: drive_lib.Drive,
    view: view_lib.View,
    *,
    with_poses: bool,
    with_depth: bool,
    with_labels: bool,
    directory: pathlib.Path,
    problems: Problems,
) -> list[Recording]:
    # What is small and may be wrong comes before hours of decoding.
    poses = drive.world_from_camera() if with_poses else None
    if poses is not None:
        # Only motion matters, and kilometres do not fit in float32.
        poses = poses - np.pad(poses[0, :3, 3:], ((0, 1), (3, 0)))[None]
    drive.timestamps()
    present = tuple(path for path in dict.fromkeys(drive.files) if files.exists(path))
    if not present:
        raise DataError(
            drive.files[0], f"none of the {len(drive)} images of {drive.name} is there"
        )
    frames = frame_cache.cached(
        _each(drive, lambda index: _frame(drive, view, index, problems)),
        directory=directory,
        name=drive.name,
        files=present,
        options={
            "version": _VERSION,
            "drive": [drive.name, drive.numbers[0], len(drive)],
            "view": dataclasses.astuple(view),
        },
        size=view.size,
        expected=len(drive),
    )
    kept = _readable(drive, frames, problems)
    depth = labels = None
    if with_depth and _has(drive.points):

        def depth_of(index: int) -> np.ndarray:
            points = drive.points(index)
            return _unknown(view, np.float32) if points is None else view.depth(points)

        depth = _cached_maps(
            drive, "depth", depth_of, frames, dtype=np.float32, problems=problems
        )
    if with_labels and _has(drive.labels):

        def labels_of(index: int) -> np.ndarray:
            labels = drive.labels(index)
            return _unknown(view, np.uint8) if labels is None else view.labels(labels)

        labels = _cached_maps(
            drive, "labels", labels_of, frames, dtype=np.uint8, problems=problems
        )
    parts = drive_lib.runs(kept) if kept else []
    return [
        Recording(
            drive.name if len(parts) == 1 else f"{drive.name}/{kept[part.start]}",
            _part(frames, kept[part]),
            intrinsics=view.intrinsics(drive.intrinsics),
            depth=None if depth is None else _part(depth, kept[part]),
            world_from_camera=None if poses is None else poses[kept[part]],
            instance_labels=None if labels is None else _part(labels, kept[part]),
        )
        for part in parts
    ]


def _has(read: Callable[[int], np.ndarray | None]) -> bool:
    """Returns whether a drive has points or labels, as its first frame tells."""
    try:
        return read(0) is not None
    except DataError:
        return True  # It has them, but this one is broken.


def _unknown(view: view_lib.View, dtype: type) -> np.ndarray:
    return np.zeros(view.size, dtype)


def _each(
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


def _frame(
    drive: drive_lib.Drive, view: view_lib.View, index: int, problems: Problems
) -> np.ndarray:
    """Returns a frame through the view; black where it cannot be read and is skipped."""
    try:
        return view.image(drive.image(index))
    except DataError:
        if problems.on_error == "raise":
            raise
        return np.zeros((*view.size, 3), np.uint8)


def _readable(
    drive: drive_lib.Drive, frames: np.ndarray, problems: Problems
) -> list[int]:
    """Returns the frames of a cache that are images, and reports the others.

    A broken frame was stored black. Black frames are read again, to tell the ones that
    are broken from those that are dark; there are few.
    """
    kept = []
    for index in range(len(frames)):
        if not frames[index, 0].any() and not frames[index].any():
            try:
                drive.image(index)
            except DataError as error:
                problems.report(error)
                continue
        kept.append(index)
    return kept


def _cached_maps(
    drive: drive_lib.Drive,
    kind: str,
    read: Callable[[int], np.ndarray],
    frames: np.memmap,
    *,
    dtype: type,
    problems: Problems,
) -> np.memmap:
    """Returns `[n h w]` of what is read of each frame, memory mapped, made only once.

    It lies beside the cache of the frames, whose name already tells images and view.
    What is broken is 0, unknown, and counted when it is first read.
    """
    stats = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns)
        for path in drive.truth_files()
        if files.exists(path)
    ]
    key = json.dumps([kind, problems.on_error, stats])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    place = pathlib.Path(str(frames.filename))
    path = place.with_name(f"{place.stem}-{kind}-{digest}.npy")
    shape = frames.shape[:3]
    if path.exists():
        maps = np.lib.format.open_memmap(path, mode="r")
        if maps.shape == shape and maps.dtype == dtype:
            return maps

    def checked(index: int) -> np.ndarray:
        with problems.caught():
            return read(index)
        return np.zeros(shape[1:], dtype)

    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}.part")
    try:
        maps = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        progress = tqdm.tqdm(
            _each(drive, checked),
            total=len(drive),
            desc=f"{kind} of {drive.name}",
            unit=" frames",
            disable=None,  # shown on a terminal only
        )
        for index, values in enumerate(progress):
            maps[index] = values
        maps.flush()
        del maps
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="r")


def _part(maps: np.memmap, indices: Sequence[int]) -> np.ndarray:
    """Returns consecutive frames of a memory map, as a map that can be detached."""
    if len(indices) == len(maps):
        return maps
    whole = frame_cache.detach(maps)
    stride = maps[0].nbytes
    return frame_cache.attach(
        dataclasses.replace(
            whole,
            shape=(len(indices), *whole.shape[1:]),
            offset=whole.offset + indices[0] * stride,
        )
    )
