"""Measures of predicted frame pairs, folded one pair at a time.

A measure takes pairs with `add` and tells the metrics of all of them with `result`. It
keeps sums, counts and a few numbers for each pair, never a map, so that a recording may
be of any length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import ml_collections
import numpy as np

from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation.evaluate import FramePair
from mdm_jax.evaluation.measures import motion_metrics
from mdm_jax.recording import arrays as recording_lib
from mdm_jax.recording.arrays import Recording

Maps = Mapping[str, np.ndarray]


class Measure(Protocol):
    """See the module's docstring."""

    def add(self, pair: FramePair) -> None:
        """Takes a pair into account."""

    def result(self) -> dict[str, float]:
        """Returns the flat metrics of the pairs added."""
        ...


class _Means:
    """Means by name."""

    def __init__(self):
        self._sums: dict[str, np.ndarray] = {}

    def add(self, name: str, value: float, weight: float = 1.0):
        sums = self._sums.setdefault(name, np.zeros(2))
        sums += (weight * value, weight)

    def result(self) -> dict[str, float]:
        return {name: float(s / n) for name, (s, n) in self._sums.items() if n}


def knows_truth(recording: Recording) -> bool:
    """Returns whether `Truth` finds something to measure."""
    return recording.depth is not None or recording.world_from_camera is not None


def knows_object_motion(recording: Recording) -> bool:
    """Returns whether it is known which pixels move by themselves, and how."""
    needed = (
        recording.depth,
        recording.intrinsics,
        recording.world_from_camera,
        recording.instance_labels,
        recording.world_from_object,
    )
    return all(known is not None for known in needed)


class Truth:
    """Depth, egomotion and object motion, as far as recordings hold the truth of them.

    Depth is measured over all pixels (`depth/`) and, where object motion is known, over
    `moving/` and `static/` ones; `moving/hole_rate` is the share of moving pixels that
    are put more than three times too far away. Where only instances are known, it is
    measured over their pixels (`instances/`) and the rest (`background/`).
    Image-independent maps are measured alike and the best of them is reported as
    `baseline/...`.
    """

    def __init__(
        self, evaluation: ml_collections.ConfigDict, baselines: Maps | None = None
    ):
        """Begins.

        Args:
            evaluation: `config.evaluation`: depth range and motion threshold.
            baselines: fixed depth maps by name.
        """
        self._range = {
            "min_depth": evaluation.min_depth,
            "max_depth": evaluation.max_depth,
        }
        self._motion_threshold = evaluation.motion_threshold
        self._baselines = dict(baselines or {})
        self._means = _Means()
        self._scales: list[float] = []
        self._motion = motion_metrics.MotionCounts()
        self._knows_motion = False
        self._true_poses: list[np.ndarray] = []
        self._rotations: list[np.ndarray] = []
        self._translations: list[np.ndarray] = []

    def add(self, pair: FramePair):
        """Takes a pair into account; where no depth is valid, only its egomotion."""
        recording, prediction = pair.recording, pair.prediction
        if recording.world_from_camera is not None:
            self._true_poses.append(
                recording_lib.camera_motion(recording, pair.index, pair.source_index)
            )
            self._rotations.append(prediction["rotation"])
            self._translations.append(prediction["translation"])
        if recording.depth is None:
            return
        truth = pair.true_depth()
        valid = depth_lib.valid_pixels(truth, **self._range)
        if not valid.any():
            return
        moving = known = None
        parts = {"depth": valid}
        if knows_object_motion(recording):
            moving = recording_lib.moving_mask(recording, pair.index, pair.source_index)
            # An object that is gone in the other frame counts as neither.
            known = (
                valid
                & recording_lib.rigid_motion(
                    recording, pair.index, pair.source_index
                ).known
            )
            parts |= {"moving": known & moving, "static": known & ~moving}
        elif recording.instance_labels is not None:
            instances = np.asarray(recording.instance_labels[pair.index]) > 0
            parts |= {"instances": valid & instances, "background": valid & ~instances}
        scale = self._add_depth("", truth, prediction["depth"], parts)
        self._scales.append(scale)
        for name, depth in self._baselines.items():
            self._add_depth(f"baseline/{name}/", truth, depth, parts)
        if moving is None or known is None:
            return
        self._knows_motion = True
        length = np.linalg.norm(prediction["object_motion"], axis=-1)
        self._motion.add(length, moving, known)
        hole = (scale * prediction["depth"] > 3 * truth)[known & moving]
        if hole.size:
            self._means.add("moving/hole_rate", float(hole.mean()), hole.size)

    def _add_depth(
        self,
        prefix: str,
        truth: np.ndarray,
        depth: np.ndarray,
        parts: Maps,
    ) -> float:
        """Adds the metrics of a depth map over each part; returns the scale it needed."""
        scale = depth_lib.median_scale(truth, depth, parts["depth"])
        for part, mask in parts.items():
            if mask.any():
                metrics = depth_lib.depth_metrics(
                    truth, scale * depth, mask, **self._range
                )
                for name, value in metrics.items():
                    self._means.add(f"{prefix}{part}/{name}", value)
        return scale

    def result(self) -> dict[str, float]:
        """Returns the metrics of what is known; the keys say what is measured."""
        result = self._means.result()
        if self._scales:
            result["depth/scale"] = float(np.mean(self._scales))
            result["depth/scale_spread"] = (
                float(np.std(self._scales)) / result["depth/scale"]
            )
        result["depth/num_images"] = len(self._scales)
        result |= _best_baseline(result, tuple(self._baselines))
        if self._true_poses:
            egomotion = motion_metrics.egomotion_metrics(
                np.stack(self._true_poses),
                np.stack(self._rotations),
                np.stack(self._translations),
            )
            result |= {f"egomotion/{name}": value for name, value in egomotion.items()}
        if self._knows_motion:
            result.setdefault("moving/hole_rate", 0.0)
            # Residual motion counts as moving in units of the prediction's own mean step.
            mean_step = float(np.mean(np.linalg.norm(self._translations, axis=-1)))
            result["motion/iou"] = self._motion.iou(self._motion_threshold * mean_step)
            result["motion/iou_all_moving"] = self._motion.iou_all_moving()
        return result


class Reconstruction:
    """How well the second frames, warped, explain the first: needs no truth.

    Both are mean absolute colour differences, of 1, over pixels that stay in view: of
    the warped frame, and of the frame as it is.
    """

    def __init__(self):
        self._means = _Means()

    def add(self, pair: FramePair):
        """Takes a pair into account; where no pixel stays in view there is nothing."""
        valid = pair.prediction["valid"]
        if not valid.any():
            return
        target, source = (
            np.asarray(pair.recording.frames[i])[valid] / np.float32(255)
            for i in (pair.index, pair.source_index)
        )
        warped = pair.prediction["warped"][valid]
        error, unwarped = (np.abs(x - target).mean() for x in (warped, source))
        self._means.add("reconstruction/colour_error", float(error))
        self._means.add("reconstruction/unwarped_colour_error", float(unwarped))

    def result(self) -> dict[str, float]:
        """Returns both differences, NaN where nothing was ever in view."""
        empty = {
            "reconstruction/colour_error": np.nan,
            "reconstruction/unwarped_colour_error": np.nan,
        }
        return empty | self._means.result()


class LearnedIntrinsics:
    """The learned camera: means over pairs, in pixels of the frames as evaluated.

    Where the recording has intrinsics, `focal_relative_error` is the mean of |f - f*| /
    f* over both focal lengths.
    """

    def __init__(self):
        self._means = _Means()

    def add(self, pair: FramePair):
        """Takes a pair into account."""
        learned = pair.prediction["intrinsics"]
        for name, index in {
            "fx": (0, 0),
            "fy": (1, 1),
            "cx": (0, 2),
            "cy": (1, 2),
        }.items():
            self._means.add(f"intrinsics/{name}", float(learned[index]))
        if pair.recording.intrinsics is not None:
            focal, true_focal = (
                np.diag(matrix)[:2] for matrix in (learned, pair.recording.intrinsics)
            )
            error = float(np.mean(np.abs(focal / true_focal - 1)))
            self._means.add("intrinsics/focal_relative_error", error)

    def result(self) -> dict[str, float]:
        """Returns fx, fy, cx, cy and, where known, the error."""
        return self._means.result()


def _best_baseline(
    result: Mapping[str, float], names: Sequence[str]
) -> dict[str, float]:
    """Returns the lowest error that any image-independent map reaches."""
    best = {}
    for part, key in (
        ("depth", "abs_rel"),
        ("moving", "moving_abs_rel"),
        ("static", "static_abs_rel"),
        ("instances", "instances_abs_rel"),
        ("background", "background_abs_rel"),
    ):
        errors = [result.get(f"baseline/{name}/{part}/abs_rel") for name in names]
        known = [error for error in errors if error is not None]
        if known:
            best[f"baseline/{key}"] = min(known)
    return best
