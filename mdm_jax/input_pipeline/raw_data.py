"""Recordings of a raw data set, as a config describes them: to train on and held out.

What is held out follows from the split that is trained on, or is named by a list file.
Depth, camera poses and instance labels come along where the data set has them.
"""

from __future__ import annotations

import inspect
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import ml_collections
from absl import logging

from mdm_jax import sources
from mdm_jax.files import errors, file_content
from mdm_jax.input_pipeline import drive_masks, list_file, splits
from mdm_jax.masks import mask_set
from mdm_jax.recording import opening, own_recordings
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import intrinsics_file
from mdm_jax.sources.source import Source

# Splits that a rule derives. Their held-out part is for tests.
_RULES = {
    ("kitti_raw", "eigen"): splits.eigen,
    ("kitti_odometry", "odometry"): splits.odometry,
}
# Official splits: folders below the one that holds a data set's images, for training
# and, by `config.evaluation.split`, held out.
_WAYMO = {"training": {"validation": "validation", "test": "testing"}}
_FOLDERS = {
    "cityscapes": {"train": {"validation": "val", "test": "test"}},
    "waymo_v1": _WAYMO,
    "waymo_v2": _WAYMO,
}
_IMAGES = {"cityscapes": "leftImg8bit_sequence"}


class Parts(NamedTuple):
    """What to train on, and what never to."""

    train: list[Recording]
    held_out: list[Recording]


def open_recordings(dataset: ml_collections.ConfigDict) -> list[Recording]:
    """Returns the recordings to train on; see `open_parts`."""
    return open_parts(dataset, held_out="").train


def open_video(dataset: ml_collections.ConfigDict) -> list[Recording]:
    """Returns the recordings of a user's own video that `config.dataset` names."""
    return own_recordings.open_video(
        dataset.path,
        size=dataset.size,
        crop=dataset.crop,
        fit=sources.fit_of("video", dataset.fit),
        intrinsics=dataset.intrinsics,
        cache_dir=dataset.cache_dir,
        masks=mask_set.from_config(dataset),
        problems=errors.Problems(dataset.on_error),
    )


def open_parts(
    dataset: ml_collections.ConfigDict,
    *,
    held_out: str,
    labelled_only: bool = False,
) -> Parts:
    """Returns the recordings that `config.dataset` names.

    Everything is checked before anything is decoded.

    Args:
        dataset: `name`, `path`, `split`, `held_out`, `size`, `crop`, `fit`,
            `intrinsics`, `frame_stride`, `clip_length`, `with_truth`, `masks` and how to
            read these, `on_error` and `cache_dir`.
        held_out: which part of the split to hold out, `test` or `validation`, where it
            is on disk; empty for none at all.
        labelled_only: leave out frames without instance labels, also of those held
            out.

    Raises:
        ValueError: an option does not fit the data set, or a file is broken
            (`sources.DataError`, which names it); `labelled_only`, and no frame to train
            on has labels; `masks` are given, and a drive to train on has none.
        OSError: the cache cannot be written, or there is no file of intrinsics.
    """
    if not dataset.path:
        raise ValueError(
            f"config.dataset.path expects the folder of {dataset.name}, got nothing: "
            "pass --config.dataset.path=..."
        )
    problems = errors.Problems(dataset.on_error)
    try:
        drives = open_split(dataset, held_out, problems)
        for drive in (*drives.train, *drives.test):
            intrinsics_file.of_source(drive, dataset.intrinsics)
        drives = drive_masks.with_masks(drives, dataset, problems)
        if labelled_only:
            drives = drive_masks.labelled(drives, dataset, problems)
        parts = Parts(
            *(_open_recordings(part, dataset, problems=problems) for part in drives)
        )
    except errors.DataError as error:
        if dataset.on_error == "skip":
            raise
        raise errors.DataError(
            error.path,
            f"{error.problem} (--config.dataset.on_error=skip leaves out what is"
            " broken, and counts it)",
        ) from error
    for title, part in zip(("to train on", "held out"), parts, strict=True):
        _log(f"{dataset.name}, {title}", part)
    if problems.errors:
        logging.warning("%s: %s", dataset.name, problems.summary())
    if not parts.train:
        raise ValueError(
            f"{dataset.path}: no usable recording of {dataset.name}; "
            f"{problems.summary()}"
        )
    return parts


def open_split(
    dataset: ml_collections.ConfigDict, held_out: str, problems: errors.Problems
) -> splits.Split:
    """Returns the drives to train on and those held out."""
    name, split = dataset.name, dataset.split
    if (name, split) in _RULES:
        drives = _RULES[name, split](_open_drives(dataset, problems))
        if not drives.train:
            raise ValueError(
                f"{dataset.path}: all drives there belong to the test part of the "
                f"split {split!r}: add others, or clear config.dataset.split"
            )
        # One eye tells as much as two. Published test frames are of the left one.
        test = [drive for drive in drives.test if drive.side != "r"]
        drives = drives._replace(test=_rule_part(dataset, held_out, test))
    elif _is_list(split):
        every = _open_drives(dataset, problems)
        reach = (dataset.clip_length - 1) * dataset.frame_stride
        drives = splits.Split(_listed(every, split, before=reach, after=reach), [])
        if not drives.train:
            raise ValueError(f"{dataset.path}: no frame of {split} is there")
    elif not split:
        drives = splits.Split(_open_drives(dataset, problems), [])
    elif "split" in inspect.signature(sources.READERS[name]).parameters:
        drives = splits.Split(
            _open_drives(dataset, problems, split=split),
            _folder_part(dataset, held_out, problems),
        )
    else:
        known = [rule for reader, rule in _RULES if reader == name]
        raise ValueError(
            f"config.dataset.split of {name} expects "
            f"{', '.join(map(repr, ['', *known]))} or the path of a list file,"
            f" got {split!r}"
        )
    if dataset.held_out:
        # Not trained on even where nobody evaluates on them now.
        after = dataset.frame_stride
        entries = list_file.read_list(dataset.held_out)
        train = splits.without(drives.train, _both_eyes(entries, after=after))
        if not train:
            raise ValueError(
                f"{dataset.path}: {dataset.held_out} holds out all frames there"
            )
        every = _open_drives(dataset, problems) if held_out else []
        test = _listed(every, dataset.held_out, after=after) if held_out else []
        drives = splits.Split(train, test)
    return drives


def _both_eyes(
    entries: Sequence[list_file.Entry], *, after: int
) -> list[list_file.Entry]:
    """Returns listed frames as either camera sees them, and so many after each.

    The other camera shows the same moment, half a metre beside, and the frames after are
    held out with those that are matched onto them.
    """
    return [
        entry._replace(
            frame=None if entry.frame is None else entry.frame + step, side=""
        )
        for entry in entries
        for step in range(1 if entry.frame is None else after + 1)
    ]


def _open_drives(
    dataset: ml_collections.ConfigDict, problems: errors.Problems, **options: str
) -> list[Source]:
    return sources.open_sources(
        dataset.name, dataset.path, problems=problems, **options
    )


def _is_list(split: str) -> bool:
    """Returns whether the name of a split is the path of a list file."""
    return split.endswith(".txt") or os.sep in split


def _listed(
    drives: Sequence[Source], path: str, *, before: int = 0, after: int
) -> list[Source]:
    """Returns the frames of a list file with neighbours; logs what is missing."""
    entries = list_file.read_list(path)
    single = [entry for entry in entries if entry.frame is not None]
    if single:
        logging.info("%s: %s", path, splits.locate(single, drives).report())
    return splits.around(drives, entries, before=before, after=after)


def _rule_part(
    dataset: ml_collections.ConfigDict, held_out: str, test: list[Source]
) -> list[Source]:
    if not held_out or dataset.held_out:
        return []
    if held_out != "test":
        raise ValueError(
            f"config.evaluation.split={held_out!r}: the split {dataset.split!r} of"
            f" {dataset.name} has a test part only; pass"
            " --config.evaluation.split=test, or --config.dataset.held_out=LIST"
        )
    if not test:
        _log_missing(dataset, f"the test part of the split {dataset.split!r}")
    return test


def _folder_part(
    dataset: ml_collections.ConfigDict, held_out: str, problems: errors.Problems
) -> list[Source]:
    """Returns the drives of the official split's other part."""
    folder = _FOLDERS[dataset.name].get(dataset.split, {}).get(held_out, "")
    if not folder or dataset.held_out:
        return []
    place = pathlib.Path(dataset.path).expanduser() / _IMAGES.get(dataset.name, "")
    if not file_content.is_folder(place / folder):
        _log_missing(dataset, f"the folder {place / folder}")
        return []
    return _open_drives(dataset, problems, split=folder)


def _log_missing(dataset: ml_collections.ConfigDict, what: str):
    logging.info(
        "%s: %s is not in %s: nothing is held out, metrics are of training drives only",
        dataset.name,
        what,
        dataset.path,
    )


def _open_recordings(
    drives: list[Source],
    dataset: ml_collections.ConfigDict,
    *,
    problems: errors.Problems,
) -> list[Recording]:
    masks = mask_set.from_config(dataset)
    return [
        recording
        for drive in drives
        for recording in opening.open_recordings(
            [drive],
            size=tuple(dataset.size),
            crop=tuple(dataset.crop) if any(dataset.crop) else None,
            fit=sources.fit_of(dataset.name, dataset.fit),
            intrinsics=dataset.intrinsics,
            with_poses=dataset.with_truth,
            with_depth=dataset.with_truth,
            with_labels=masks is None,
            masks=masks if drive_masks.has(drive, masks) else None,
            cache_dir=dataset.cache_dir,
            problems=problems,
        )
    ]


def _log(title: str, found: list[Recording]):
    if not found:
        return
    known = {
        "depth": "depth",
        "camera poses": "world_from_camera",
        "instance labels": "instance_labels",
    }
    counts = [
        f"{what} of {sum(getattr(one, field) is not None for one in found)}"
        for what, field in known.items()
    ]
    logging.info(
        "%s: %d recordings, %d frames; %s",
        title,
        len(found),
        sum(map(len, found)),
        ", ".join(counts),
    )
