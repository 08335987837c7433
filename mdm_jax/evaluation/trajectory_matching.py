"""Which predicted poses and which true ones are of the same moment.

A trajectory looks better where its hard parts are missing, so frames may be missing at
the start, where many methods still initialise, and are counted; elsewhere they are an
error unless they are allowed to be missing.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Float, Int

from mdm_jax.evaluation.trajectory_files import Trajectory

# Zhou et al. 2017; a tenth of the frame distance of KITTI. Seconds.
MAX_TIME_DIFFERENCE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Matched:
    """A predicted trajectory beside the true one.

    Attributes:
        name: of the sequence.
        true: poses of all frames of the truth.
        predicted: poses of the frames that are predicted.
        frames: which these are, counted from 0, ascending.
    """

    name: str
    true: Float[np.ndarray, "n 4 4"]
    predicted: Float[np.ndarray, "m 4 4"]
    frames: Int[np.ndarray, " m"]

    @property
    def num_missing(self) -> int:
        """How many true frames have no predicted pose."""
        return len(self.true) - len(self.frames)


def paired_files(
    predictions: str | os.PathLike[str], truth: str | os.PathLike[str]
) -> dict[str, tuple[pathlib.Path, pathlib.Path | None]]:
    """Returns the files of predicted and true trajectories by the sequence's name.

    Two files belong together as they are; of two folders those `.txt` files that have
    the same name. A true trajectory that is not predicted has None as a prediction.

    Raises:
        ValueError: a prediction has no truth, or there is none; names the file.
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
        found = [path] if path.is_file() else sorted(path.rglob("*.txt"))
        names = [p.name if path.is_file() else str(p.relative_to(path)) for p in found]
        files[path] = dict(zip(names, found, strict=True))
    if not files[predictions]:
        raise ValueError(f"{predictions}: no file in it ends in .txt")
    for name, path in files[predictions].items():
        if name not in files[truth]:
            raise ValueError(f"{path}: {truth} has no {name}, the truth of it")
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
    """Returns which poses are of the same moment.

    By times where the prediction has them, the nearest and less than
    `MAX_TIME_DIFFERENCE` apart; else by the frames' numbers; else in order.

    Args:
        name: of the sequence.
        truth: of all frames.
        prediction: of most of them.
        times: of the frames of the truth, where its file has none.
        allow_missing: leave out and count missing frames wherever they are.

    Raises:
        ValueError: poses are missing or have no true counterpart; names file and frame.
    """
    count = len(truth.poses)
    if truth.frames is not None and not np.array_equal(truth.frames, np.arange(count)):
        raise ValueError(f"{truth.path}: the truth must have every frame from 0 on")
    true_times = truth.times if times is None else times
    if prediction.times is not None:
        if true_times is None:
            raise ValueError(
                f"{prediction.path} tells times and {truth.path} does not: pass the"
                " times of its frames"
            )
        if len(true_times) != count:
            raise ValueError(
                f"{truth.path}: {count} poses but {len(true_times)} times of frames"
            )
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
            f" {truth.path}; where frames are missing, put its number in front of each"
            " pose"
        )
    inside = np.arange(0 if allow_missing else frames[0], count)
    missing = np.setdiff1d(inside, frames)
    if missing.size and not allow_missing:
        raise ValueError(
            f"{prediction.path}: no pose of frame {missing[0]} ({missing.size} missing"
            f" behind the first one); leaving out what is hard makes a trajectory look"
            " better: allow missing frames to have them left out and counted"
        )
    return Matched(name, truth.poses, prediction.poses, frames)


def _frames_at(path: str, times: np.ndarray, true_times: np.ndarray) -> np.ndarray:
    """Returns the frame nearest in time to each predicted pose, none of them twice."""
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
