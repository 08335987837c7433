"""Numbers from 1 to 255 for any number of objects, so that a label map has 8 bits.

A number belongs to one object at a time. An object that left long ago gives its number
free: clips of a recording are short, and in none of them are two objects confused. So
255 numbers are enough for hours of video, unless more objects than that are seen
together; then the largest get them.
"""

from __future__ import annotations

import numpy as np

MAX_LABEL = 255
# Frames between two objects of one number; clips are shorter.
REST = 32


def assign(
    ids: np.ndarray, first: np.ndarray, last: np.ndarray, area: np.ndarray
) -> np.ndarray:
    """Returns the number of each object, uint8 `[k]`, 0 where none is left for it.

    Ids from 1 to 255 are kept where all are. Otherwise objects are numbered from the
    largest on, each with the lowest number that is free while it is seen.

    Args:
        ids: `[k]`, what the objects are called, all different.
        first: `[k]`, the first frame of each.
        last: `[k]`, its last frame.
        area: `[k]`, its pixels, in all frames together.
    """
    if len(ids) == 0 or (ids.min() >= 1 and ids.max() <= MAX_LABEL):
        return np.asarray(ids, np.uint8)
    labels = np.zeros(len(ids), np.uint8)
    # Intervals of frames in which a number is taken, rows of (first, last).
    taken: list[list[tuple[int, int]]] = [[] for _ in range(MAX_LABEL)]
    for index in np.lexsort((ids, -np.asarray(area))):
        start, end = int(first[index]), int(last[index])
        for number, intervals in enumerate(taken, start=1):
            if all(start > b + REST or end < a - REST for a, b in intervals):
                intervals.append((start, end))
                labels[index] = number
                break
    return labels
