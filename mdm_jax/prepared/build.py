"""Building a prepared data set: plan, write the shards, then index, report, metadata.

Whatever interrupts a build, the same call goes on with it and gives the same bytes:
shards are functions of the plan, have their names only when complete, and are kept.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from mdm_jax.files import atomic, file_content, folder_lock, workers
from mdm_jax.files.errors import DataError
from mdm_jax.prepared import (
    build_report,
    layout,
    opening,
    plan,
    records,
    shards,
    tfds_metadata,
)
from mdm_jax.prepared.options import Options
from mdm_jax.sources.source import runs

# Makes jobs, each a list of shards, in any order: `(options, optional, jobs)`.
Runner = Callable[[Options, tuple[str, ...], Sequence[list[plan.PlannedShard]]], None]
# Makes tracks of the objects of clips: `(clips, folder, *, alone)`, with `alone` as in
# `MaskSet`.
Annotator = Callable[..., Any]


def build(
    options: Options, *, runner: Runner, annotator: Annotator | None = None
) -> pathlib.Path:
    """Builds a data set, or what is missing of it, and returns its folder.

    Args:
        options: what to build from what.
        runner: `on_processes(n)`, or `beam.on_beam(...)`.
        annotator: makes what `options.annotation` describes; None where it is None.

    Raises:
        DataError: a file of the source is broken.
        ValueError: the options do not fit the source, or a build with other options
            or of another state of the source lies in the folder.
        OSError: the folder cannot be written.
        ImportError: TFDS is not installed.
    """
    records.import_tfds()
    folder = options.folder
    if layout.is_finished(folder):
        _check_same(folder, {"options": plan.asked(options)})
        _remove_leftovers(folder)
        logging.info("%s is complete", folder)
        return folder
    (folder / layout.NOTES).mkdir(parents=True, exist_ok=True)
    with folder_lock.held(folder, "another build"):
        _remove_parts(folder)
        if annotator is not None:
            clips = opening.clips(options)
            alone = options.name == "video" and len(clips) == 1
            annotator(clips, options.annotated, alone=alone)
        made = plan.make(options)
        identity = made.identity()
        if file_content.exists(folder / layout.BUILD):
            _check_same(folder, identity)
        else:
            atomic.write_json(
                folder / layout.BUILD, identity, sort_keys=True, sync=True
            )
        missing = [
            shard for shard in made.shards if shards.read_notes(folder, shard) is None
        ]
        logging.info(
            "%s: %d frames in %d shards, %d of these are there",
            folder,
            sum(shard.num_frames for shard in made.shards),
            len(made.shards),
            len(made.shards) - len(missing),
        )
        if missing:
            runner(options, made.optional, plan.jobs(missing))
        _finish(made)
    return folder


def on_processes(num_processes: int) -> Runner:
    """Returns a runner that spreads the jobs over processes of this machine."""

    def run(
        options: Options,
        optional: tuple[str, ...],
        jobs: Sequence[list[plan.PlannedShard]],
    ) -> None:
        workers.run(
            functools.partial(_write_all, options, optional),
            jobs,
            num_processes=num_processes,
            total=sum(shard.num_frames for job in jobs for shard in job),
            title=f"preparing {options.name}",
        )

    return run


def _write_all(
    options: Options,
    optional: tuple[str, ...],
    job: list[plan.PlannedShard],
    tick: workers.Tick,
) -> None:
    for shard in job:
        shards.write(options, optional, shard, tick)


def _finish(made: plan.Plan) -> None:
    """Writes all that is not a shard; TFDS's metadata at last say that it is whole."""
    options, folder = made.options, made.options.folder
    notes = []
    for shard in made.shards:
        found = shards.read_notes(folder, shard)
        if found is None:
            raise DataError(folder / shard.file, "was not written; run the build again")
        notes.append(found)
    index = _index(made, notes)
    if not index.stretches:
        raise DataError(options.source, "no frame of it can be read")
    layout.write_index(folder, index)
    build_report.write(made, notes, index)
    tfds_metadata.write(made, notes)
    _remove_leftovers(folder)


def _index(made: plan.Plan, notes: Sequence[shards.Notes]) -> layout.Index:
    """Returns the index: records of one track without gaps are a recording."""
    # What was kept of each track, in order, with the number of its first record.
    kept: dict[int, list[int]] = {}
    first: dict[int, int] = {}
    tracks, parts = {}, {}
    count = 0
    for part, shard, note in zip(_parts(made), made.shards, notes, strict=True):
        for piece, frames in zip(shard.pieces, note.kept, strict=True):
            key = id(piece.track)
            tracks[key], parts[key] = piece.track, part
            first.setdefault(key, count)
            kept.setdefault(key, []).extend(frames)
            count += len(frames)
    timestamp = np.full(count, np.nan)
    poses = np.full((count, 4, 4), np.nan)
    labelled = np.zeros(count, bool)
    stretches = []
    for key, track in tracks.items():
        frames, start = np.array(kept[key], np.int64), first[key]
        if not len(frames):
            continue
        place = slice(start, start + len(frames))
        if track.timestamp is not None:
            timestamp[place] = track.timestamp[frames]
        if track.world_from_camera is not None:
            poses[place] = track.world_from_camera[frames]
        if track.labelled is not None:
            labelled[place] = track.labelled[frames]
        found = runs(frames.tolist())
        for run in found:
            name = track.name if len(found) == 1 else f"{track.name}/{frames[run][0]}"
            stretches.append(
                layout.Stretch(
                    parts[key],
                    name,
                    start + run.start,
                    run.stop - run.start,
                    None if track.intrinsics is None else track.intrinsics.tolist(),
                    track.optional,
                )
            )
    changes = [row for note in notes for row in note.changes]
    return layout.Index(
        made.options.size,
        made.options.split,
        made.options.crop,
        made.options.held_out,
        tuple(note.shard for note in notes),
        tuple(stretches),
        timestamp,
        poses,
        np.array(changes, np.float64).reshape(count, layout.NUM_STRIDES),
        labelled,
    )


def _parts(made: plan.Plan) -> list[str]:
    """Returns for each shard the name of its TFDS split."""
    return [part for part, count in made.parts for _ in range(count)]


def _check_same(folder: pathlib.Path, wanted: dict[str, Any]) -> None:
    path = folder / layout.BUILD
    found = file_content.read_json(path)
    options = file_content.field(found, ["options"], path)
    # What an option was before there was one.
    before = {field.name: field.default for field in dataclasses.fields(Options)}
    for name, value in wanted["options"].items():
        built = options.get(name, before.get(name))
        if built != value:
            raise ValueError(
                f"{folder} was built with {name}={built!r}, now asked for is {value!r}:"
                " choose another data_dir, or delete that folder"
            )
    if any(found.get(key) != wanted[key] for key in wanted.keys() - {"options"}):
        raise ValueError(
            f"{folder} was begun from {options['source']} in another state (files were"
            " added, removed or changed since), or by another version: delete that"
            " folder and build anew"
        )


def _remove_parts(folder: pathlib.Path) -> None:
    """Removes what was being written when a build was killed."""
    for place in (folder, folder / layout.NOTES):
        atomic.remove_abandoned(place)


def _remove_leftovers(folder: pathlib.Path) -> None:
    _remove_parts(folder)
    shutil.rmtree(folder / layout.NOTES, ignore_errors=True)
