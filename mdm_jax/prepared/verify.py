"""Verification: every record of a prepared folder is read back and looked at."""

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
    """Returns one line that says what was checked.

    Shards have their length and SHA-256, all frames decode to the stated size, depth
    is finite and not negative, intrinsics and poses are valid, and TFDS opens the
    folder, where it is installed, and counts as many frames.

    Raises:
        DataError: something is wrong; it names the shard or file.
    """
    folder = layout.find(path)
    index = layout.read_index(folder)
    layout.check_shards(folder, index)
    features = ["image"]
    for name in ("depth", "instance_labels"):
        features += [name] * any(name in one.has for one in index.stretches)
    workers.run(
        functools.partial(_check_shard, folder, index.size, features),
        index.shards,
        num_processes=num_processes,
        total=len(index.timestamp),
        title="verifying",
    )
    for one in index.stretches:
        _check_numbers(folder, index, one)
    opened = _check_tfds(folder, index)
    return (
        f"{folder}: {len(index.timestamp)} frames in {len(index.shards)} shards and"
        f" {len(index.stretches)} recordings are as they were written{opened}"
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
            "its content has changed since it was written (other SHA-256): copy it"
            " again, or delete the folder and build it again",
        )
    stored = reading.Records(folder, [shard])
    for number in range(shard.num_frames):
        tick()
        for feature in features:
            values = stored.decoded(number, feature)
            wanted = math.prod(size) * (3 if feature == "image" else 1)
            good = values.size == wanted
            if feature == "depth":
                good &= bool(np.isfinite(values).all() and (values >= 0).all())
            if not good:
                raise DataError(
                    path,
                    f"{feature} of record {number} is not of {size[1]} x {size[0]}"
                    " pixels, or not a depth",
                )


def _check_numbers(
    folder: pathlib.Path, index: layout.Index, one: layout.Stretch
) -> None:
    place = slice(one.start, one.start + one.num_frames)
    poses = index.world_from_camera[place]
    try:
        Recording(
            one.name,
            np.broadcast_to(np.uint8(0), (one.num_frames, *index.size, 3)),
            intrinsics=None if one.intrinsics is None else np.array(one.intrinsics),
            world_from_camera=poses if "world_from_camera" in one.has else None,
        )
    except ValueError as error:
        raise DataError(folder / layout.RECORDINGS, str(error)) from error


def _check_tfds(folder: pathlib.Path, index: layout.Index) -> str:
    try:
        tfds = records.import_tfds()
    except ImportError:
        return " (TFDS is not installed and was not asked)"
    splits = tfds.builder_from_directory(str(folder)).info.splits
    for part, found in splits.items():
        count = sum(one.num_frames for one in index.stretches if one.part == part)
        if found.num_examples != count:
            raise DataError(
                folder / layout.INFO,
                f"expected {count} frames in the split {part}, got"
                f" {found.num_examples}",
            )
    return ""
