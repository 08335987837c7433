"""A recording whose frames are all predicted, as the writers see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from mdm_jax.geometry.view import View
from mdm_jax.prediction.frame_store import FrameStore
from mdm_jax.sources.source import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Predicted:
    """A recording with a prediction of each frame.

    Attributes:
        source: of the frames.
        names: of the predicted frames, in order.
        store: holds their predictions, in the network's unit.
        view: crop and resize applied to every frame.
        intrinsics: `[3 3]` in pixels of the view, for frames without intrinsics of
            their own; None where unknown.
        frame_stride: number of frames between the two of a pair.
        frames_per_second: None where unknown.
        scale: results are predictions times this.
        unit: of the results.
    """

    source: Source
    names: Sequence[str]
    store: FrameStore
    view: View
    intrinsics: np.ndarray | None
    frame_stride: int
    frames_per_second: float | None
    scale: float = 1.0
    unit: str = "relative unit"

    @property
    def seconds_per_pair(self) -> float | None:
        """Time between the two frames of a pair; None where unknown."""
        rate = self.frames_per_second
        return self.frame_stride / rate if rate else None


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics over all frames, in the network's unit.

    Attributes:
        max_depth: largest depth.
        median_depth: median of the frames' medians.
        inverse_depth_limit: end of the colour scale of 1 / depth.
        motion_limit: end of the colour scale of motion, which one moving frame in
            twenty may exceed.
        rotation: `[n 3 3]` of all pairs, `source_from_target`.
        translation: `[n 3]`.
        intrinsics: `[n 3 3]` in pixels of the view.
    """

    max_depth: float
    median_depth: float
    inverse_depth_limit: float
    motion_limit: float
    rotation: np.ndarray
    translation: np.ndarray
    intrinsics: np.ndarray


def statistics(store: FrameStore, names: Sequence[str]) -> Statistics:
    """Returns the statistics of predicted frames, without reading their maps."""
    keys = ("max_depth", "median_depth", "inverse_depth_limit", "motion_limit")
    shapes = {"rotation": (3, 3), "translation": (3,), "intrinsics": (3, 3)}
    columns: dict[str, list[np.ndarray]] = {key: [] for key in (*keys, *shapes)}
    for name in names:
        for key, value in store.read(name, *columns).items():
            columns[key].append(value)
    arrays = {
        key: np.asarray(columns[key], np.float64).reshape(-1, *shape)
        for key, shape in shapes.items()
    }
    # In most frames of a street nothing moves but noise, which a median over all frames
    # would show as if it were traffic.
    limits = [limit for limit in columns["motion_limit"] if limit > 0]
    return Statistics(
        max_depth=float(np.max(columns["max_depth"])),
        median_depth=float(np.median(columns["median_depth"])),
        inverse_depth_limit=float(np.median(columns["inverse_depth_limit"])),
        motion_limit=float(np.percentile(limits or [1.0], 95)),
        **arrays,
    )
