"""Persistent ids: labels renumbered in each frame are matched by their overlap.

Neighbouring frames are taken so shortly after each other that an object covers most of
its own pixels again. Object i of one frame is object j of the next if each is the one
that the other overlaps most, and their IoU is high enough. Optical flow, which moves
the masks first, would find more (Lee et al. 2019, section 3.4); what is not found here
gets a new id, which is no lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

# Moved by half its width an object still has an IoU of 1/3 with itself.
_MIN_IOU = 0.3
# An id is free again when it was in none of so many frames: clips are shorter.
_REST = 32


def persistent(labels: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yields label maps whose ids persist from frame to frame.

    Args:
        labels: uint8 `[h w]`, 0 background; one value per object within a frame, which
            may have another in the next.

    A new object gets the lowest free id; an id is reused once its object has been gone
    for `_REST` frames. Of more than 255 objects at a time the smallest become background.
    """
    last_seen = np.full(256, -_REST - 1)
    before: np.ndarray | None = None
    for number, current in enumerate(labels):
        new_ids = np.zeros(256, np.uint8)
        if before is not None:
            for old, new in matches(before, current):
                new_ids[new] = old
        last_seen[new_ids[new_ids > 0]] = number
        present, sizes = np.unique(current[current > 0], return_counts=True)
        for label in present[np.argsort(-sizes, kind="stable")]:
            if new_ids[label]:
                continue
            free = np.flatnonzero(number - last_seen[1:] > _REST)
            if not free.size:
                break
            new_ids[label] = free[0] + 1
            last_seen[free[0] + 1] = number
        before = new_ids[current]
        yield before


def matches(
    one: np.ndarray, other: np.ndarray, *, min_iou: float = _MIN_IOU
) -> list[tuple[int, int]]:
    """Returns the pairs of labels that are one object in two maps uint8 `[h w]`."""
    pairs = one.astype(np.int64) * 256 + other
    common = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    union = common.sum(axis=1)[:, None] + common.sum(axis=0)[None, :] - common
    iou = common / np.maximum(union, 1)
    iou[0], iou[:, 0] = 0, 0  # background
    best_other, best_one = iou.argmax(axis=1), iou.argmax(axis=0)
    return [
        (label, int(best_other[label]))
        for label in range(1, 256)
        if iou[label, best_other[label]] > min_iou
        and best_one[best_other[label]] == label
    ]
