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
        max_depth: depths beyond are taken for this.
    """
    depth = np.concatenate([np.asarray(r.depth) for r in recordings])
    depth = np.minimum(depth, max_depth)
    known = depth > 0
    masked = np.where(known, depth, np.nan)
    # A pixel that never has a depth gets the median of all.
    overall = float(np.median(depth[known]))
    never = ~known.any(axis=0)
    masked[:, never] = overall
    return {
        "constant": np.full(depth.shape[1:], overall),
        "median": np.nanmedian(masked, axis=0),
        "log_mean": np.exp(np.nanmean(np.log(masked), axis=0)),
    }
