"""The plan of a build: which frames of which sources go into which shard.

The plan depends only on the options and the source files, and a shard only on the plan.
A build can therefore be interrupted, resumed and distributed over processes, and always
writes the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.prepared import build_sources, layout, records
from mdm_jax.prepared.options import Options
from mdm_jax.prepared.viewed_source import ViewedSource


class Piece(NamedTuple):
    """The frames of a source from index `start` up to, not including, `stop`."""

    source: ViewedSource
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class PlannedShard:
    """A shard to be written.

    Attributes:
        part: the TFDS split that it belongs to.
        file: its name.
        number: among all shards.
        pieces: the frames that go into it.
    """

    part: str
    file: str
    number: int
    pieces: tuple[Piece, ...]

    @property
    def num_frames(self) -> int:
        """Number of frames that are read for it."""
        return sum(piece.stop - piece.start for piece in self.pieces)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The work of a build.

    Attributes:
        options: of the build.
        shards: in order.
        optional: the features of `records.OPTIONAL` that the records have.
        problems: the broken files that were found so far.
    """

    options: Options
    shards: tuple[PlannedShard, ...]
    optional: tuple[str, ...]
    problems: tuple[DataError, ...]

    @property
    def parts(self) -> list[str]:
        """The TFDS splits, in order."""
        return list(dict.fromkeys(shard.part for shard in self.shards))

    @property
    def num_frames(self) -> int:
        """Number of frames of all shards."""
        return sum(shard.num_frames for shard in self.shards)

    def identity(self) -> dict[str, Any]:
        """Returns as JSON everything that the bytes of the data set depend on."""
        pieces = [
            (shard.file, start, stop, "" if start else source.fingerprint())
            for shard in self.shards
            for source, start, stop in shard.pieces
        ]
        return {
            "version": layout.VERSION,
            "options": options_json(self.options),
            "source_digest": fingerprint.digest(pieces),
        }


def options_json(options: Options) -> dict[str, Any]:
    """Returns as JSON the options that distinguish one data set from another."""
    values = dataclasses.asdict(options)
    del values["data_dir"]
    values["source"] = str(pathlib.Path(options.source).expanduser().resolve())
    masks = pathlib.Path(options.masks).expanduser()
    if options.masks and masks.exists():  # Otherwise it names a network or a function.
        values["masks"] = str(masks.resolve())
    for name in ("split", "held_out"):
        # The content of a list file matters, too.
        if values[name] and (path := pathlib.Path(values[name]).expanduser()).is_file():
            values[f"{name}_sha256"] = fingerprint.content_digest(path)
    return json.loads(json.dumps(values))


def make(options: Options) -> Plan:
    """Returns the plan of a build, without decoding images.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    problems = Problems(options.on_error)
    parts = build_sources.open_parts(options, problems)
    if not any(map(len, parts[layout.TRAIN])):
        raise DataError(
            options.source,
            f"nothing to prepare of {options.name}; {problems.summary()}",
        )
    shards: list[PlannedShard] = []
    for part, sources in parts.items():
        groups = _packed(sources, options.frames_per_shard)
        for number, pieces in enumerate(groups):
            file = layout.shard_name(options.name, part, number, len(groups))
            shards.append(PlannedShard(part, file, len(shards), tuple(pieces)))
    known = {
        name for sources in parts.values() for one in sources for name in one.optional
    }
    optional = tuple(name for name in records.OPTIONAL if name in known)
    return Plan(options, tuple(shards), optional, tuple(problems.errors))


def _packed(sources: Sequence[ViewedSource], limit: int) -> list[list[Piece]]:
    """Returns the pieces of each shard of at most `limit` frames.

    Shards are filled completely, with one exception: as far as possible, no two shards
    share a sequential source, so that they can be written at the same time.
    """
    shards: list[list[Piece]] = []
    room = 0
    for source in sources:
        if source.sequential and len(source) > room:
            room = 0
        start = 0
        while start < len(source):
            if not room:
                shards.append([])
                room = limit
            stop = min(len(source), start + room)
            shards[-1].append(Piece(source, start, stop))
            room -= stop - start
            start = stop
        if source.sequential and len(source) > limit:
            room = 0
    return shards


def jobs(shards: Sequence[PlannedShard]) -> list[list[PlannedShard]]:
    """Returns the shards in groups that can be written at the same time."""
    groups: list[list[PlannedShard]] = []
    for shard in shards:
        source = shard.pieces[0].source
        if groups and source.sequential and groups[-1][-1].pieces[-1].source is source:
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return groups
