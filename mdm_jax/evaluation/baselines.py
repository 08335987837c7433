"""Depth maps that need no image: the errors that a network has to beat.

A network that ignores its input can still place the road near and the horizon far, as
well as the best fixed map does. There are three such maps: a constant, and for each
pixel the median and the logarithmic mean of the true depth of the training drives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.recording.arrays import Recording

# So many values are sorted in memory; they determine a median well enough.
_MAX_VALUES = 1 << 25


def image_independent_maps(
    recordings: Sequence[Recording], *, max_depth: float
) -> dict[str, Float[np.ndarray, "h w"]]:
    """Returns the maps `constant`, `median` and `log_mean`, in metres.

    There are none if no true depth lies in the range.

    Args:
        recordings: the training set, all of one size. Recordings without depth are
            ignored, and very many frames are subsampled evenly.
        max_depth: larger depth, such as that of the sky, is not evaluated and ignored
            here too. Pixels without any depth get the median of all pixels.
    """
    maps = [r.depth for r in recordings if r.depth is not None]
    if not maps:
        return {}
    frames = sum(map(len, maps))
    step = max(1, math.ceil(frames * math.prod(maps[0].shape[1:]) / _MAX_VALUES))
    depth = np.concatenate([np.asarray(frames[::step]) for frames in maps])
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
