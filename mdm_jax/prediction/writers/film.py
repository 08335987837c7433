"""The frames of the film: input, depth and object motion side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mdm_jax.prediction.inputs import Frame
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.visualize import colormaps, video


def picture(
    recording: Predicted,
    statistics: Statistics,
    frame: Frame,
    maps: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Returns uint8 RGB: a frame and its maps, in the colour scales of the recording."""
    view = recording.view
    depth = colormaps.inverse_depth(maps["depth"], limit=statistics.inverse_depth_limit)
    motion = np.full((*view.size, 3), colormaps.UNKNOWN, np.uint8)
    if "object_motion" in maps:
        limit = statistics.motion_limit
        motion = colormaps.motion(maps["object_motion"], limit=limit)
    depth, motion = (
        view.original_colors(colors, fill=colormaps.UNKNOWN)
        for colors in (depth, motion)
    )
    return video.side_by_side(
        {
            "input": frame.original,
            "depth (near: bright)": depth,
            "object motion (x, y, z: R, G, B)": motion,
        }
    )
