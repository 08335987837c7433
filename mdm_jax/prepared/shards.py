"""One shard: an ArrayRecord file of frames, and the notes of what went into it.

The notes, a small JSON file, are written after the shard and say that it is complete.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from array_record.python import (
    array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
)

from mdm_jax.files import atomic, fingerprint
from mdm_jax.input_pipeline import clips
from mdm_jax.prepared import layout, plan, records, tracks
from mdm_jax.prepared.options import Options

# One record at a time can be read; images do not shrink a second time.
_WRITER = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Notes:
    """What went into a shard.

    Attributes:
        shard: the file.
        record_bytes: length of the records alone.
        kept: for each piece of the plan the frames that could be read.
        changes: for each record, see `layout.Index`.
        known_depth: mean share of pixels with known depth; None without depth.
        problems: (file, problem) of what could not.
    """

    shard: layout.Shard
    record_bytes: int
    kept: list[list[int]]
    changes: list[list[float]]
    known_depth: float | None
    problems: list[tuple[str, str]]


def write(
    options: Options,
    optional: tuple[str, ...],
    shard: plan.PlannedShard,
    tick: Callable[[], None],
) -> None:
    """Writes a shard and its notes, unless both are there.

    Args:
        options: of the build.
        optional: which features of `records.OPTIONAL` the records have.
        shard: what goes into it.
        tick: called for each frame; what it raises ends the work.

    Raises:
        DataError: a file of the source is broken, and is not to be skipped.
        OSError: the shard cannot be written.
    """
    folder = options.folder
    if read_notes(folder, shard) is not None:
        for _ in range(shard.num_frames):
            tick()
        return
    encode = records.encoder(options.size, options.image_format, optional)
    path = folder / shard.file
    kept: list[list[int]] = []
    changes: list[list[float]] = []
    problems: list[tuple[str, str]] = []
    known: list[float] = []
    record_bytes = 0
    with atomic.replacing(path, sync=True) as temporary:
        temporary.touch()
        writer = _guarded(
            folder, array_record_module.ArrayRecordWriter, str(temporary), _WRITER
        )
        try:
            for piece in shard.pieces:
                kept.append([])
                for index, frame, differs in _compared(piece):
                    tick()
                    for error in frame.problems:
                        if options.on_error == "raise":
                            raise error
                        problems.append((error.path, error.problem))
                    if frame.image is None:
                        continue
                    content = encode(_features(piece.track, index, frame, optional))
                    _guarded(folder, writer.write, content)
                    record_bytes += len(content)
                    kept[-1].append(index)
                    changes.append(differs)
                    if frame.depth is not None:
                        known.append(np.count_nonzero(frame.depth) / frame.depth.size)
        finally:
            _guarded(folder, writer.close)
        done = layout.Shard(
            shard.file,
            sum(map(len, kept)),
            temporary.stat().st_size,
            fingerprint.content_digest(temporary),
        )
    share = float(np.mean(known)) if known else None
    notes = Notes(done, record_bytes, kept, changes, share, problems)
    atomic.write_json(_notes_path(folder, shard), dataclasses.asdict(notes), sync=True)


def read_notes(folder: pathlib.Path, shard: plan.PlannedShard) -> Notes | None:
    """Returns the notes of a finished shard; None if it is not finished."""
    path = _notes_path(folder, shard)
    try:
        value = json.loads(path.read_text())
        length = (folder / shard.file).stat().st_size
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    notes = Notes(**{**value, "shard": layout.Shard(**value["shard"])})
    return notes if length == notes.shard.num_bytes else None


def _notes_path(folder: pathlib.Path, shard: plan.PlannedShard) -> pathlib.Path:
    return folder / layout.NOTES / f"{shard.number:05d}.json"


def _guarded(folder: pathlib.Path, function: Callable[..., Any], *args: Any) -> Any:
    """Returns the result of a function of ArrayRecord's, whose errors are bare."""
    try:
        return function(*args)
    except RuntimeError as error:
        raise OSError(
            f"cannot write to {folder}: {error}. Is the disk full? With room, the same"
            " command goes on"
        ) from error


def _compared(
    piece: plan.Piece,
) -> Iterator[tuple[int, tracks.Frame, list[float]]]:
    """Yields number, content and changes of each frame, as `layout.Index` has them.

    A frame is known completely when those that it is compared with have been read.
    """
    track, start, stop = piece
    waiting: list[tuple[int, tracks.Frame, list[float]]] = []

    def compare(index: int, image: np.ndarray | None):
        for number, frame, changes in waiting:
            if image is not None and frame.image is not None:
                changes[index - number - 1] = clips.change(frame.image, image)

    for index, frame in enumerate(track.frames(start, stop), start):
        compare(index, frame.image)
        if len(waiting) == layout.NUM_STRIDES:
            yield waiting.pop(0)
        waiting.append((index, frame, [math.nan] * layout.NUM_STRIDES))
    beyond = min(stop + layout.NUM_STRIDES, track.num_frames)
    for index, image in enumerate(track.images(stop, beyond), stop):
        while waiting and index - waiting[0][0] > layout.NUM_STRIDES:
            yield waiting.pop(0)
        compare(index, image)
    yield from waiting


def _features(
    track: tracks.Track,
    index: int,
    frame: tracks.Frame,
    optional: tuple[str, ...],
) -> dict[str, Any]:
    """Returns what goes into a record."""
    size = track.view.size
    poses, seconds = track.world_from_camera, track.timestamp
    known = {
        "timestamp": np.float64(math.nan if seconds is None else seconds[index]),
        "world_from_camera": np.full((4, 4), math.nan)
        if poses is None
        else np.asarray(poses[index], np.float64),
        "depth": np.zeros(size, np.float32) if frame.depth is None else frame.depth,
        "instance_labels": np.zeros(size, np.uint8)
        if frame.labels is None
        else frame.labels,
    }
    matrix = track.intrinsics
    return {
        "image": frame.image,
        "intrinsics": np.full((3, 3), math.nan, np.float32)
        if matrix is None
        else matrix,
        "recording": track.name,
        "frame": index,
        **{name: known[name] for name in optional},
    }
