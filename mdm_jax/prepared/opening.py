"""Opening a source: its drives or videos become tracks, by what they are for.

What is small and may be wrong (calibration, poses, times) is read here, before hours of
decoding.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tqdm
from absl import logging

from mdm_jax import config as config_lib
from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import raw_data, splits
from mdm_jax.masks import mask_files, mask_set
from mdm_jax.prepared import layout, track_labels, tracks
from mdm_jax.prepared.options import Options
from mdm_jax.sources import drive as drive_lib
from mdm_jax.sources import drive_footage, own_video
from mdm_jax.sources import footage as footage_lib


def open_tracks(options: Options, problems: Problems) -> dict[str, list[tracks.Track]]:
    """Returns the tracks of a source by TFDS split, `layout.TRAIN` first.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    if options.name == "video":
        return {layout.TRAIN: _footage(options, problems)}
    drives = _split(options, problems)
    parts = {layout.TRAIN: _drives(drives.train, options, problems)}
    if drives.test:
        # What is held out need not have masks: it is evaluated on without.
        held_out = _drives(drives.test, options, problems, all_have_masks=False)
        parts[options.evaluation_split] = held_out
    return parts


def clips(options: Options) -> list[footage_lib.Footage]:
    """Returns the footage of all that a build reads, whole drives of those it cuts.

    Without those that are only held out and have no masks to make tracks of.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    if options.name == "video":
        return footage_lib.find(pathlib.Path(options.source).expanduser())
    drives = _split(options, Problems(options.on_error))
    held_out = drives.test
    # And not a network or a function.
    if options.masks and pathlib.Path(options.masks).expanduser().exists():
        masks = mask_set.MaskSet(root=options.masks)
        held_out = [drive for drive in held_out if raw_data.has_masks(drive, masks)]
    whole = [drive_lib.origin(drive)[0] for drive in (*drives.train, *held_out)]
    return [
        drive_footage.of(drive, on_error=options.on_error)
        for drive in {drive.name: drive for drive in whole}.values()
    ]


def _split(options: Options, problems: Problems) -> splits.Split:
    dataset = config_lib.base_config().dataset
    dataset.update(
        name=options.name,
        path=options.source,
        split=options.split,
        held_out=options.held_out,
        # A clip of three frames around each frame of a list file.
        clip_length=3,
        on_error=options.on_error,
    )
    return raw_data.open_split(dataset, options.evaluation_split, problems)


def _drives(
    drives: Sequence[drive_lib.Drive],
    options: Options,
    problems: Problems,
    *,
    all_have_masks: bool = True,
) -> list[tracks.Track]:
    found: list[tracks.Track] = []
    crop = options.crop if any(options.crop) else None
    for drive in tqdm.tqdm(drives, desc="looking", unit=" drives", disable=None):
        view = view_lib.centred(
            drive.size, options.size, drive.crop if crop is None else crop
        )
        with problems.caught():
            has_masks = all_have_masks or raw_data.has_masks(drive, options.labels)
            found.append(_drive(drive, view, options, has_masks=has_masks))
    return found


def _drive(
    drive: drive_lib.Drive, view: view_lib.View, options: Options, *, has_masks: bool
) -> tracks.Track:
    poses = drive.world_from_camera() if options.with_truth else None
    if poses is not None:
        # Only motion matters, and kilometres do not fit in float32.
        poses = poses - np.pad(poses[0, :3, 3:], ((0, 1), (3, 0)))[None]
    seconds = drive.timestamps()
    if not any(file_content.exists(path) for path in dict.fromkeys(drive.files)):
        raise DataError(
            drive.files[0], f"none of the {len(drive)} images of {drive.name} is there"
        )
    labels: track_labels.TrackLabels | None = None
    if options.labels is None:
        labelled = np.array(drive.labelled())
        if labelled.any():
            labels = track_labels.OfDrive(drive, view)
    else:
        labelled = np.full(len(drive), has_masks)
        if has_masks:
            opener = functools.partial(
                options.labels.open,
                drive_lib.origin(drive)[0].name,
                drive_lib.frame_names(drive),
                size=drive.size,
            )
            labels = _masks(opener, view, drive.name, options)
    return tracks.DriveTrack(
        drive.name,
        len(drive),
        view,
        np.asarray(view.intrinsics(drive.intrinsics), np.float32),
        world_from_camera=poses,
        timestamp=seconds,
        has_depth=options.with_truth and _has_points(drive),
        labelled=None if labels is None else labelled,
        labels=labels,
        drive=drive,
    )


def _masks(
    opener: Callable[[], mask_files.MaskFiles],
    view: view_lib.View,
    name: str,
    options: Options,
) -> track_labels.TrackLabels:
    # Tracks made on the way are made again when they are removed.
    made = options.annotation is not None
    return track_labels.OfMasks(opener, view, name=name, by_content=made)


def _has_points(drive: drive_lib.Drive) -> bool:
    try:
        return drive.points(0) is not None
    except DataError:
        return True  # It has them, but these are broken.


def _footage(options: Options, problems: Problems) -> list[tracks.Track]:
    if options.split or options.evaluation_split:
        raise ValueError("video has no splits: leave out split and evaluation_split")
    found = footage_lib.find(pathlib.Path(options.source).expanduser())
    opened: list[tracks.Track] = []
    for item in tqdm.tqdm(found, desc="counting frames", unit=" videos", disable=None):
        matrix = own_video.original_intrinsics(item, options.intrinsics)
        view = view_lib.centred(item.size, options.size, options.crop)
        count = len(item.files)
        if count == 1:
            count = footage_lib.count_frames(item.files[0])
            if count < item.expected:
                logging.warning(
                    "%s: has %d frames where its header announces %d",
                    item.files[0],
                    count,
                    item.expected,
                )
        with problems.caught():
            labels = None
            if options.labels is not None:
                masks = dataclasses.replace(options.labels, alone=len(found) == 1)
                opener = functools.partial(
                    masks.open,
                    item.name,
                    footage_lib.frame_names(item, count),
                    size=item.size,
                )
                labels = _masks(opener, view, item.name, options)
            opened.append(
                tracks.FootageTrack(
                    item.name,
                    count,
                    view,
                    None
                    if matrix is None
                    else np.asarray(view.intrinsics(matrix), np.float32),
                    labelled=None if labels is None else np.ones(count, bool),
                    labels=labels,
                    files=item.files,
                    original_size=item.size,
                )
            )
    return opened
