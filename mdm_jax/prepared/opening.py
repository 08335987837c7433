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
from mdm_jax import sources
from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import raw_data, splits
from mdm_jax.masks import mask_files, mask_set
from mdm_jax.prepared import layout, track_labels, tracks
from mdm_jax.prepared.options import Options
from mdm_jax.sources.source import Source


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


def clips(options: Options) -> list[Source]:
    """Returns the sources of all that a build reads, whole drives of those it cuts.

    Without those that are only held out and have no masks to make tracks of.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    if options.name == "video":
        return sources.open_sources("video", options.source, intrinsics="learned")
    drives = _split(options, Problems(options.on_error))
    held_out = drives.test
    # And not a network or a function.
    if options.masks and pathlib.Path(options.masks).expanduser().exists():
        masks = mask_set.MaskSet(root=options.masks)
        held_out = [drive for drive in held_out if raw_data.has_masks(drive, masks)]
    whole = [drive.whole for drive in (*drives.train, *held_out)]
    return [
        dataclasses.replace(drive, on_error=options.on_error)
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
    drives: Sequence[Source],
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
    drive: Source, view: view_lib.View, options: Options, *, has_masks: bool
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
            opener = functools.partial(drive.open_masks, options.labels)
            labels = _masks(opener, view, drive.name, options)
    return tracks.Track(
        drive.name,
        len(drive),
        view,
        None
        if drive.intrinsics is None
        else np.asarray(view.intrinsics(drive.intrinsics), np.float32),
        world_from_camera=poses,
        timestamp=seconds,
        has_depth=options.with_truth and _has_points(drive),
        labelled=None if labels is None else labelled,
        labels=labels,
        source=drive,
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


def _has_points(drive: Source) -> bool:
    try:
        return drive.points(0) is not None
    except DataError:
        return True  # It has them, but these are broken.


def _footage(options: Options, problems: Problems) -> list[tracks.Track]:
    if options.split or options.evaluation_split:
        raise ValueError("video has no splits: leave out split and evaluation_split")
    found = sources.open_sources("video", options.source, intrinsics=options.intrinsics)
    masks = options.labels
    if masks is not None:
        masks = dataclasses.replace(masks, alone=len(found) == 1)
    opened: list[tracks.Track] = []
    for item in tqdm.tqdm(found, desc="counting frames", unit=" videos", disable=None):
        view = view_lib.centred(item.size, options.size, options.crop)
        source = item.counted()
        if len(source) < len(item):
            logging.warning(
                "%s: has %d frames where its header announces %d",
                item.files[0],
                len(source),
                len(item),
            )
        with problems.caught():
            labels = None
            if masks is not None:
                opener = functools.partial(source.open_masks, masks)
                labels = _masks(opener, view, source.name, options)
            opened.append(
                tracks.Track(
                    source.name,
                    len(source),
                    view,
                    None
                    if source.intrinsics is None
                    else np.asarray(view.intrinsics(source.intrinsics), np.float32),
                    labelled=None if labels is None else np.ones(len(source), bool),
                    labels=labels,
                    source=source,
                )
            )
    return opened
