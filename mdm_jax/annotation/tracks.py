"""Tracks: links joined over a whole clip, numbered, and what there is to say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.masks import labels as mask_labels

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """The objects of a frame and their links to those before, without pixels.

    Attributes:
        areas: int64 `[k]`.
        classes: int64 `[k]`, -1 where unknown.
        scores: float32 `[k]`.
        links: `[n 2]`, (object of the frame before, object of this one).
        bridges: `[n 2]`, (object of the last frame but one, object of this one).
        dropped: masks that were too small, unsure or of another class.
    """

    areas: Array
    classes: Array
    scores: Array
    links: Array
    bridges: Array
    dropped: int


@dataclasses.dataclass(frozen=True)
class Track:
    """An object over a clip.

    Attributes:
        label: its number in the label maps.
        category: class that most of its masks have, weighed by score; -1 if unknown.
        first: frame in which it is seen first.
        last: and last.
        length: number of frames that show it.
        pixels: in all of them together.
    """

    label: int
    category: int
    first: int
    last: int
    length: int
    pixels: int


@dataclasses.dataclass(frozen=True, eq=False)
class Numbered:
    """The tracks of a clip.

    Attributes:
        tracks: those that are kept, in order of birth.
        labels: for each frame, uint8 `[k]`: the label of each of its objects, 0 for
            those whose track is not kept.
        summary: counts, as JSON holds them.
    """

    tracks: tuple[Track, ...]
    labels: tuple[Array, ...]
    summary: dict[str, Any]


def number(frames: Sequence[Seen], *, min_length: int = 1) -> Numbered:
    """Returns the tracks that links make.

    Args:
        frames: of the clip, in order.
        min_length: tracks seen in fewer frames are left out.
    """
    track_of, count = _chain(frames)
    index = np.concatenate([np.zeros(0, np.int64), *track_of])
    frame = np.concatenate(
        [np.zeros(0, np.int64), *(np.full(len(t), i) for i, t in enumerate(track_of))]
    )
    area = np.concatenate([np.zeros(0, np.int64), *(seen.areas for seen in frames)])
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
    kept = np.flatnonzero(label)
    category = _categories(frames, index, count)
    tracks = tuple(
        Track(
            *(
                int(values[track])
                for values in (label, category, first, last, length, pixels)
            )
        )
        for track in kept
    )
    found = sum(len(seen.areas) for seen in frames)
    linked = sum(len(seen.links) for seen in frames)
    bridged = sum(len(seen.bridges) for seen in frames)
    following = sum(len(seen.areas) for seen in frames[1:])
    summary = {
        "frames": len(frames),
        "tracks": len(tracks),
        "mean_length": float(np.mean(length[kept])) if len(kept) else 0.0,
        "masks": found,
        "masks_in_tracks": int(length[kept].sum()),
        "links": linked,
        "bridged_gaps": bridged,
        # Of the masks of all frames but the first.
        "share_matched": (linked + bridged) / following if following else 0.0,
        "dropped_masks": sum(seen.dropped for seen in frames),
        "short_tracks": count - len(long),
        "tracks_without_label": len(long) - len(kept),
    }
    return Numbered(tracks, tuple(label[t] for t in track_of), summary)


def _chain(frames: Sequence[Seen]) -> tuple[list[Array], int]:
    """Returns for each frame the track `[k]` of each object, and how many there are."""
    found: list[Array] = []
    count = 0
    for i, seen in enumerate(frames):
        track = np.full(len(seen.areas), -1)
        for back, pairs in ((1, seen.links), (2, seen.bridges)):
            if len(pairs):
                track[pairs[:, 1]] = found[i - back][pairs[:, 0]]
        new = track < 0
        track[new] = np.arange(count, count + new.sum())
        count += int(new.sum())
        found.append(track)
    return found, count


def _categories(frames: Sequence[Seen], index: Array, count: int) -> Array:
    """Returns the class of each track, `[count]`."""
    classes = np.concatenate([np.zeros(0, np.int64), *(s.classes for s in frames)])
    scores = np.concatenate([np.zeros(0), *(s.scores for s in frames)])
    values, place = np.unique(classes, return_inverse=True)
    if not len(values):
        return np.full(count, -1)
    votes = np.zeros((count, len(values)))
    np.add.at(votes, (index, place), scores)
    return values[votes.argmax(axis=1)]
