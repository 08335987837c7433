"""How far a trajectory is from the truth: as a whole, per step, per stretch of road.

Poses are `world_from_camera` `[n 4 4]`, positions in metres after alignment. Errors of
relative poses are those of `inverse(one motion) @ other motion`. Nothing here aligns;
`alignment` does.

Rotations in files are rounded, and formulas that are equal for exact rotations then
differ in the third digit of small angles. So inverses are true ones, not transposes,
angles come from the trace, and which motion is inverted follows the published codes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

# Geiger et al. 2012: lengths of the sub-sequences in metres, and every how many frames
# one starts.
SEGMENT_LENGTHS = (100, 200, 300, 400, 500, 600, 700, 800)
SEGMENT_STEP = 10
# A camera that moves less in a snippet stands still, metres.
STANDING = 0.01


def translation_length(pose: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    """Returns the lengths of the translations."""
    return np.linalg.norm(pose[..., :3, 3], axis=-1)


def rotation_angle(pose: Float[np.ndarray, "*n 4 4"]) -> Float[np.ndarray, "*n"]:
    """Returns the angles of the rotations, radians, in [0, pi]."""
    trace = np.trace(pose[..., :3, :3], axis1=-2, axis2=-1)
    return np.arccos(np.clip((trace - 1) / 2, -1.0, 1.0))


def rebased(poses: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
    """Returns the poses as seen from the first one, which becomes the identity."""
    return np.linalg.inv(poses[0]) @ poses


def path_lengths(poses: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, " n"]:
    """Returns the length of the way from the first pose to each."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def absolute_error(
    true: Float[np.ndarray, "n 4 4"], predicted: Float[np.ndarray, "n 4 4"]
) -> dict[str, float]:
    """Returns rmse, mean, median, std, min and max of the distances of positions."""
    distance = np.linalg.norm(true[:, :3, 3] - predicted[:, :3, 3], axis=-1)
    return {
        "rmse": float(np.sqrt(np.mean(distance**2))),
        "mean": float(np.mean(distance)),
        "median": float(np.median(distance)),
        "std": float(np.std(distance)),
        "min": float(np.min(distance)),
        "max": float(np.max(distance)),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class StepErrors:
    """Errors of the motion from a frame to the next, one entry for each step."""

    translation: Float[np.ndarray, " m"]
    rotation: Float[np.ndarray, " m"]


def step_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "n 4 4"],
    frames: Int[np.ndarray, " n"],
) -> StepErrors:
    """Returns the relative pose errors, metres and radians, of consecutive frames.

    Args:
        true: poses.
        predicted: poses of the same frames.
        frames: their numbers; steps over a missing frame are left out.
    """
    first = np.flatnonzero(np.diff(frames) == 1)
    error = np.linalg.inv(_motion(true, first, first + 1)) @ _motion(
        predicted, first, first + 1
    )
    return StepErrors(translation_length(error), rotation_angle(error))


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentErrors:
    """Errors over stretches of road, one entry for each stretch.

    Attributes:
        first: number of the frame it starts at.
        length: nominal length, metres.
        translation: error over length, metres per metre.
        rotation: error over length, radians per metre.
    """

    first: Int[np.ndarray, " m"]
    length: Float[np.ndarray, " m"]
    translation: Float[np.ndarray, " m"]
    rotation: Float[np.ndarray, " m"]

    def t_err_percent(self) -> float:
        """Returns the mean translation error in percent, NaN without any stretch."""
        return 100 * _mean(self.translation)

    def r_err_deg_per_100m(self) -> float:
        """Returns the mean rotation error, NaN without any stretch."""
        return 100 * float(np.degrees(_mean(self.rotation)))


def segment_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "m 4 4"],
    frames: Int[np.ndarray, " m"],
    *,
    lengths: tuple[int, ...] = SEGMENT_LENGTHS,
    step: int = SEGMENT_STEP,
) -> SegmentErrors:
    """Returns the errors over stretches of each length, from every `step`-th frame.

    A stretch ends at the first frame for which the true way is longer than its nominal
    length (Geiger et al. 2012). Stretches that leave the drive, or one of whose ends is
    not predicted, are left out.

    Args:
        true: poses of all frames of the drive.
        predicted: poses of some of them.
        frames: which these are, counted from 0, ascending.
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
        ate: the number of the SfM-Learner tables, metres: the root of the *sum* of the
            squared distances, divided by the number of frames N.
        rmse: the root of their *mean*, metres, which is larger by the root of N.
        scale: what the prediction was multiplied by; NaN where it does not move at all
            and was kept. A negative one turns a prediction of the opposite motion into
            a good one.
        length: the true way, metres. Where it is 0 the best scale is 0, and so is the
            error, whatever is predicted.
    """

    ate: Float[np.ndarray, " s"]
    rmse: Float[np.ndarray, " s"]
    scale: Float[np.ndarray, " s"]
    length: Float[np.ndarray, " s"]

    def counts(self) -> dict[str, int]:
        """Returns how many snippets there are, and of those that need a second look.

        These are counted and not corrected, because published numbers have them too.
        """
        return {
            "num_snippets": self.ate.size,
            "num_still_snippets": int(np.sum(np.isnan(self.scale))),
            "num_backward_snippets": int(np.sum(self.scale < 0)),
            "num_standing_snippets": int(np.sum(self.length < STANDING)),
        }


def snippet_errors(
    true: Float[np.ndarray, "n 4 4"],
    predicted: Float[np.ndarray, "n 4 4"],
    frames: Int[np.ndarray, " n"],
    *,
    length: int = 5,
) -> SnippetErrors:
    """Returns the errors of all snippets of consecutive frames (Zhou et al. 2017).

    Both snippets start at the origin, looking ahead; then the predicted one gets the
    least-squares scale. One that does not move at all keeps its scale.

    Args:
        true: poses.
        predicted: poses of the same frames.
        frames: their numbers; snippets with a missing frame are left out.
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
    still = power == 0
    scale = agreement / np.where(still, 1.0, power)
    error = scale[:, None, None] * positions - true_positions
    squares = np.sum(error**2, axis=(-2, -1))
    steps = np.linalg.norm(np.diff(true_positions, axis=1), axis=-1)
    return SnippetErrors(
        np.sqrt(squares) / length,
        np.sqrt(squares / length),
        np.where(still, np.nan, scale),
        np.sum(steps, axis=-1),
    )


def _motion(poses: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns `first_from_last` for each pair of rows."""
    return np.linalg.inv(poses[first]) @ poses[last]


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")
