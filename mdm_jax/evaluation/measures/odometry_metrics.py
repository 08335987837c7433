"""Errors of a trajectory: of positions, steps, segments of road, and snippets.

Poses are `world_from_camera` `[n 4 4]`, with positions in metres after `alignment`. The
error of a relative pose is `inverse(motion) @ other_motion`.

Rotations in files are rounded, and formulas that agree for exact rotations then differ
in the third digit of small angles. This module follows the published code: inverses are
matrix inverses and not transposes, angles come from the trace, and the motion that is
inverted is the one inverted there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

# Geiger et al. 2012: lengths of segments in metres, and frames between their starts.
SEGMENT_LENGTHS = (100, 200, 300, 400, 500, 600, 700, 800)
SEGMENT_STEP = 10
# A snippet with a shorter path, metres, is static.
_STATIC = 0.01


def translation_length(pose: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    """Returns the lengths of the translations."""
    return np.linalg.norm(pose[..., :3, 3], axis=-1)


def rotation_angle(pose: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    """Returns the angles of the rotations, radians, in [0, pi]."""
    trace = np.trace(pose[..., :3, :3], axis1=-2, axis2=-1)
    return np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))


def rebased(poses: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
    """Returns the poses relative to the first one, which becomes the identity."""
    return np.linalg.inv(poses[0]) @ poses


def path_lengths(poses: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, " n"]:
    """Returns the length of the path from the first pose to each pose."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def absolute_error(
    true: Float[np.ndarray, "n 4 4"], predicted: Float[np.ndarray, "n 4 4"]
) -> dict[str, float]:
    """Returns rmse, mean, median, std, min and max of the distances of positions."""
    distance = np.linalg.norm(true[:, :3, 3] - predicted[:, :3, 3], axis=-1)
    statistics = {
        "rmse": np.sqrt(np.mean(distance**2)),
        "mean": np.mean(distance),
        "median": np.median(distance),
        "std": np.std(distance),
        "min": np.min(distance),
        "max": np.max(distance),
    }
    return {name: float(value) for name, value in statistics.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class StepErrors:
    """Errors of the motion from each frame to the next, metres and radians."""

    translation: Float[np.ndarray, " m"]
    rotation: Float[np.ndarray, " m"]


def step_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "n 4 4"],
    frames: Int[np.ndarray, " n"],
) -> StepErrors:
    """Returns the relative pose errors of consecutive frames.

    Args:
        true: poses.
        predicted: poses of the same frames.
        frames: frame numbers; steps over a missing frame are left out.
    """
    first = np.flatnonzero(np.diff(frames) == 1)
    error = np.linalg.inv(_motion(true, first, first + 1)) @ _motion(
        predicted, first, first + 1
    )
    return StepErrors(translation_length(error), rotation_angle(error))


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentErrors:
    """Errors of segments of road, one entry for each segment.

    Attributes:
        first: number of the first frame.
        length: nominal length, metres.
        translation: metres per metre.
        rotation: radians per metre.
    """

    first: Int[np.ndarray, " m"]
    length: Float[np.ndarray, " m"]
    translation: Float[np.ndarray, " m"]
    rotation: Float[np.ndarray, " m"]

    def t_err_percent(self) -> float:
        """Returns the mean translation error in percent, NaN without segments."""
        return 100 * _mean(self.translation)

    def r_err_deg_per_100m(self) -> float:
        """Returns the mean rotation error, NaN without segments."""
        return 100 * float(np.degrees(_mean(self.rotation)))


def segment_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "m 4 4"],
    frames: Int[np.ndarray, " m"],
    *,
    lengths: tuple[int, ...] = SEGMENT_LENGTHS,
    step: int = SEGMENT_STEP,
) -> SegmentErrors:
    """Returns the errors of segments of each length, from every `step`-th frame.

    A segment ends at the first frame for which the true path exceeds the nominal length
    (Geiger et al. 2012). Segments that leave the drive, or whose first or last frame is
    not predicted, are left out.

    Args:
        true: poses of all frames of the drive.
        predicted: poses of some frames.
        frames: their numbers, counted from 0, ascending.
        lengths: metres.
        step: frames.
    """
    distance = path_lengths(true)
    row = np.full(len(true), -1)
    row[frames] = np.arange(len(frames))
    starts = np.arange(0, len(true), step)
    first = np.repeat(starts, len(lengths))
    length = np.tile(np.array(lengths, np.float64), len(starts))
    last = np.searchsorted(distance, distance[first] + length, side="right")
    inside = last < len(true)
    first, last, length = first[inside], last[inside], length[inside]
    known = (row[first] >= 0) & (row[last] >= 0)
    first, last, length = first[known], last[known], length[known]
    motion = _motion(predicted, row[first], row[last])
    error = np.linalg.inv(motion) @ _motion(true, first, last)
    return SegmentErrors(
        first,
        length,
        translation_length(error) / length,
        rotation_angle(error) / length,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SnippetErrors:
    """Errors of short snippets of a trajectory, one entry for each snippet.

    Attributes:
        ate: the error of the SfM-Learner tables, metres: the root of the *sum* of the
            squared distances, divided by the number of frames N.
        rmse: the root of their *mean*, metres, larger by the root of N.
        scale: the factor of the prediction; NaN where it does not move and is not
            scaled. A negative factor turns a prediction of the opposite motion into a
            good one.
        length: of the true path, metres. Where it is 0, the best scale and the error
            are 0 for any prediction.
    """

    ate: Float[np.ndarray, " s"]
    rmse: Float[np.ndarray, " s"]
    scale: Float[np.ndarray, " s"]
    length: Float[np.ndarray, " s"]

    def counts(self) -> dict[str, int]:
        """Returns the number of snippets, and of those whose scale hides an error.

        These are counted but not corrected, as published numbers contain them.
        """
        return {
            "num_snippets": self.ate.size,
            "num_still_snippets": int(np.sum(np.isnan(self.scale))),
            "num_backward_snippets": int(np.sum(self.scale < 0)),
            "num_standing_snippets": int(np.sum(self.length < _STATIC)),
        }


def snippet_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "n 4 4"],
    frames: Int[np.ndarray, " n"],
    *,
    length: int = 5,
) -> SnippetErrors:
    """Returns the errors of all snippets of consecutive frames (Zhou et al. 2017).

    Both snippets are expressed relative to their first pose; then the prediction is
    scaled by least squares, unless it does not move.

    Args:
        true: poses.
        predicted: poses of the same frames.
        frames: frame numbers; snippets with a missing frame are left out.
        length: N, frames.
    """
    starts = np.arange(len(frames) - length + 1)
    starts = starts[frames[starts + length - 1] - frames[starts] == length - 1]
    rows = starts[:, None] + np.arange(length)
    true_positions, positions = (
        (np.linalg.inv(poses[starts])[:, None] @ poses[rows])[..., :3, 3]
        for poses in (true, predicted)
    )
    power = np.sum(positions**2, axis=(-2, -1))
    agreement = np.sum(true_positions * positions, axis=(-2, -1))
    static = power == 0
    scale = agreement / np.where(static, 1.0, power)
    error = scale[:, None, None] * positions - true_positions
    squares = np.sum(error**2, axis=(-2, -1))
    steps = np.linalg.norm(np.diff(true_positions, axis=1), axis=-1)
    return SnippetErrors(
        np.sqrt(squares) / length,
        np.sqrt(squares / length),
        np.where(static, np.nan, scale),
        np.sum(steps, axis=-1),
    )


def _motion(poses: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns `first_from_last` for each pair of rows."""
    return np.linalg.inv(poses[first]) @ poses[last]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")
