"""Matches masks to frames by file name, or by the number in the file name.

Names are file names without the suffix. The number of a name consists of the runs of
digits that vary among the names: among the frames of one Cityscapes snippet,
`town_000003_000017_left8bit` has the number (17,), and so has
`town_000003_000017_instances` among the masks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def match(names: Sequence[str], keys: Sequence[str]) -> list[str | None]:
    """Returns the key of the mask of each frame; None for frames without a mask.

    Keys equal to names take precedence; numbers are compared only if no key equals a
    name and if numbers are unique on both sides.

    Args:
        names: unique names of the frames.
        keys: unique names of the masks.
    """
    keys_set = set(keys)
    if any(name in keys_set for name in names):
        return [name if name in keys_set else None for name in names]
    key_of = dict(zip(_numbers(keys), keys, strict=True))
    frame_numbers = _numbers(names)
    if len(key_of) != len(keys) or len(set(frame_numbers)) != len(names):
        return [None] * len(names)
    return [key_of.get(number) for number in frame_numbers]


def _numbers(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Returns the number of each name, an empty tuple for names without digits."""
    runs = [tuple(int(run) for run in re.findall(r"\d+", name)) for name in names]
    if len({len(run) for run in runs}) > 1:
        return runs
    columns = list(zip(*runs, strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    if not varying:
        varying = columns[-1:]
    return list(zip(*varying, strict=True)) if varying else [()] * len(names)
