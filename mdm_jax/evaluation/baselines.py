"""Depth maps that need no image: what learning has to beat.

A network that ignores its input can still put the road near and the horizon far. The
best such guess is one fixed map; three are kept: a constant, and per pixel the median
and the log-mean of the training drives' true depth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.input_pipeline.recording import Recording


def image_independent_maps(
    recordings: Sequence[Recording], *, max_depth: float
) -> dict[str, Float[np.ndarray, "h w"]]:
    """Returns the fixed depth maps, in metres, by name.

    Args:
        recordings: of the training set, all of one size and with depth.
        max_depth: what is farther, such as the sky, is not measured and left out here
            too. Pixels without any depth get the median of all.

    Raises:
        ValueError: no depth lies in the range.
    """
    depth = np.concatenate([np.asarray(r.depth) for r in recordings])
    known = (depth > 0) & (depth < max_depth)
    if not known.any():
        raise ValueError(f"no true depth lies between 0 and {max_depth} m")
    overall = np.median(depth[known])
    masked = np.where(known, depth, np.nan)
    masked[:, ~known.any(axis=0)] = overall
    return {
        "constant": np.full(depth.shape[1:], overall),
        "median": np.nanmedian(masked, axis=0),
        "log_mean": np.exp(np.nanmean(np.log(masked), axis=0)),
    }
