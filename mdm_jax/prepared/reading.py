"""Recordings of a prepared folder, decoded on demand.

A stored array represents `[n h w ...]` of a recording as a memory map would: indexing
reads and decodes only the requested frames. Nothing is kept in memory, and pickling an
array for a worker process sends only its location.
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
from mdm_jax.sources import source as source_lib


class Parts(NamedTuple):
    """The recordings for training, and those held out from it."""

    train: list[Recording]
    held_out: list[Recording]


def open_parts(
    dataset: ml_collections.ConfigDict, *, held_out: str, labelled_only: bool = False
) -> Parts:
    """Returns the recordings of the prepared folder that `config.dataset` names.

    Args:
        dataset: `path`, `size`, `crop`, `fit`, `split`, `held_out`, `with_truth` and
            `intrinsics`, empty or `learned`; `size` must be that of the build, and so
            must `crop`, `fit`, `split` and `held_out` where they are set.
        held_out: the part to hold out, `test` or `validation`, if it was built.
        labelled_only: leave out frames without instance labels.

    Raises:
        DataError: there is no finished data set, or a shard is missing or cut off.
        ValueError: the config does not fit the build, or labels are needed and missing.
    """
    if not dataset.path:
        raise ValueError(
            "config.dataset.path is empty: pass --config.dataset.path=FOLDER with a"
            " folder made by mdm-prepare"
        )
    folder = layout.find(dataset.path)
    index = layout.read_index(folder)
    layout.check_shards(folder, index)
    _check_options(folder, index, dataset)
    stored = Records(folder, index.shards)
    train, test = index.of_part(layout.TRAIN), index.of_part(held_out)
    if labelled_only:
        train, test = _labelled(index, train), _labelled(index, test)
        if not train:
            raise ValueError(
                f"{folder}: no two neighbouring frames have instance labels; build it"
                " again with --masks, or train without labels:"
                " config.instance_motion.object_pose=none or"
                " config.motion_field.use_mask=False"
            )

    def recordings(entries: list[layout.Entry], title: str) -> list[Recording]:
        frames = sum(entry.num_frames for entry in entries)
        message = "%s, %s: %d recordings, %d frames"
        logging.info(message, folder, title, len(entries), frames)
        options = {
            "with_truth": dataset.with_truth,
            "learned": dataset.intrinsics == "learned",
        }
        return [_recording(index, one, stored, **options) for one in entries]

    return Parts(recordings(train, "for training"), recordings(test, "held out"))


def fit(path: str) -> str:
    """Returns how the frames of a prepared folder were brought to their size.

    Raises:
        DataError: there is no finished data set.
    """
    return layout.read_index(layout.find(path)).fit


def _check_options(
    folder: pathlib.Path, index: layout.Index, dataset: ml_collections.ConfigDict
) -> None:
    options = {
        "size": (tuple(dataset.size), index.size),
        "crop": (tuple(dataset.crop), index.crop),
        "fit": (dataset.fit, index.fit),
        "split": (dataset.split, index.split),
        "held_out": (dataset.held_out, index.held_out),
    }
    for name, (requested, built) in options.items():
        # All but the size may be left empty in a config.
        if requested != built and (name == "size" or any(requested)):
            raise ValueError(
                f"{folder} was built with {name}={built!r}, config.dataset.{name} is"
                f" {requested!r}: change it, or build another with --{name}"
            )
    if dataset.intrinsics not in ("", "learned"):
        # The original frames, which the numbers would belong to, are not known here.
        raise ValueError(
            "config.dataset.intrinsics: a prepared data set has the intrinsics of its"
            " build; build another with --intrinsics, clear it, or set it to 'learned'"
        )
    if dataset.masks:
        raise ValueError(
            "config.dataset.masks: a prepared data set has the instance labels of its"
            " build; build another with --masks, or read the raw data set in place"
        )


def _labelled(
    index: layout.Index, entries: Sequence[layout.Entry]
) -> list[layout.Entry]:
    """Returns the runs of at least two frames that have instance labels."""
    labelled = []
    for entry in entries:
        frames = np.flatnonzero(index.labelled[entry.rows]).tolist()
        for run in source_lib.runs(frames) if frames else []:
            first, count = frames[run.start], run.stop - run.start
            if count == entry.num_frames:
                labelled.append(entry)
            elif count > 1:
                name, start = f"{entry.name}/{first}", entry.start + first
                part = dataclasses.replace(
                    entry, name=name, start=start, num_frames=count
                )
                labelled.append(part)
    return labelled


def _recording(
    index: layout.Index,
    entry: layout.Entry,
    stored: Records,
    *,
    with_truth: bool,
    learned: bool,
) -> Recording:
    def array(feature: str, dtype: type, *channels: int) -> Any:
        shape = (entry.num_frames, *index.size, *channels)
        return StoredArray(stored, feature, entry.start, shape, np.dtype(dtype))

    known = set(entry.has)
    if not with_truth:
        known -= {"depth", "world_from_camera"}
    if not index.labelled[entry.rows].all():
        known -= {"instance_labels"}
    matrix = None if learned else entry.intrinsics
    poses = index.world_from_camera[entry.rows]
    return Recording(
        entry.name,
        array("image", np.uint8, 3),
        intrinsics=None if matrix is None else np.array(matrix, np.float32),
        depth=array("depth", np.float32) if "depth" in known else None,
        world_from_camera=poses if "world_from_camera" in known else None,
        instance_labels=array("instance_labels", np.uint8)
        if "instance_labels" in known
        else None,
        changes=layout.changes(index, entry),
    )


class Records:
    """The records of a folder by number; shards are opened at their first use."""

    def __init__(self, folder: pathlib.Path, shards: Sequence[layout.Shard]):
        """Opens the records of shards, in their order."""
        # Comes with Grain, but not on Windows.
        from array_record.python import array_record_data_source

        self._folder = folder
        self._shards = tuple(shards)
        self._ends = np.cumsum([shard.num_frames for shard in self._shards])
        # With the counts given, no shard is opened yet.
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
    """An array `[n h w ...]` in records, decoded when it is indexed."""

    def __init__(
        self,
        stored: Records,
        feature: str,
        start: int,
        shape: tuple[int, ...],
        dtype: np.dtype,
    ):
        """Describes the array of a feature of consecutive records.

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
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Returns a decoded frame, or the frames of a slice or list of indices."""
        if isinstance(key, slice):
            numbers = range(*key.indices(len(self)))
        elif np.ndim(key) == 0:
            return self._frame(range(len(self))[key])
        else:
            numbers = [range(len(self))[number] for number in key]
        frames = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for row, number in enumerate(numbers):
            frames[row] = self._frame(number)
        return frames

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._frame(number) for number in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("encoded frames cannot be read without a copy")
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
