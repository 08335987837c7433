"""Motion of every pixel against the truth: segmentation, optical flow and scene flow.

The point X at a target pixel has moved to `X' = R X + t + T` in the source camera's
frame, with the egomotion (R, t) and the residual translation T. Optical flow is
`pi(X') - pi(X)` in pixels and free of scale; scene flow is `X' - X`, in metres once the
prediction is scaled by the ratio of the medians of depth.

Scores pool the pixels of all pairs, as the flow benchmarks do.
"""

from __future__ import annotations

from collections.abc import Mapping

import ml_collections
import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation.measures import depth_metrics, motion_metrics, pair_measures
from mdm_jax.evaluation.pairs import FramePair, knows_object_motion
from mdm_jax.geometry import points as points_lib
from mdm_jax.recording import true_motion

# Lengths of residual motion that count as moving, as shares of the camera's mean step.
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)
# A scene flow error is an outlier above this length, metres, if it also exceeds 5 %.
_SCENE_OUTLIER = 0.05


class Segmentation(pair_measures.Measure):
    """Which pixels are predicted to move in the world.

    A pixel is predicted to move where its residual translation is longer than a
    threshold, a share of the mean predicted step of the camera. `motion/iou` uses the
    threshold of the config, and `motion/iou_all_moving` is the score of calling every
    pixel moving. With `detailed`, there are also `motion/f1`, the scores at each of
    `THRESHOLDS`, and those at the best threshold. The best threshold is chosen on the
    measured data, so its scores are upper bounds and not results.
    """

    def __init__(
        self, evaluation: ml_collections.ConfigDict, *, detailed: bool = False
    ):
        """Initializes the measure.

        Args:
            evaluation: `config.evaluation`, for depth range and motion threshold.
            detailed: also measure F1, other thresholds and the best threshold.
        """
        self._evaluation = evaluation
        self._detailed = detailed
        self._counts = motion_metrics.MotionCounts()
        self._translations: list[np.ndarray] = []

    def add(self, pair: FramePair):
        """Adds a pair; one of unknown object motion does not count."""
        if not knows_object_motion(pair.recording):
            return
        # An object that is absent from the source frame counts as neither.
        known = pair.valid_depth(self._evaluation) & pair.true_motion.known
        length = np.linalg.norm(pair.prediction["object_motion"], axis=-1)
        self._counts.add(length, pair.moving, known)
        self._translations.append(pair.prediction["translation"])

    def result(self) -> dict[str, float]:
        """Returns the scores."""
        if not self._translations:
            return {}
        threshold = self._evaluation.motion_threshold * self._mean_step()
        result = {
            "motion/iou": self._counts.iou(threshold),
            "motion/iou_all_moving": self._counts.iou_all_moving(),
        }
        if not self._detailed:
            return result
        result["motion/f1"] = self._counts.f1(threshold)
        rows = self.by_threshold()
        for row in rows:
            prefix = f"motion_at_{row['threshold']:g}"
            result |= {f"{prefix}/{name}": row[name] for name in ("iou", "f1")}
        for name in ("iou", "f1"):
            best = max(rows, key=lambda row: row[name])
            result[f"motion/best_{name}"] = best[name]
            result[f"motion/best_{name}_threshold"] = best["threshold"]
        return result

    def by_threshold(self) -> list[dict[str, float]]:
        """Returns `threshold`, `iou` and `f1` at each of `THRESHOLDS`."""
        unit = self._mean_step() if self._translations else 0.0
        return [
            {
                "threshold": share,
                "iou": self._counts.iou(share * unit),
                "f1": self._counts.f1(share * unit),
            }
            for share in THRESHOLDS
        ]

    def _mean_step(self) -> float:
        return float(np.mean(np.linalg.norm(self._translations, axis=-1)))


class Flow(pair_measures.Measure):
    """Errors of optical flow and scene flow, over all, moving and static pixels.

    `optical_flow/epe` is in pixels and `scene_flow/epe_m` in metres. `outlier_rate` is
    the share of pixels with errors above 3 pixels, or 0.05 m, and above 5 % of the true
    length. A point predicted behind the camera has no flow: its error is the diagonal
    of the image, to which longer flow is shortened too, and `optical_flow/behind_rate`
    is the share of such pixels.
    """

    def __init__(self, evaluation: ml_collections.ConfigDict):
        """Initializes the measure.

        Args:
            evaluation: `config.evaluation`, for the depth range.
        """
        self._evaluation = evaluation
        self._means = pair_measures.Means()

    def add(self, pair: FramePair):
        """Adds a pair; one without a pixel of known motion does not count."""
        if not knows_object_motion(pair.recording):
            return
        recording, prediction = pair.recording, pair.prediction
        valid = pair.valid_depth(self._evaluation) & pair.true_motion.known
        if not valid.any():
            return
        depth = pair.true_depth()
        parts = {
            "": valid,
            "moving_": valid & pair.moving,
            "static_": valid & ~pair.moving,
        }
        points, points_source = predicted_points(prediction)
        scale = depth_metrics.median_scale(depth, prediction["depth"], valid)
        true_points = points_lib.unproject(depth, np.asarray(recording.intrinsics))
        self._add(
            "scene_flow/{}epe_m",
            "scene_flow/{}outlier_rate",
            pair.true_motion.points_source - true_points,
            scale * (points_source - points),
            parts,
            outlier=_SCENE_OUTLIER,
        )
        true_flow = true_motion.optical_flow(recording, pair.index, pair.source_index)
        flow = points_lib.displacement(points_source, prediction["intrinsics"])
        diagonal = float(np.hypot(*depth.shape))
        behind = np.isnan(flow[..., 0])
        length = np.linalg.norm(flow, axis=-1, keepdims=True)
        flow = flow * np.minimum(1.0, diagonal / np.maximum(length, 1e-9))
        # An error of exactly the diagonal, whatever the true flow is.
        flow = np.where(behind[..., None], true_flow + diagonal / np.sqrt(2), flow)
        in_front = np.isfinite(true_flow).all(axis=-1)
        self._add(
            "optical_flow/{}epe",
            "optical_flow/{}outlier_rate",
            true_flow,
            flow,
            {part: mask & in_front for part, mask in parts.items()},
        )
        rate = float(behind[valid].mean())
        self._means.add("optical_flow/behind_rate", rate, int(valid.sum()))

    def result(self) -> dict[str, float]:
        """Returns the errors; parts without pixels are left out."""
        return self._means.result()

    def _add(self, epe, outliers, true, predicted, parts, **options):
        for part, mask in parts.items():
            if count := int(mask.sum()):
                errors = motion_metrics.flow_errors(true, predicted, mask, **options)
                self._means.add(epe.format(part), errors["epe"], count)
                self._means.add(outliers.format(part), errors["outlier_rate"], count)


def predicted_points(
    prediction: Mapping[str, np.ndarray],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """Returns X in the target camera's frame, and X' in the source camera's frame."""
    points = points_lib.unproject(prediction["depth"], prediction["intrinsics"])
    turned = points @ np.asarray(prediction["rotation"], np.float64).T
    return points, turned + prediction["translation"] + prediction["object_motion"]
