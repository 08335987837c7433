"""Drives on disk become recordings: frames of one size, memory mapped, with the truth.

Frames are decoded, cut and resized once into the frame cache; depth and labels, where
wanted, into files beside it. A frame that cannot be read ends a recording, and the next
begins after it, so that neighbours in a recording stay neighbours in time.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files import array_cache, file_content, fingerprint, workers
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.masks import labels as mask_labels
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.recording import persistent_labels
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import drive as drive_lib

_VERSION = 2  # increase it when the same files must give other arrays


def open_recordings(
    drives: Sequence[drive_lib.Drive],
    *,
    size: tuple[int, int],
    crop: Sequence[float] | None = None,
    with_poses: bool = True,
    with_depth: bool = False,
    with_labels: bool = False,
    masks: MaskSet | None = None,
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
        with_labels: whether to lay out instance labels, with ids that persist, of the
            recordings all of whose frames have them.
        masks: files of labels that take the place of the data set's own; those of a
            drive are found by its name, those of a frame by the name of its image or,
            where many images are in one file, by its number, `000000` and so on.
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
    directory = pathlib.Path(cache_dir or array_cache.default_directory())
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
                masks=masks,
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
    masks: MaskSet | None,
    directory: pathlib.Path,
    problems: Problems,
) -> list[Recording]:
    # What is small and may be wrong comes before hours of decoding.
    poses = drive.world_from_camera() if with_poses else None
    if poses is not None:
        # Only motion matters, and kilometres do not fit in float32.
        poses = poses - np.pad(poses[0, :3, 3:], ((0, 1), (3, 0)))[None]
    drive.timestamps()
    present = tuple(
        path for path in dict.fromkeys(drive.files) if file_content.exists(path)
    )
    if not present:
        raise DataError(
            drive.files[0], f"none of the {len(drive)} images of {drive.name} is there"
        )
    opened_masks = None
    if masks is not None:
        opened_masks = masks.open(
            drive_lib.origin(drive)[0].name,
            drive_lib.frame_names(drive),
            size=drive.size,
        )
    files = fingerprint.file_identities((*present, *drive.calibration_files()))
    options = (drive.name, drive.numbers[0], len(drive), view)
    frames = array_cache.cached(
        array_cache.Entry(
            directory,
            drive.name,
            "frames",
            fingerprint.digest(_VERSION, files, options),
            (*view.size, 3),
            np.uint8,
            len(drive),
        ),
        workers.read_ahead(
            lambda index: _frame(drive, view, index, problems), len(drive)
        ),
    )
    kept = _readable(drive, frames, problems)
    depth = labels = None
    if with_depth and _has_points(drive):
        depth = _depth(drive, view, frames, problems)
    if opened_masks is not None:
        labelled = np.ones(len(drive), bool)
        labels = mask_labels.cached(
            opened_masks,
            frames,
            name=drive.name,
            view=view.labels,
        )
    else:
        labelled = np.array(drive.labelled() if with_labels else [False] * len(drive))
    if labels is None and labelled.any():
        labels = _labels(drive, view, frames, problems)
    parts = drive_lib.runs(kept) if kept else []
    return [
        Recording(
            drive.name if len(parts) == 1 else f"{drive.name}/{kept[part.start]}",
            array_cache.part(frames, kept[part.start], kept[part.stop - 1] + 1),
            intrinsics=view.intrinsics(drive.intrinsics),
            depth=None
            if depth is None
            else array_cache.part(depth, kept[part.start], kept[part.stop - 1] + 1),
            world_from_camera=None if poses is None else poses[kept[part]],
            instance_labels=None
            if labels is None or not labelled[kept[part]].all()
            else array_cache.part(labels, kept[part.start], kept[part.stop - 1] + 1),
        )
        for part in parts
    ]


def _has_points(drive: drive_lib.Drive) -> bool:
    """Returns whether a drive has known depth, as its first frame tells."""
    try:
        return drive.points(0) is not None
    except DataError:
        return True  # It has it, but this one is broken.


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


def _depth(
    drive: drive_lib.Drive,
    view: view_lib.View,
    frames: np.memmap,
    problems: Problems,
) -> np.memmap:
    """Returns float32 `[n h w]`; what is broken is 0, unknown, and counted."""

    def read(index: int) -> np.ndarray:
        with problems.caught():
            points = drive.points(index)
            if points is not None:
                return view.depth(points)
        return np.zeros(view.size, np.float32)

    return array_cache.cached(
        _map_entry(drive, view, frames, "depth", problems),
        workers.read_ahead(read, len(drive)),
    )


def _labels(
    drive: drive_lib.Drive,
    view: view_lib.View,
    frames: np.memmap,
    problems: Problems,
) -> np.memmap:
    """Returns uint8 `[n h w]` with ids that persist; 0 where broken or unknown."""

    def read(index: int) -> np.ndarray:
        with problems.caught():
            labels = drive.labels(index)
            if labels is not None:
                return view.labels(labels)
        return np.zeros(view.size, np.uint8)

    return array_cache.cached(
        _map_entry(drive, view, frames, "labels", problems),
        persistent_labels.persistent(workers.read_ahead(read, len(drive))),
    )


def _map_entry(
    drive: drive_lib.Drive,
    view: view_lib.View,
    frames: np.memmap,
    kind: str,
    problems: Problems,
) -> array_cache.Entry:
    """Returns the entry of the depth or labels that belong to cached frames."""
    frames_file = pathlib.Path(str(frames.filename))
    files = (*drive.truth_files(), *drive.calibration_files())
    key = fingerprint.digest(
        _VERSION,
        kind,
        frames_file.name,  # Depends on the images and the view.
        problems.on_error,  # What is broken is left unknown when skipped.
        fingerprint.file_identities(files),
        _calibration(drive),
    )
    dtype = np.float32 if kind == "depth" else np.uint8
    return array_cache.Entry(
        frames_file.parent, drive.name, kind, key, view.size, dtype, len(drive)
    )


def _calibration(drive: drive_lib.Drive) -> list[Any]:
    """Returns the numbers of a drive by which its laser points are projected."""
    values = {
        field.name: getattr(drive, field.name) for field in dataclasses.fields(drive)
    }
    return [
        (name, _calibration(value) if isinstance(value, drive_lib.Drive) else value)
        for name, value in values.items()
        if isinstance(value, np.ndarray | float | drive_lib.Drive)
    ]
