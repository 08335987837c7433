"""One shard: an ArrayRecord file of frames, and notes on its content.

The notes, a small JSON file, are written after the shard and mark its completion.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from mdm_jax.files import atomic, fingerprint, workers
from mdm_jax.input_pipeline import clips
from mdm_jax.prepared import layout, plan, records
from mdm_jax.prepared.options import Options
from mdm_jax.prepared.viewed_source import Frame, ViewedSource

# Single records can be read; encoded images do not compress further.
_WRITER = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Notes:
    """The content of a shard.

    Attributes:
        shard: the file.
        record_bytes: total length of the records.
        kept: for each piece of the plan the frames that could be read.
        changes: of each record, see `layout.Index`.
        known_depth: mean fraction of pixels with known depth; None without depth.
        problems: (file, problem) of each broken file.
    """

    shard: layout.Shard
    record_bytes: int
    kept: list[list[int]]
    changes: list[list[float]]
    known_depth: float | None
    problems: list[tuple[str, str]]


def write_job(
    options: Options,
    optional: tuple[str, ...],
    job: Sequence[plan.PlannedShard],
    tick: workers.Tick = lambda: None,
) -> None:
    """Writes those shards of a job that are not complete, with their notes.

    Args:
        options: of the build.
        optional: the features of `records.OPTIONAL` that the records have.
        job: the shards.
        tick: called for each frame; an exception that it raises ends the work.

    Raises:
        DataError: a source file is broken and `options.on_error` is `raise`.
        OSError: a shard cannot be written.
    """
    for shard in job:
        if read_notes(options.folder, shard) is None:
            _write(options, optional, shard, tick)
        else:
            for _ in range(shard.num_frames):
                tick()


def _write(
    options: Options,
    optional: tuple[str, ...],
    shard: plan.PlannedShard,
    tick: workers.Tick,
) -> None:
    folder = options.folder
    encode = records.encoder(options.size, options.image_format, optional)
    kept: list[list[int]] = []
    changes: list[list[float]] = []
    problems: list[tuple[str, str]] = []
    known: list[float] = []
    record_bytes = 0
    with atomic.replacing(folder / shard.file, sync=True) as temporary:
        temporary.touch()
        writer = _guarded(
            folder, array_record_module.ArrayRecordWriter, str(temporary), _WRITER
        )
        try:
            for piece in shard.pieces:
                kept.append([])
                for index, frame, frame_changes in _compared(piece):
                    tick()
                    for error in frame.problems:
                        if options.on_error == "raise":
                            raise error
                        problems.append((error.path, error.problem))
                    if frame.image is None:
                        continue
                    content = encode(_features(piece.source, index, frame, optional))
                    _guarded(folder, writer.write, content)
                    record_bytes += len(content)
                    kept[-1].append(index)
                    changes.append(frame_changes)
                    if frame.depth is not None:
                        known.append(np.count_nonzero(frame.depth) / frame.depth.size)
        finally:
            _guarded(folder, writer.close)
        written = layout.Shard(
            shard.file,
            sum(map(len, kept)),
            temporary.stat().st_size,
            fingerprint.content_digest(temporary),
        )
    known_depth = float(np.mean(known)) if known else None
    notes = Notes(written, record_bytes, kept, changes, known_depth, problems)
    atomic.write_json(_notes_path(folder, shard), dataclasses.asdict(notes), sync=True)


def read_notes(folder: pathlib.Path, shard: plan.PlannedShard) -> Notes | None:
    """Returns the notes of a complete shard; None if it is not complete."""
    try:
        value = json.loads(_notes_path(folder, shard).read_text())
        length = (folder / shard.file).stat().st_size
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    notes = Notes(**{**value, "shard": layout.Shard(**value["shard"])})
    return notes if length == notes.shard.num_bytes else None


def _notes_path(folder: pathlib.Path, shard: plan.PlannedShard) -> pathlib.Path:
    return folder / layout.NOTES / f"{shard.number:05d}.json"


def _guarded(folder: pathlib.Path, function: Any, *args: Any) -> Any:
    """Returns the result of a function of ArrayRecord, with errors that name a file."""
    try:
        return function(*args)
    except RuntimeError as error:
        raise OSError(
            f"cannot write to {folder}: {error}. Is the disk full? With free space, the"
            " same command goes on"
        ) from error


def _compared(piece: plan.Piece) -> Iterator[tuple[int, Frame, list[float]]]:
    """Yields index, content and changes of each frame, see `layout.Index`."""
    source, start, stop = piece
    ahead: collections.deque[Frame] = collections.deque()
    end = min(stop + layout.NUM_STRIDES, len(source))
    for index in range(start, stop):
        while len(ahead) <= layout.NUM_STRIDES and index + len(ahead) < end:
            later = index + len(ahead)
            # Of the frames after the piece, only the images are needed.
            inside = later < stop
            ahead.append(
                source.frame(later) if inside else Frame(source.image(later, []))
            )
        frame = ahead.popleft()
        changes = [math.nan] * layout.NUM_STRIDES
        for number, other in enumerate(ahead):
            if frame.image is not None and other.image is not None:
                changes[number] = clips.change(frame.image, other.image)
        yield index, frame, changes


def _features(
    source: ViewedSource, index: int, frame: Frame, optional: tuple[str, ...]
) -> dict[str, Any]:
    """Returns the features of a record."""
    size, depth, labels = source.view.size, frame.depth, frame.labels
    known = {
        "timestamp": np.float64(source.timestamp[index]),
        "world_from_camera": np.asarray(source.world_from_camera[index], np.float64),
        "depth": np.zeros(size, np.float32) if depth is None else depth,
        "instance_labels": np.zeros(size, np.uint8) if labels is None else labels,
    }
    matrix = source.intrinsics
    if matrix is None:
        matrix = np.full((3, 3), math.nan, np.float32)
    return {
        "image": frame.image,
        "intrinsics": matrix,
        "recording": source.name,
        "frame": index,
        **{name: known[name] for name in optional},
    }
