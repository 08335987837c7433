"""Depth maps that need no image: what learning has to beat.

A network that ignores its input can still put the road near and the horizon far. The
best such guess is one fixed map; three are kept: a constant, and per pixel the median
and the log-mean of the training drives' true depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.recording.arrays import Recording

# Depths that are sorted in memory at a time, and that tell the median well enough.
_MAX_VALUES = 1 << 25


def image_independent_maps(
    recordings: Sequence[Recording], *, max_depth: float
) -> dict[str, Float[np.ndarray, "h w"]]:
    """Returns the fixed depth maps, in metres, by name.

    Args:
        recordings: of the training set, all of one size; those without depth are
            passed over, and of very many frames an even share is looked at.
        max_depth: what is farther, such as the sky, is not measured and left out here
            too. Pixels without any depth get the median of all.

    Returns:
        `constant`, `median` and `log_mean`; nothing where no depth lies in the range.
    """
    maps = [r.depth for r in recordings if r.depth is not None]
    if not maps:
        return {}
    frames = sum(map(len, maps))
    step = max(1, math.ceil(frames * math.prod(maps[0].shape[1:]) / _MAX_VALUES))
    depth = np.concatenate([np.asarray(one[::step]) for one in maps])
    known = (depth > 0) & (depth < max_depth)
    if not known.any():
        return {}
    overall = np.median(depth[known])
    masked = np.where(known, depth, np.nan)
    masked[:, ~known.any(axis=0)] = overall
    return {
        "constant": np.full(depth.shape[1:], overall),
        "median": np.nanmedian(masked, axis=0),
        "log_mean": np.exp(np.nanmean(np.log(masked), axis=0)),
    }
