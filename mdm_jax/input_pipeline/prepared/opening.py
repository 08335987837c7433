"""Opening a source: its drives or videos become tracks, by what they are for.

What is small and may be wrong (calibration, poses, times) is read here, before hours of
decoding.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm
from absl import logging

from mdm_jax import config as config_lib
from mdm_jax.input_pipeline import footage as footage_lib
from mdm_jax.input_pipeline import raw_data, sources
from mdm_jax.input_pipeline.prepared import layout, tracks
from mdm_jax.input_pipeline.prepared.options import Options
from mdm_jax.input_pipeline.readers import drive as drive_lib
from mdm_jax.input_pipeline.readers import files
from mdm_jax.input_pipeline.readers import view as view_lib
from mdm_jax.input_pipeline.readers.errors import DataError, Problems


def open_tracks(options: Options, problems: Problems) -> dict[str, list[tracks.Track]]:
    """Returns the tracks of a source by TFDS split, `layout.TRAIN` first.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    if options.name == "video":
        return {layout.TRAIN: _footage(options)}
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
    drives = raw_data.open_split(dataset, options.evaluation_split, problems)
    parts = {layout.TRAIN: _drives(drives.train, options, problems)}
    if drives.test:
        parts[options.evaluation_split] = _drives(drives.test, options, problems)
    return parts


def _drives(
    drives: Sequence[drive_lib.Drive], options: Options, problems: Problems
) -> list[tracks.Track]:
    found: list[tracks.Track] = []
    crop = options.crop if any(options.crop) else None
    for drive in tqdm.tqdm(drives, desc="looking", unit=" drives", disable=None):
        view = view_lib.centred(
            drive.size, options.size, drive.crop if crop is None else crop
        )
        with problems.caught():
            found.append(_drive(drive, view, with_truth=options.with_truth))
    return found


def _drive(
    drive: drive_lib.Drive, view: view_lib.View, *, with_truth: bool
) -> tracks.Track:
    poses = drive.world_from_camera() if with_truth else None
    if poses is not None:
        # Only motion matters, and kilometres do not fit in float32.
        poses = poses - np.pad(poses[0, :3, 3:], ((0, 1), (3, 0)))[None]
    seconds = drive.timestamps()
    if not any(files.exists(path) for path in dict.fromkeys(drive.files)):
        raise DataError(
            drive.files[0], f"none of the {len(drive)} images of {drive.name} is there"
        )
    labelled = np.array(drive.labelled())
    return tracks.DriveTrack(
        drive.name,
        len(drive),
        view,
        np.asarray(view.intrinsics(drive.intrinsics), np.float32),
        world_from_camera=poses,
        timestamp=seconds,
        has_depth=with_truth and _has_points(drive),
        labelled=labelled if labelled.any() else None,
        drive=drive,
    )


def _has_points(drive: drive_lib.Drive) -> bool:
    try:
        return drive.points(0) is not None
    except DataError:
        return True  # It has them, but these are broken.


def _footage(options: Options) -> list[tracks.Track]:
    if options.split or options.evaluation_split:
        raise ValueError("video has no splits: leave out split and evaluation_split")
    found = footage_lib.find(pathlib.Path(options.source).expanduser())
    opened: list[tracks.Track] = []
    for item in tqdm.tqdm(found, desc="counting frames", unit=" videos", disable=None):
        matrix = sources.original_intrinsics(item, options.intrinsics)
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
        opened.append(
            tracks.FootageTrack(
                item.name,
                count,
                view,
                None
                if matrix is None
                else np.asarray(view.intrinsics(matrix), np.float32),
                files=item.files,
                original_size=item.size,
            )
        )
    return opened
