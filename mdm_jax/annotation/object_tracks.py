"""Tracks: the links of a clip joined to objects with one label in all frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdm_jax.masks import labels as mask_labels

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class LinkedObjects:
    """The objects of a frame, without pixels, and their links to earlier frames.

    Attributes:
        areas: int64 `[k]`.
        classes: int64 `[k]`, -1 where unknown.
        scores: float32 `[k]`.
        links: `[n 2]`, (object of the previous frame, object of this frame).
        bridges: `[n 2]`, (object of the frame before the previous one, object of this
            frame), across a frame without a mask.
        dropped: number of masks that were too small, unsure or of an unwanted class.
    """

    areas: Array
    classes: Array
    scores: Array
    links: Array
    bridges: Array
    dropped: int

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


def from_json(record: Mapping[str, Any]) -> LinkedObjects:
    """Returns the objects that `LinkedObjects.to_json` wrote."""
    return LinkedObjects(
        areas=np.array(record["areas"], np.int64),
        classes=np.array(record["classes"], np.int64),
        scores=np.array(record["scores"], np.float32),
        links=np.array(record["links"], np.int64).reshape(-1, 2),
        bridges=np.array(record["bridges"], np.int64).reshape(-1, 2),
        dropped=record["dropped"],
    )


@dataclasses.dataclass(frozen=True)
class ObjectTrack:
    """An object over a clip.

    Attributes:
        label: its value in the label maps.
        category: class of most of its masks, weighted by score; -1 if unknown.
        first: first frame that shows it.
        last: last frame that shows it.
        length: number of frames that show it.
        pixels: its area, summed over frames.
    """

    label: int
    category: int
    first: int
    last: int
    length: int
    pixels: int


@dataclasses.dataclass(frozen=True, eq=False)
class ClipTracks:
    """The tracks of a clip.

    Attributes:
        tracks: tracks with a label, in order of their first frame.
        labels: for each frame, uint8 `[k]`: the label of each object, 0 without one.
        summary: counts, as JSON values.
    """

    tracks: tuple[ObjectTrack, ...]
    labels: tuple[Array, ...]
    summary: dict[str, Any]


def join(frames: Sequence[LinkedObjects], *, min_length: int = 1) -> ClipTracks:
    """Returns the tracks of a clip.

    Args:
        frames: the objects of consecutive frames.
        min_length: tracks visible in fewer frames are left out.
    """
    track_of, count = _chain(frames)
    index = np.concatenate([np.zeros(0, np.int64), *track_of])
    frame = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(t), i) for i, t in enumerate(track_of))]
    )
    area = np.concatenate([np.zeros(0, np.int64), *(f.areas for f in frames)])
    length = np.bincount(index, minlength=count)
    pixels = np.bincount(index, weights=area, minlength=count).astype(np.int64)
    first = np.full(count, len(frames))
    last = np.zeros(count, np.int64)
    np.minimum.at(first, index, frame)
    np.maximum.at(last, index, frame)

    long = np.flatnonzero(length >= min_length)
    label = np.zeros(count, np.uint8)
    label[long] = mask_labels.free_labels(
        np.arange(1, len(long) + 1), first[long], last[long], pixels[long]
    )
    labelled = np.flatnonzero(label)
    category = _categories(frames, index, count)
    columns = (label, category, first, last, length, pixels)
    tracks = tuple(
        ObjectTrack(*(int(column[track]) for column in columns)) for track in labelled
    )
    links = sum(len(f.links) for f in frames)
    bridges = sum(len(f.bridges) for f in frames)
    masks_after_first = sum(len(f.areas) for f in frames[1:])
    matched = (links + bridges) / masks_after_first if masks_after_first else 0.0
    summary = {
        "frames": len(frames),
        "tracks": len(tracks),
        "mean_length": float(np.mean(length[labelled])) if len(labelled) else 0.0,
        "masks": len(area),
        "masks_in_tracks": int(length[labelled].sum()),
        "links": links,
        "bridged_gaps": bridges,
        "share_matched": matched,
        "dropped_masks": sum(f.dropped for f in frames),
        "short_tracks": count - len(long),
        "tracks_without_label": len(long) - len(labelled),
    }
    return ClipTracks(tracks, tuple(label[t] for t in track_of), summary)


def _chain(frames: Sequence[LinkedObjects]) -> tuple[list[Array], int]:
    """Returns for each frame the track index of each object, and the track count."""
    track_of: list[Array] = []
    count = 0
    for i, objects in enumerate(frames):
        track = np.full(len(objects.areas), -1)
        for steps, pairs in ((1, objects.links), (2, objects.bridges)):
            if len(pairs):
                track[pairs[:, 1]] = track_of[i - steps][pairs[:, 0]]
        new = track < 0
        track[new] = np.arange(count, count + new.sum())
        count += int(new.sum())
        track_of.append(track)
    return track_of, count


def _categories(frames: Sequence[LinkedObjects], index: Array, count: int) -> Array:
    """Returns the class of each track, `[count]`."""
    classes = np.concatenate([np.zeros(0, np.int64), *(f.classes for f in frames)])
    scores = np.concatenate([np.zeros(0), *(f.scores for f in frames)])
    values, column = np.unique(classes, return_inverse=True)
    if not len(values):
        return np.full(count, -1)
    votes = np.zeros((count, len(values)))
    np.add.at(votes, (index, column), scores)
    return values[votes.argmax(axis=1)]
