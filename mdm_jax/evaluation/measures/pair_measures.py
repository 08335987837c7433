"""Measures that accumulate metrics over predicted pairs of frames.

A measure receives pairs through `add` and returns the metrics of all of them from
`result`. It stores sums and a few numbers per pair but no maps, so memory does not grow
with the length of a recording.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping

import ml_collections
import numpy as np

from mdm_jax.evaluation.measures import depth_metrics as depth_lib
from mdm_jax.evaluation.measures import motion_metrics
from mdm_jax.evaluation.pairs import FramePair, knows_object_motion

_PARTS = ("depth", "moving", "static", "instances", "background")


class Measure(abc.ABC):
    """Accumulates metrics, see the module's docstring."""

    @abc.abstractmethod
    def add(self, pair: FramePair) -> None:
        """Adds a pair."""

    @abc.abstractmethod
    def result(self) -> dict[str, float]:
        """Returns the metrics of the pairs added, by key."""


class Means:
    """Weighted means by key."""

    def __init__(self):
        self._sums: dict[str, np.ndarray] = {}

    def add(self, key: str, value: float, weight: float = 1.0):
        """Adds a value to the mean of a key."""
        sums = self._sums.setdefault(key, np.zeros(2))
        sums += (weight * value, weight)

    def result(self) -> dict[str, float]:
        """Returns the means; keys without weight are left out."""
        return {key: float(s / n) for key, (s, n) in self._sums.items() if n}


class Depth(Measure):
    """Depth errors of whole images, of their parts, and of image-independent maps.

    Where object motion is known, the parts are `moving` and `static`, without objects
    that are absent from the source frame. Where only instances are known, they are
    `instances` and `background`. Every part uses the scale of the whole image.
    `moving/hole_rate` is the share of moving pixels placed more than three times too far
    away. `baseline/` holds the lowest error of any image-independent map.
    """

    def __init__(
        self,
        evaluation: ml_collections.ConfigDict,
        baselines: Mapping[str, np.ndarray] | None = None,
    ):
        """Initializes the measure.

        Args:
            evaluation: `config.evaluation`, for the depth range.
            baselines: image-independent depth maps by name.
        """
        self._evaluation = evaluation
        self._baselines = dict(baselines or {})
        self._means = Means()
        self._scales: list[float] = []
        self._knows_motion = False

    def add(self, pair: FramePair):
        """Adds a pair; one without valid depth does not count."""
        if pair.recording.depth is None:
            return
        truth, depth = pair.true_depth(), pair.prediction["depth"]
        parts = self._parts(pair)
        if not parts["depth"].any():
            return
        scale = self._add_depth("", truth, depth, parts)
        self._scales.append(scale)
        for name, fixed in self._baselines.items():
            self._add_depth(f"baseline/{name}/", truth, fixed, parts)
        self._knows_motion |= "moving" in parts
        if "moving" in parts and (count := int(parts["moving"].sum())):
            rate = depth_lib.hole_rate(truth, scale * depth, parts["moving"])
            self._means.add("moving/hole_rate", rate, count)

    def result(self) -> dict[str, float]:
        """Returns the metrics of whatever is known."""
        result = self._means.result()
        result["depth/num_images"] = len(self._scales)
        if self._scales:
            mean = result["depth/scale"] = float(np.mean(self._scales))
            result["depth/scale_spread"] = float(np.std(self._scales)) / mean
        if self._knows_motion:
            result.setdefault("moving/hole_rate", 0.0)
        for part in _PARTS:
            keys = [f"baseline/{name}/{part}/abs_rel" for name in self._baselines]
            if errors := [result[key] for key in keys if key in result]:
                name = "abs_rel" if part == "depth" else f"{part}_abs_rel"
                result[f"baseline/{name}"] = min(errors)
        return result

    def _parts(self, pair: FramePair) -> dict[str, np.ndarray]:
        """Returns the valid pixels of the whole image and of its parts."""
        valid = pair.valid_depth(self._evaluation)
        if knows_object_motion(pair.recording):
            known = valid & pair.true_motion.known
            return {
                "depth": valid,
                "moving": known & pair.moving,
                "static": known & ~pair.moving,
            }
        if pair.recording.instance_labels is not None:
            instances = pair.labels()[0] > 0
            return {
                "depth": valid,
                "instances": valid & instances,
                "background": valid & ~instances,
            }
        return {"depth": valid}

    def _add_depth(
        self,
        prefix: str,
        truth: np.ndarray,
        depth: np.ndarray,
        parts: Mapping[str, np.ndarray],
    ) -> float:
        """Adds the errors of a depth map over each part; returns the map's scale."""
        scale = depth_lib.median_scale(truth, depth, parts["depth"])
        for part, mask in parts.items():
            if mask.any():
                metrics = depth_lib.depth_metrics(
                    truth,
                    scale * depth,
                    mask,
                    min_depth=self._evaluation.min_depth,
                    max_depth=self._evaluation.max_depth,
                )
                for name, value in metrics.items():
                    self._means.add(f"{prefix}{part}/{name}", value)
        return scale


class Egomotion(Measure):
    """Errors of the camera's motion, see `motion_metrics.egomotion_metrics`."""

    def __init__(self):
        self._true_poses: list[np.ndarray] = []
        self._rotations: list[np.ndarray] = []
        self._translations: list[np.ndarray] = []

    def add(self, pair: FramePair):
        """Adds a pair; one without true camera poses does not count."""
        if pair.recording.world_from_camera is not None:
            self._true_poses.append(pair.true_camera_motion())
            self._rotations.append(pair.prediction["rotation"])
            self._translations.append(pair.prediction["translation"])

    def result(self) -> dict[str, float]:
        """Returns the errors; nothing without a true pose."""
        if not self._true_poses:
            return {}
        metrics = motion_metrics.egomotion_metrics(
            np.stack(self._true_poses),
            np.stack(self._rotations),
            np.stack(self._translations),
        )
        return {f"egomotion/{name}": value for name, value in metrics.items()}


class Reconstruction(Measure):
    """How well the source frames, warped, explain the target frames; needs no truth.

    Both metrics are mean absolute colour differences on a scale of 0 to 1, over pixels
    that stay in view: of the warped source frame, and of the unwarped one.
    """

    def __init__(self):
        self._means = Means()

    def add(self, pair: FramePair):
        """Adds a pair; one of which no pixel stays in view does not count."""
        valid = pair.prediction["valid"]
        if not valid.any():
            return
        target, source = (
            np.asarray(pair.recording.frames[i])[valid] / np.float32(255)
            for i in (pair.index, pair.source_index)
        )
        warped = pair.prediction["warped"][valid]
        for name, colors in (("colour", warped), ("unwarped_colour", source)):
            error = float(np.abs(colors - target).mean())
            self._means.add(f"reconstruction/{name}_error", error)

    def result(self) -> dict[str, float]:
        """Returns both differences; NaN if no pixel stayed in view."""
        empty = {
            "reconstruction/colour_error": np.nan,
            "reconstruction/unwarped_colour_error": np.nan,
        }
        return empty | self._means.result()


class LearnedIntrinsics(Measure):
    """Means of the learned intrinsics, in pixels of the frames evaluated.

    Where the recording has intrinsics, `focal_relative_error` is the mean of |f - f*| /
    f* over both focal lengths.
    """

    def __init__(self):
        self._means = Means()

    def add(self, pair: FramePair):
        """Adds a pair."""
        learned = pair.prediction["intrinsics"]
        entries = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
        for name, entry in entries.items():
            self._means.add(f"intrinsics/{name}", float(learned[entry]))
        if pair.recording.intrinsics is not None:
            focal, true_focal = (
                np.diag(matrix)[:2] for matrix in (learned, pair.recording.intrinsics)
            )
            error = float(np.mean(np.abs(focal / true_focal - 1)))
            self._means.add("intrinsics/focal_relative_error", error)

    def result(self) -> dict[str, float]:
        """Returns fx, fy, cx, cy and, where known, the error."""
        return self._means.result()
