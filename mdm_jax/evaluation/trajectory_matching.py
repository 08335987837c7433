"""Matching of predicted poses to true poses of the same time.

Leaving out difficult frames would improve a trajectory. Frames may be missing at the
start, where many methods initialise, and are counted; elsewhere, missing frames are an
error unless they are allowed.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Float, Int

from mdm_jax.evaluation.trajectory_files import Trajectory

# Seconds; a tenth of KITTI's frame interval (Zhou et al. 2017).
MAX_TIME_DIFFERENCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """The true poses of a sequence, and the predicted poses of some of its `frames`.

    Frames are counted from 0 and ascend.
    """

    name: str
    true: Float[np.ndarray, "n 4 4"]
    predicted: Float[np.ndarray, "m 4 4"]
    frames: Int[np.ndarray, " m"]

    @property
    def num_missing(self) -> int:
        """Number of true frames without a predicted pose."""
        return len(self.true) - len(self.frames)


def paired_files(
    predictions: str | os.PathLike[str], truth: str | os.PathLike[str]
) -> dict[str, tuple[pathlib.Path, pathlib.Path | None]]:
    """Returns (true, predicted) trajectory files by the sequence's name.

    Two files form a pair whatever their names; in folders, `.txt` files are paired by
    name. The predicted file is None where there is none.

    Raises:
        ValueError: a prediction has no truth, or there is no prediction.
        OSError: a path does not exist.
    """
    predictions, truth = pathlib.Path(predictions), pathlib.Path(truth)
    for path in (predictions, truth):
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
    if predictions.is_file() and truth.is_file():
        return {predictions.stem: (truth, predictions)}
    files = {}
    for path in (predictions, truth):
        if path.is_file():
            files[path] = {path.name: path}
        else:
            texts = sorted(path.rglob("*.txt"))
            files[path] = {str(text.relative_to(path)): text for text in texts}
    if not files[predictions]:
        raise ValueError(f"{predictions}: no file in it ends in .txt")
    for name, path in files[predictions].items():
        if name not in files[truth]:
            raise ValueError(f"{path}: its truth is missing; {truth} has no {name}")
    return {
        name.removesuffix(".txt"): (path, files[predictions].get(name))
        for name, path in files[truth].items()
    }


def match(
    name: str,
    truth: Trajectory,
    prediction: Trajectory,
    *,
    times: Float[np.ndarray, " n"] | None = None,
    allow_missing: bool = False,
) -> Matched:
    """Returns the predicted poses with the true poses of the same time.

    If the prediction has times, each pose matches the nearest true pose less than
    `MAX_TIME_DIFFERENCE` away. Otherwise poses match by frame numbers, if given, or in
    order.

    Args:
        name: of the sequence.
        truth: all frames.
        prediction: most frames.
        times: times of the true frames if their file has none.
        allow_missing: leave out and count missing frames anywhere.

    Raises:
        ValueError: poses are missing or match no true pose; names file and frame.
    """
    count = len(truth.poses)
    if truth.frames is not None and not np.array_equal(truth.frames, np.arange(count)):
        raise ValueError(f"{truth.path}: true poses must be numbered 0, 1, 2, ...")
    true_times = truth.times if times is None else times
    if prediction.times is not None:
        if true_times is None:
            raise ValueError(
                f"{prediction.path} has times and {truth.path} has none: pass the times"
                " of its frames"
            )
        if len(true_times) != count:
            raise ValueError(f"{truth.path}: {count} poses but {len(true_times)} times")
        frames = _frames_at(prediction.path, prediction.times, true_times)
    elif prediction.frames is not None:
        frames = prediction.frames
        beyond = np.flatnonzero(frames >= count)
        if beyond.size:
            raise ValueError(
                f"{prediction.path}: frame {frames[beyond[0]]} is not in the truth"
                f" {truth.path}, which has frames 0 to {count - 1}"
            )
    elif len(prediction.poses) == count:
        frames = np.arange(count)
    else:
        raise ValueError(
            f"{prediction.path}: {len(prediction.poses)} poses, but {count} in the truth"
            f" {truth.path}; if frames are missing, write the frame number in front of"
            " each pose"
        )
    missing = np.setdiff1d(np.arange(frames[0], count), frames)
    if missing.size and not allow_missing:
        raise ValueError(
            f"{prediction.path}: no pose of frame {missing[0]} ({missing.size} missing"
            " after the first pose). Leaving out difficult frames would improve the"
            " result; allow missing frames to leave them out and count them"
        )
    return Matched(name, truth.poses, prediction.poses, frames)


def _frames_at(path: str, times: np.ndarray, true_times: np.ndarray) -> np.ndarray:
    """Returns the frame nearest in time to each predicted pose; no frame repeats."""
    right = np.clip(np.searchsorted(true_times, times), 1, max(len(true_times) - 1, 1))
    right = np.minimum(right, len(true_times) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(times - true_times[left]) <= np.abs(true_times[right] - times)
    frames = np.where(nearer_left, left, right)
    far = np.flatnonzero(np.abs(true_times[frames] - times) >= MAX_TIME_DIFFERENCE)
    if far.size:
        raise ValueError(
            f"{path}: the pose at {times[far[0]]:.6f} s has no true pose less"
            f" than {MAX_TIME_DIFFERENCE} s away ({far.size} have none)"
        )
    twice = np.flatnonzero(np.diff(frames) == 0)
    if twice.size:
        raise ValueError(
            f"{path}: the poses at {times[twice[0]]:.6f} s and"
            f" {times[twice[0] + 1]:.6f} s are both nearest to true pose"
            f" {frames[twice[0]]}"
        )
    return frames
