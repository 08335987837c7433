"""Annotation of frames in memory: what a data set builder or a notebook calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from mdm_jax.annotation import linking, tracks
from mdm_jax.annotation.mask_sources import MaskSource
from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import FlowSource, Frame


@dataclasses.dataclass(frozen=True, eq=False)
class Annotation:
    """Matched masks of a clip.

    Attributes:
        labels: uint8 `[n h w]`, 0 background, ids that persist: as
            `Recording.instance_labels`.
        numbered: the tracks, and counts.
    """

    labels: np.ndarray
    numbered: tracks.Numbered


def annotate(
    images: Iterable[np.ndarray],
    masks: MaskSource,
    *,
    flow: FlowSource = flow_sources.dense_inverse_search,
    options: linking.Options = linking.DEFAULTS,
) -> Annotation:
    """Returns masks whose ids persist, from masks of single frames.

    Args:
        images: uint8 RGB `[h w 3]`, consecutive frames of one size.
        masks: gives the objects of each frame.
        flow: gives optical flow between neighbouring frames.
        options: what counts as an object, and as a match.

    Raises:
        ValueError: there are no frames, or a source fails.
    """
    linker = linking.Linker(flow, options)
    owners, seen = [], []
    try:
        for index, image in enumerate(images):
            frame = Frame(index, f"{index:06d}", image)
            objects = linking.keep(masks(frame), options)
            seen.append(linking.without_pixels(objects, *linker.link(frame, objects)))
            owners.append(objects.owners)
    finally:
        linker.close()
    if not owners:
        raise ValueError("expected at least one frame to annotate, got none")
    numbered = tracks.number(seen, min_length=options.min_length)
    maps = [paint(map_, ids) for map_, ids in zip(owners, numbered.labels, strict=True)]
    return Annotation(np.stack(maps), numbered)


def paint(owners: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the label map uint8 `[h w]` of an owner map and the label of each object."""
    return np.concatenate([np.zeros(1, np.uint8), labels])[owners]
