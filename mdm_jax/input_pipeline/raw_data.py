"""Training recordings of a raw data set, as a config describes them.

Frames and intrinsics only: known depth and poses are for evaluation, and masks need ids
that persist, which most data sets do not give.
"""

from __future__ import annotations

import inspect
from typing import Any

import ml_collections
from absl import logging

from mdm_jax.input_pipeline import readers, splits
from mdm_jax.input_pipeline.readers import errors, recordings
from mdm_jax.input_pipeline.readers.drive import Drive
from mdm_jax.input_pipeline.recording import Recording


def open_recordings(dataset: ml_collections.ConfigDict) -> list[Recording]:
    """Returns the recordings that `config.dataset` names.

    Args:
        dataset: `name`, `path`, `split`, `size`, `crop`, `on_error` and `cache_dir`.

    Raises:
        ValueError: an option does not fit the data set, or a file is broken
            (`readers.DataError`, which names it).
        OSError: the cache cannot be written.
    """
    if not dataset.path:
        raise ValueError(
            f"config.dataset.path expects the folder of {dataset.name}, got nothing: "
            "pass --config.dataset.path=..."
        )
    problems = errors.Problems(dataset.on_error)
    drives = _open_drives(dataset, problems)
    found = recordings.open_recordings(
        drives,
        size=tuple(dataset.size),
        crop=tuple(dataset.crop) if any(dataset.crop) else None,
        with_poses=False,
        cache_dir=dataset.cache_dir,
        problems=problems,
    )
    frames = sum(len(one) for one in found)
    logging.info("%s: %d recordings, %d frames", dataset.name, len(found), frames)
    if problems.errors:
        logging.warning("%s: %s", dataset.name, problems.summary())
    if not found:
        raise ValueError(
            f"{dataset.path}: no usable recording of {dataset.name}; "
            f"{problems.summary()}"
        )
    return found


def _open_drives(
    dataset: ml_collections.ConfigDict, problems: errors.Problems
) -> list[Drive]:
    name, split = dataset.name, dataset.split
    rules = {("kitti_raw", "eigen"): splits.eigen}
    rules |= {("kitti_odometry", "odometry"): splits.odometry}
    options: dict[str, Any] = {}
    if split and (name, split) not in rules:
        if "split" not in inspect.signature(readers.READERS[name]).parameters:
            known = [rule for reader, rule in rules if reader == name]
            raise ValueError(
                f"config.dataset.split of {name} expects "
                f"{' or '.join(map(repr, ['', *known]))}, got {split!r}"
            )
        options["split"] = split
    drives = readers.open_drives(name, dataset.path, problems=problems, **options)
    if (name, split) in rules:
        drives = rules[name, split](drives).train
        if not drives:
            raise ValueError(
                f"{dataset.path}: all drives there belong to the test part of the "
                f"split {split!r}: add others, or clear config.dataset.split"
            )
    return drives
