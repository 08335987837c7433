"""Opening the sources of a build, each seen through a view, by TFDS split."""

from __future__ import annotations

import dataclasses
import pathlib

import ml_collections
import numpy as np
import tqdm
from absl import logging

from mdm_jax import sources as sources_lib
from mdm_jax.files.errors import Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import drive_masks, raw_data, splits
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.prepared import layout
from mdm_jax.prepared.options import Options
from mdm_jax.prepared.source_labels import SourceLabels
from mdm_jax.prepared.viewed_source import ViewedSource
from mdm_jax.recording import opening
from mdm_jax.sources import intrinsics_file
from mdm_jax.sources.source import Source


def open_parts(options: Options, problems: Problems) -> dict[str, list[ViewedSource]]:
    """Returns the sources of a build by TFDS split, `layout.TRAIN` first.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    masks = options.labels
    if options.name == "video":
        if options.split or options.evaluation_split:
            raise ValueError(
                "video has no splits: leave out split and evaluation_split"
            )
        path, intrinsics = options.source, options.intrinsics
        train = sources_lib.open_sources("video", path, intrinsics=intrinsics)
        held_out: list[Source] = []
        if masks is not None:
            masks = dataclasses.replace(masks, alone=len(train) == 1)
    else:
        train, held_out = _split(options, problems)
    parts = {layout.TRAIN: [(source, masks) for source in train]}
    if held_out:
        # Held-out sources need no masks, because they are also evaluated without.
        parts[options.evaluation_split] = [
            (source, masks if drive_masks.has(source, masks) else None)
            for source in held_out
        ]
    opened: dict[str, list[ViewedSource]] = {}
    for part, pairs in parts.items():
        opened[part] = []
        for pair in tqdm.tqdm(pairs, desc="opening", unit=" sources", disable=None):
            with problems.caught():
                opened[part].append(_open(*pair, options))
    return opened


def to_annotate(options: Options) -> list[Source]:
    """Returns the sources for which object tracks are made, without held-out sources
    that have no masks.

    Raises:
        DataError: the source has broken files, or nothing to read.
        ValueError: an option does not fit the source.
        OSError: the source cannot be read.
    """
    if options.name == "video":
        return sources_lib.open_sources("video", options.source, intrinsics="learned")
    train, held_out = _split(options, Problems(options.on_error))
    # Otherwise `masks` names a network or a function.
    if options.masks and pathlib.Path(options.masks).expanduser().exists():
        masks = MaskSet(root=options.masks)
        held_out = [source for source in held_out if drive_masks.has(source, masks)]
    whole = {source.whole.name: source.whole for source in (*train, *held_out)}
    return [
        dataclasses.replace(source, on_error=options.on_error)
        for source in whole.values()
    ]


def _split(options: Options, problems: Problems) -> splits.Split:
    dataset = ml_collections.ConfigDict(
        {
            "name": options.name,
            "path": options.source,
            "split": options.split,
            "held_out": options.held_out,
            # A clip of three frames around each frame of a list file.
            "clip_length": 3,
            "frame_stride": 1,
        }
    )
    return raw_data.open_split(dataset, options.evaluation_split, problems)


def _open(source: Source, masks: MaskSet | None, options: Options) -> ViewedSource:
    crop = options.crop if any(options.crop) else source.crop
    fit = sources_lib.fit_of(options.name, options.fit)
    view = view_lib.FITS[fit](source.size, options.size, crop)
    truth = options.with_truth
    poses = opening.poses_from_start(source) if truth else None
    seconds = source.timestamps()
    opening.image_files(source)
    announced, source = len(source), source.counted()
    if len(source) < announced:
        logging.warning(
            "%s: has %d frames where its header announces %d",
            source.path,
            len(source),
            announced,
        )
    labels = None
    if masks is not None or (options.labels is None and any(source.labelled())):
        # Tracks made by the build are made again if someone removes them.
        by_content = options.annotation is not None
        labels = SourceLabels(source, view, masks, by_content=by_content)
    return ViewedSource(
        source,
        view,
        intrinsics_file.of_source(source, options.intrinsics),
        np.full((len(source), 4, 4), np.nan) if poses is None else poses,
        np.full(len(source), np.nan) if seconds is None else seconds,
        truth and opening.has_points(source),
        labels,
    )
