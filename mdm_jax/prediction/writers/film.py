"""The video of a recording: input, depth and object motion side by side."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Self

import numpy as np

from mdm_jax.files import atomic, image_file
from mdm_jax.prediction.inputs import Frame
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.visualize import colormaps, video

_DEFAULT_RATE = 10.0


class Film:
    """Writes `video.webm`, or `picture.png` of a single frame; a context manager.

    The file appears when the block succeeds.
    """

    def __init__(
        self, output: pathlib.Path, recording: Predicted, statistics: Statistics
    ):
        self._picture = output / "picture.png"
        self._view = recording.view
        self._statistics = statistics
        self._replacing = self._writer = None
        if len(recording.names) > 1:
            self._replacing = atomic.replacing(output / "video.webm")
            self._rate = recording.frames_per_second or _DEFAULT_RATE

    def __enter__(self) -> Self:
        if self._replacing is not None:
            path = self._replacing.__enter__()
            self._writer = video.VideoWriter(path, frames_per_second=self._rate)
        return self

    def __exit__(self, *error):
        if self._writer is not None and self._replacing is not None:
            self._writer.close()
            self._replacing.__exit__(*error)

    def write(self, frame: Frame, maps: Mapping[str, np.ndarray]):
        """Appends the picture of a frame."""
        picture = self._side_by_side(frame, maps)
        if self._writer is None:
            image_file.write_png(self._picture, picture)
        else:
            self._writer.write(picture)

    def _side_by_side(self, frame: Frame, maps: Mapping[str, np.ndarray]) -> np.ndarray:
        view = self._view
        limit = self._statistics.inverse_depth_limit
        depth = colormaps.inverse_depth(maps["depth"], limit=limit)
        motion = np.full((*view.size, 3), colormaps.UNKNOWN, np.uint8)
        if "object_motion" in maps:
            limit = self._statistics.motion_limit
            motion = colormaps.motion(maps["object_motion"], limit=limit)
        unknown = colormaps.UNKNOWN
        return video.side_by_side(
            {
                "input": frame.original,
                "depth (near: bright)": view.original_colors(depth, fill=unknown),
                "object motion (x, y, z: R, G, B)": view.original_colors(
                    motion, fill=unknown
                ),
            }
        )
