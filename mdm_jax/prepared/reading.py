"""Recordings of a prepared folder: frames are decoded when they are asked for.

A stored array stands for `[n h w ...]` of a recording as a memory map would: indexing
it reads and decodes just the frames named. Nothing is kept in memory, and what travels
to a worker process is where the frames lie.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import ml_collections
import numpy as np
from absl import logging

from mdm_jax.files.errors import DataError
from mdm_jax.prepared import layout, records
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources.source import runs


class Parts(NamedTuple):
    """What to train on, and what never to."""

    train: list[Recording]
    held_out: list[Recording]


def open_parts(
    dataset: ml_collections.ConfigDict, *, held_out: str, labelled_only: bool = False
) -> Parts:
    """Returns the recordings of the prepared folder that `config.dataset` names.

    Args:
        dataset: `path`, `size`, `crop`, `split`, `held_out` and `with_truth`; size must
            be what was built, and so must crop, split and held_out where they are set.
        held_out: which part to hold out, `test` or `validation`, if it was built.
        labelled_only: leave out frames without instance labels, where some have them.

    Raises:
        DataError: there is no finished data set, or a shard is missing or cut off.
        ValueError: the config asks for something else than was built.
    """
    if not dataset.path:
        raise ValueError(
            "config.dataset.path expects a folder that datasets/build.py made, got"
            " nothing: pass --config.dataset.path=..."
        )
    folder = layout.find(dataset.path)
    index = layout.read_index(folder)
    layout.check_shards(folder, index)
    _check_options(folder, index, dataset)
    stored = Records(folder, index.shards)
    train, held = (_stretches(index, part) for part in (layout.TRAIN, held_out))
    if labelled_only:
        labelled = _labelled(index, train)
        # Without any, whoever needs them says so, and what else may be done.
        train, held = (labelled, _labelled(index, held)) if labelled else (train, [])
    found = Parts(
        *(
            [
                _recording(index, one, stored, with_truth=dataset.with_truth)
                for one in stretches
            ]
            for stretches in (train, held)
        )
    )
    for title, part in zip(("to train on", "held out"), found, strict=True):
        logging.info(
            "%s, %s: %d recordings, %d frames",
            folder,
            title,
            len(part),
            sum(map(len, part)),
        )
    return found


def _check_options(
    folder: pathlib.Path, index: layout.Index, dataset: ml_collections.ConfigDict
) -> None:
    wanted = {
        "size": (tuple(dataset.size), index.size),
        "crop": (tuple(dataset.crop), index.crop),
        "split": (dataset.split, index.split),
        "held_out": (dataset.held_out, index.held_out),
    }
    for name, (asked, built) in wanted.items():
        # A config may leave the others open.
        if asked != built and (name == "size" or any(asked)):
            raise ValueError(
                f"{folder} was built with {name}={built!r}, config.dataset.{name} is"
                f" {asked!r}: change it, or build another with --{name}"
            )
    if dataset.masks:
        raise ValueError(
            "config.dataset.masks: a prepared data set has the instance labels it was"
            " built with; build another with --masks, or read the raw data set in place"
        )


def _stretches(index: layout.Index, part: str) -> list[layout.Stretch]:
    return [one for one in index.stretches if one.part == part]


def _labelled(
    index: layout.Index, stretches: Sequence[layout.Stretch]
) -> list[layout.Stretch]:
    """Returns the runs of at least two frames that have instance labels."""
    kept = []
    for one in stretches:
        rows = index.labelled[one.start : one.start + one.num_frames]
        frames = np.flatnonzero(rows).tolist()
        for run in runs(frames) if frames else []:
            count = run.stop - run.start
            if count == len(rows):
                kept.append(one)
            elif count > 1:
                first = frames[run.start]
                kept.append(
                    dataclasses.replace(
                        one,
                        name=f"{one.name}/{first}",
                        start=one.start + first,
                        num_frames=count,
                    )
                )
    return kept


def _recording(
    index: layout.Index, one: layout.Stretch, stored: Records, *, with_truth: bool
) -> Recording:
    place = slice(one.start, one.start + one.num_frames)

    def array(feature: str, dtype: type, *channels: int) -> Any:
        shape = (one.num_frames, *index.size, *channels)
        return StoredArray(stored, feature, one.start, shape, np.dtype(dtype))

    has_labels = "instance_labels" in one.has and bool(index.labelled[place].all())
    return Recording(
        one.name,
        array("image", np.uint8, 3),
        intrinsics=None
        if one.intrinsics is None
        else np.array(one.intrinsics, np.float32),
        depth=array("depth", np.float32) if with_truth and "depth" in one.has else None,
        world_from_camera=index.world_from_camera[place]
        if with_truth and "world_from_camera" in one.has
        else None,
        instance_labels=array("instance_labels", np.uint8) if has_labels else None,
        changes=layout.changes(index, one),
    )


class Records:
    """The records of a folder by number. Files are opened when they are first read."""

    def __init__(self, folder: pathlib.Path, shards: Sequence[layout.Shard]):
        """Makes the records of shards, in their order."""
        # Comes with Grain, but not on Windows.
        from array_record.python import array_record_data_source

        self._folder = folder
        self._shards = tuple(shards)
        self._ends = np.cumsum([shard.num_frames for shard in self._shards])
        # Counts are told, so that opening a thousand files can wait.
        self._source = array_record_data_source.ArrayRecordDataSource(
            [f"{folder / shard.file}[0:{shard.num_frames}]" for shard in self._shards]
        )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def decoded(self, number: int, feature: str) -> np.ndarray:
        """Returns the image, depth (flat) or labels of a record.

        Raises:
            DataError: it cannot be read; it names the shard.
        """
        try:
            return records.decode(self._source[number], feature)
        except (RuntimeError, ValueError, IndexError, OSError) as error:
            raise self._broken(number, error) from error

    def _broken(self, number: int, error: Exception) -> DataError:
        shard = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[shard - 1]) if shard else 0
        return DataError(
            self._folder / self._shards[shard].file,
            f"record {number - before} cannot be read ({error}): copy the file again,"
            " or delete the folder and build it again",
        )


class StoredArray:
    """Stands for `[n h w ...]`; holds where it lies and decodes what is asked for."""

    def __init__(
        self,
        stored: Records,
        feature: str,
        start: int,
        shape: tuple[int, ...],
        dtype: np.dtype,
    ):
        """Makes the array of a feature of consecutive records.

        Args:
            stored: all records.
            feature: `image`, `depth` or `instance_labels`.
            start: number of the first record.
            shape: `[n h w ...]`.
            dtype: of the values.
        """
        self._stored = stored
        self._feature = feature
        self._start = start
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Returns a frame, or the frames of a slice or of a list of numbers, decoded."""
        if isinstance(key, slice):
            numbers = range(*key.indices(len(self)))
        elif np.ndim(key) == 0:
            return self._frame(range(len(self))[key])
        else:
            numbers = [range(len(self))[number] for number in key]
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for place, number in enumerate(numbers):
            found[place] = self._frame(number)
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._frame(number) for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("frames that are stored encoded have to be copied")
        return self[:] if dtype is None else self[:].astype(dtype)

    def __repr__(self) -> str:
        return f"StoredArray({self._feature}, {self.shape}, {self.dtype})"

    def _frame(self, number: int) -> np.ndarray:
        frame = self._stored.decoded(self._start + number, self._feature)
        if frame.dtype != self.dtype or frame.size != np.prod(self.shape[1:]):
            raise self._stored._broken(
                self._start + number,
                ValueError(f"expected {self.shape[1:]}, got {frame.shape}"),
            )
        return frame.reshape(self.shape[1:])
