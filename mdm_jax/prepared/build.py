"""Building a prepared data set: plan, shards, then index, report and TFDS metadata.

The same call resumes an interrupted build and writes the same bytes: a shard depends
only on the plan, gets its name when it is complete, and is not written again.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from mdm_jax import sources
from mdm_jax.files import atomic, file_content, folder_lock, workers
from mdm_jax.files.errors import DataError
from mdm_jax.prepared import (
    build_report,
    build_sources,
    layout,
    plan,
    records,
    shards,
    tfds_metadata,
)
from mdm_jax.prepared.options import Options
from mdm_jax.sources import source as source_lib

Jobs = Sequence[list[plan.PlannedShard]]
# Writes the shards of all jobs, in any order: `(options, optional, jobs)`.
Runner = Callable[[Options, tuple[str, ...], Jobs], None]
# Writes object tracks of sources into a folder: `(sources, folder, *, alone)`, with
# `alone` as in `MaskSet`.
Annotator = Callable[..., Any]


def build(
    options: Options, *, runner: Runner, annotator: Annotator | None = None
) -> pathlib.Path:
    """Builds a data set, or the missing part of it, and returns its folder.

    Args:
        options: source and form of the data set.
        runner: `on_processes(n)`, or `beam.on_beam(...)`.
        annotator: makes the tracks that `options.annotation` describes, if any.

    Raises:
        DataError: a source file is broken.
        ValueError: the options do not fit the source, or the folder holds a build with
            other options or of an earlier state of the source.
        OSError: the folder cannot be written.
        ImportError: TFDS is not installed.
    """
    records.import_tfds()
    folder = options.folder
    if layout.is_finished(folder):
        _check_same(folder, {"options": plan.options_json(options)})
        _remove_leftovers(folder)
        logging.info("%s is complete", folder)
        return folder
    (folder / layout.NOTES).mkdir(parents=True, exist_ok=True)
    with folder_lock.held(folder, "another build"):
        _remove_abandoned(folder)
        if annotator is not None:
            sources = build_sources.to_annotate(options)
            alone = options.name == "video" and len(sources) == 1
            annotator(sources, options.annotated, alone=alone)
        planned = plan.make(options)
        identity = planned.identity()
        if file_content.exists(folder / layout.BUILD):
            _check_same(folder, identity)
        else:
            path = folder / layout.BUILD
            atomic.write_json(path, identity, sort_keys=True, sync=True)
        missing = [
            shard
            for shard in planned.shards
            if shards.read_notes(folder, shard) is None
        ]
        logging.info(
            "%s: %d frames in %d shards, %d of which are complete",
            folder,
            planned.num_frames,
            len(planned.shards),
            len(planned.shards) - len(missing),
        )
        if missing:
            runner(options, planned.optional, plan.jobs(missing))
        _finish(planned)
    return folder


def on_processes(num_processes: int) -> Runner:
    """Returns a runner that distributes the jobs over processes of this machine."""

    def run(options: Options, optional: tuple[str, ...], jobs: Jobs) -> None:
        workers.run(
            functools.partial(shards.write_job, options, optional),
            jobs,
            num_processes=num_processes,
            total=sum(shard.num_frames for job in jobs for shard in job),
            title=f"preparing {options.name}",
        )

    return run


def _finish(planned: plan.Plan) -> None:
    """Writes index, report and TFDS metadata; the metadata mark completion."""
    options, folder = planned.options, planned.options.folder
    notes = []
    for shard in planned.shards:
        written = shards.read_notes(folder, shard)
        if written is None:
            raise DataError(folder / shard.file, "was not written; run the build again")
        notes.append(written)
    index = _index(planned, notes)
    if not index.entries:
        raise DataError(options.source, "no frame of it can be read")
    layout.write_index(folder, index)
    build_report.write(planned, notes, index)
    tfds_metadata.write(planned, notes)
    _remove_leftovers(folder)


def _index(planned: plan.Plan, notes: Sequence[shards.Notes]) -> layout.Index:
    """Returns the index: readable frames of a source without gaps are a recording."""
    pieces = [
        (shard.part, piece.source, frames)
        for shard, note in zip(planned.shards, notes, strict=True)
        for piece, frames in zip(shard.pieces, note.kept, strict=True)
    ]
    entries: list[layout.Entry] = []
    times, poses, labelled = [], [], []
    count = 0
    # The pieces of a source are adjacent.
    for _, group in itertools.groupby(pieces, key=lambda piece: id(piece[1])):
        (part, source, _), *_ = group = list(group)
        frames = [frame for *_, readable in group for frame in readable]
        runs = source_lib.runs(frames) if frames else []
        matrix = source.intrinsics
        for run in runs:
            entries.append(
                layout.Entry(
                    part,
                    source.name
                    if len(runs) == 1
                    else f"{source.name}/{frames[run][0]}",
                    count + run.start,
                    run.stop - run.start,
                    None if matrix is None else matrix.tolist(),
                    source.optional,
                )
            )
        count += len(frames)
        times.append(source.timestamp[frames])
        poses.append(source.world_from_camera[frames])
        labelled.append(source.labelled[frames])
    changes = [row for note in notes for row in note.changes]
    return layout.Index(
        planned.options.size,
        planned.options.split,
        planned.options.crop,
        sources.fit_of(planned.options.name, planned.options.fit),
        planned.options.held_out,
        tuple(note.shard for note in notes),
        tuple(entries),
        np.concatenate(times),
        np.concatenate(poses),
        np.array(changes, np.float64).reshape(count, layout.NUM_STRIDES),
        np.concatenate(labelled),
    )


def _check_same(folder: pathlib.Path, identity: dict[str, Any]) -> None:
    path = folder / layout.BUILD
    written = file_content.read_json(path)
    options = file_content.field(written, ["options"], path)
    # Options that are newer than the build had their default.
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    for name, value in identity["options"].items():
        built = options.get(name, defaults.get(name))
        if built != value:
            raise ValueError(
                f"{folder} was built with {name}={built!r}, but {value!r} is requested:"
                " choose another data_dir, or delete that folder"
            )
    if any(written.get(key) != identity[key] for key in identity.keys() - {"options"}):
        raise ValueError(
            f"{folder} was begun from {options['source']} in another state (files were"
            " added, removed or changed since), or by another version: delete that"
            " folder and build it again"
        )


def _remove_abandoned(folder: pathlib.Path) -> None:
    for place in (folder, folder / layout.NOTES):
        atomic.remove_abandoned(place)


def _remove_leftovers(folder: pathlib.Path) -> None:
    _remove_abandoned(folder)
    shutil.rmtree(folder / layout.NOTES, ignore_errors=True)
