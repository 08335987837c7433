"""COCO run-length encoding: a mask as the lengths of alternating runs of 0 and 1.

Runs follow the columns from left to right and start with a run of zeros, which may be
empty. The compressed text stores run i as its difference to run i - 2 (from the fourth
run on) in groups of five bits, lowest group first. Each character is 48 + the group,
+ 32 if another group follows; the highest bit of the last group is the sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MAX_RUN = 1 << 31


def decode(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Returns the mask, bool `[h w]`.

    Args:
        counts: compressed text, or a list of run lengths.
        size: height and width.

    Raises:
        ValueError: `counts` does not encode a mask of this size.
    """
    if isinstance(counts, str | bytes):
        runs = _parse(counts)
    else:
        runs = np.asarray(counts, np.int64)
    height, width = size
    if runs.ndim != 1 or (runs < 0).any() or (runs > _MAX_RUN).any():
        raise ValueError("run lengths must be a list of non-negative numbers")
    if (total := int(runs.sum())) != height * width:
        raise ValueError(
            f"run lengths add up to {total} pixels, but a mask of {height}x{width}"
            f" (height x width) has {height * width}"
        )
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _parse(text: str | bytes) -> np.ndarray:
    """Returns the run lengths of compressed text, int64."""
    if isinstance(text, str):
        text = text.encode("utf-8")
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if ((groups < 0) | (groups > 63)).any():
        raise ValueError("compressed run lengths use the characters '0' to 'o' only")
    if not len(groups):
        return np.zeros(0, np.int64)
    last = (groups & 32) == 0
    if not last[-1]:
        raise ValueError("compressed run lengths are truncated")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    position = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    if position.max() > 6:  # 35 bits, more than the pixels of any image
        raise ValueError("compressed run lengths contain a number that is too large")
    numbers = np.add.reduceat((groups & 31) << (5 * position), starts)
    negative = (groups[ends] & 16) != 0
    numbers -= np.where(negative, np.int64(1) << (5 * (position[ends] + 1)), 0)
    # x_i = d_i + x_{i-2} for i > 2: cumulative sums over every second number. x_0 is
    # not part of the sum over even indices, because d_2 = x_2.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
