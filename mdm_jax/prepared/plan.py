"""The plan of a build: which frames of which tracks go into which shard.

The plan follows from the options and the source alone, and a shard from the plan alone.
So a build may be interrupted, resumed and spread over processes as one likes: the bytes
are the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.prepared import layout, opening, records, tracks
from mdm_jax.prepared.options import Options


class Piece(NamedTuple):
    """Consecutive frames of a track, `start` up to before `stop`."""

    track: tracks.Track
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """One file to be written.

    Attributes:
        file: its name.
        number: among all shards.
        pieces: the frames that go into it.
    """

    file: str
    number: int
    pieces: tuple[Piece, ...]

    @property
    def num_frames(self) -> int:
        """Frames that are read for it."""
        return sum(piece.stop - piece.start for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        options: that were asked for.
        parts: names of the TFDS splits, in order, with the number of shards of each.
        shards: in order.
        optional: which features of `records.OPTIONAL` the records have.
        problems: what was left out already.
    """

    options: Options
    parts: tuple[tuple[str, int], ...]
    shards: tuple[PlannedShard, ...]
    optional: tuple[str, ...]
    problems: tuple[DataError, ...]

    def identity(self) -> dict[str, Any]:
        """Returns in JSON what the bytes of the data set follow from."""
        digest = hashlib.sha256()
        for shard in self.shards:
            for piece in shard.pieces:
                where = [shard.file, piece.start, piece.stop]
                digest.update(json.dumps(where).encode())
                if not piece.start:
                    digest.update(json.dumps(piece.track.identity()).encode())
        return {
            "version": layout.VERSION,
            "options": asked(self.options),
            "source_digest": digest.hexdigest(),
        }


def asked(options: Options) -> dict[str, Any]:
    """Returns in JSON the options that make one data set another."""
    values = dataclasses.asdict(options)
    del values["data_dir"]
    values["source"] = str(pathlib.Path(options.source).expanduser().resolve())
    masks = pathlib.Path(options.masks).expanduser()
    if options.masks and masks.exists():  # and not a network or a function
        values["masks"] = str(masks.resolve())
    for name in ("split", "held_out"):
        # A list file whose text has changed asks for other data.
        if values[name] and (path := pathlib.Path(values[name]).expanduser()).is_file():
            digest = fingerprint.content_digest(path)
            values[f"{name}_sha256"] = digest
    return json.loads(json.dumps(values))


def make(options: Options) -> Plan:
    """Returns the plan; files are looked at, but no image is decoded.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    problems = Problems(options.on_error)
    parts = opening.open_tracks(options, problems)
    if not parts[layout.TRAIN]:
        raise DataError(
            options.source,
            f"nothing to prepare of {options.name}; {problems.summary()}",
        )
    # A part of which all is broken has no shards.
    groups = {
        part: _packed(with_frames, options)
        for part, found in parts.items()
        if (with_frames := [track for track in found if track.num_frames])
    }
    shards: list[PlannedShard] = []
    for part, pieces in groups.items():
        for number, group in enumerate(pieces):
            name = layout.shard_name(options.name, part, number, len(pieces))
            shards.append(PlannedShard(name, len(shards), tuple(group)))
    present = {
        feature
        for found in parts.values()
        for track in found
        for feature in track.optional
    }
    return Plan(
        options,
        tuple((part, len(pieces)) for part, pieces in groups.items()),
        tuple(shards),
        tuple(name for name in records.OPTIONAL if name in present),
        tuple(problems.errors),
    )


def _packed(found: Sequence[tracks.Track], options: Options) -> list[list[Piece]]:
    """Returns the pieces of each shard.

    Shards hold equally many frames. Only, as far as it goes, no shard shares a
    sequential track with another, so that they can be made at the same time.
    """
    limit = options.frames_per_shard
    shards: list[list[Piece]] = [[]]
    room = limit
    for track in found:
        if track.sequential and track.num_frames > room < limit:
            shards.append([])
            room = limit
        start = 0
        while start < track.num_frames:
            if not room:
                shards.append([])
                room = limit
            stop = min(track.num_frames, start + room)
            shards[-1].append(Piece(track, start, stop))
            room -= stop - start
            start = stop
        if track.sequential and track.num_frames > limit:
            room = 0
    return shards


def jobs(shards: Sequence[PlannedShard]) -> list[list[PlannedShard]]:
    """Returns shards in groups that can be made at the same time."""
    found: list[list[PlannedShard]] = []
    for shard in shards:
        first = shard.pieces[0]
        goes_on = (
            found
            and first.track.sequential
            and found[-1][-1].pieces[-1].track is first.track
        )
        if goes_on:
            found[-1].append(shard)
        else:
            found.append([shard])
    return found
