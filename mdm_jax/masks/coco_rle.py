"""COCO's run lengths: masks as the lengths of alternating runs of 0 and 1.

Runs go down the columns, left to right, and start with a run of 0, which may be empty.
In text, run i is written as its difference to run i - 2 (from the fourth on), in groups
of five bits, the lowest first: each character is 48 + the group, + 32 if the number goes
on; the highest bit of the last group is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MAX_RUN = 1 << 31


def decode(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Returns the mask, bool `[h w]`.

    Args:
        counts: text, or the lengths of the runs as they are.
        size: height and width.

    Raises:
        ValueError: the counts are not run lengths of a mask of this size.
    """
    runs = (
        _parse(counts)
        if isinstance(counts, str | bytes)
        else np.asarray(counts, np.int64)
    )
    height, width = size
    if runs.ndim != 1 or (runs < 0).any() or (runs > _MAX_RUN).any():
        raise ValueError("run lengths must be a row of non-negative numbers")
    if (total := int(runs.sum())) != height * width:
        raise ValueError(
            f"run lengths add up to {total} pixels, a mask of {width} x {height} (width"
            f" x height) has {height * width}"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _parse(text: str | bytes) -> np.ndarray:
    """Returns the run lengths of a text, int64."""
    if isinstance(text, str):
        text = text.encode("utf-8")
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if ((groups < 0) | (groups > 63)).any():
        raise ValueError("compressed run lengths hold characters from '0' to 'o' only")
    if not len(groups):
        return np.zeros(0, np.int64)
    last = (groups & 32) == 0
    if not last[-1]:
        raise ValueError("compressed run lengths break off")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 6:  # 35 bits; more than any image has pixels
        raise ValueError("compressed run lengths hold a number that is too large")
    numbers = np.add.reduceat((groups & 31) << (5 * place), starts)
    negative = (groups[ends] & 16) != 0
    numbers -= np.where(negative, np.int64(1) << (5 * (place[ends] + 1)), 0)
    # x_i = d_i + x_{i-2} for i > 2: sums over every other number. x_1 = d_1, x_2 = d_2,
    # and x_0, which stands alone, is left out of the sum of the even ones.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
