"""Verification of a prepared folder: every record is read and checked."""

from __future__ import annotations

import functools
import math
import os
import pathlib

import numpy as np

from mdm_jax.files import fingerprint, workers
from mdm_jax.files.errors import DataError
from mdm_jax.prepared import layout, reading, records
from mdm_jax.recording.arrays import Recording


def verify(path: str | os.PathLike[str], *, num_processes: int = 1) -> str:
    """Checks a prepared folder, and returns a line that says so.

    Shards have their size and SHA-256, all frames decode to the stated size, depth is
    finite and not negative, intrinsics and poses are valid, and TFDS, where it is
    installed, opens the folder and counts the same frames.

    Raises:
        DataError: a check failed; it names the file.
    """
    folder = layout.find(path)
    index = layout.read_index(folder)
    layout.check_shards(folder, index)
    features = ["image"]
    for name in ("depth", "instance_labels"):
        features += [name] * any(name in entry.has for entry in index.entries)
    workers.run(
        functools.partial(_check_shard, folder, index.size, features),
        index.shards,
        num_processes=num_processes,
        total=len(index.timestamp),
        title="verifying",
    )
    for entry in index.entries:
        _check_numbers(folder, index, entry)
    opened = _check_tfds(folder, index)
    return (
        f"{folder}: {len(index.timestamp)} frames in {len(index.shards)} shards and"
        f" {len(index.entries)} recordings are as they were written{opened}"
    )


def _check_shard(
    folder: pathlib.Path,
    size: tuple[int, int],
    features: list[str],
    shard: layout.Shard,
    tick: workers.Tick,
) -> None:
    path = folder / shard.file
    if fingerprint.content_digest(path) != shard.sha256:
        raise DataError(
            path,
            "its content has changed since it was written (another SHA-256): copy it"
            " again, or delete the folder and build it again",
        )
    stored = reading.Records(folder, [shard])
    for number in range(shard.num_frames):
        tick()
        for feature in features:
            values = stored.decoded(number, feature)
            expected = math.prod(size) * (3 if feature == "image" else 1)
            valid = values.size == expected
            if feature == "depth":
                valid &= bool(np.isfinite(values).all() and (values >= 0).all())
            if not valid:
                raise DataError(
                    path,
                    f"{feature} of record {number} does not have {size[0]}x{size[1]}"
                    " (height x width) valid pixels",
                )


def _check_numbers(
    folder: pathlib.Path, index: layout.Index, entry: layout.Entry
) -> None:
    poses, matrix = index.world_from_camera[entry.rows], entry.intrinsics
    try:
        Recording(
            entry.name,
            np.broadcast_to(np.uint8(0), (entry.num_frames, *index.size, 3)),
            intrinsics=None if matrix is None else np.array(matrix),
            world_from_camera=poses if "world_from_camera" in entry.has else None,
        )
    except ValueError as error:
        raise DataError(folder / layout.RECORDINGS, str(error)) from error


def _check_tfds(folder: pathlib.Path, index: layout.Index) -> str:
    try:
        tfds = records.import_tfds()
    except ImportError:
        return " (without TFDS, which is not installed)"
    splits = tfds.builder_from_directory(str(folder)).info.splits
    for part, split in splits.items():
        count = sum(entry.num_frames for entry in index.of_part(part))
        if split.num_examples != count:
            raise DataError(
                folder / layout.INFO,
                f"expected {count} frames in the split {part}, got"
                f" {split.num_examples}",
            )
    return ""
