"""Motion of every pixel against the truth: moving or not, its flow in image and space.

A point X seen at a target pixel is, in the camera frame of the source, at
`X' = R X + t + T` with the egomotion (R, t) and the residual translation T. Optical flow
is `pi(X') - pi(X)`, in pixels, free of scale; scene flow is `X' - X`, in metres once the
prediction has the depth map's own median scale.

Scores are over the pixels of all pairs together, as in the flow benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping

import ml_collections
import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import depth_metrics as depth_lib
from mdm_jax.evaluation.evaluate import FramePair
from mdm_jax.evaluation.measures import motion_metrics
from mdm_jax.recording import arrays as recording_lib

# Lengths of residual motion that count as moving, as shares of the camera's mean step.
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)
# Scene flow is an outlier if it is farther off than this, metres, and than 5 %.
_SCENE_OUTLIER = 0.05


class Segmentation:
    """Which pixels are predicted to move by themselves, over thresholds.

    `motion/f1` is at the threshold of the config, as `motion/iou` of `measures.Truth`;
    `motion_at_0.1/iou` and the like are at each of `THRESHOLDS`, and `motion/best_iou`
    and `motion/best_f1` at the best of them, chosen on what is measured: bounds of what
    a choice can reach, not results.
    """

    def __init__(self, evaluation: ml_collections.ConfigDict):
        """Begins.

        Args:
            evaluation: `config.evaluation`: depth range and motion threshold.
        """
        self._range = _depth_range(evaluation)
        self._threshold = evaluation.motion_threshold
        self._counts = motion_metrics.MotionCounts()
        self._steps: list[float] = []

    def add(self, pair: FramePair):
        """Takes a pair into account."""
        frames = pair.recording, pair.index, pair.source_index
        valid = depth_lib.valid_pixels(pair.true_depth(), **self._range)
        # An object that is gone in the other frame counts as neither.
        known = valid & recording_lib.rigid_motion(*frames).known
        length = np.linalg.norm(pair.prediction["object_motion"], axis=-1)
        self._counts.add(length, recording_lib.moving_mask(*frames), known)
        self._steps.append(float(np.linalg.norm(pair.prediction["translation"])))

    def result(self) -> dict[str, float]:
        """Returns F1, the best IoU and F1 with their thresholds, and those at each."""
        if not self._steps:
            return {}
        unit = float(np.mean(self._steps))
        best = self._counts.best([share * unit for share in THRESHOLDS])
        for name in ("iou", "f1"):
            best[f"best_{name}_threshold"] /= max(unit, 1e-20)
        f1 = self._counts.f1(self._threshold * unit)
        result = {"motion/f1": f1} | {f"motion/{k}": v for k, v in best.items()}
        for row in self.by_threshold():
            prefix = f"motion_at_{row['threshold']:g}"
            result |= {f"{prefix}/{name}": row[name] for name in ("iou", "f1")}
        return result

    def by_threshold(self) -> list[dict[str, float]]:
        """Returns IoU and F1 at each threshold, a share of the camera's mean step."""
        unit = float(np.mean(self._steps)) if self._steps else 0.0
        return [
            {
                "threshold": share,
                "iou": self._counts.iou(share * unit),
                "f1": self._counts.f1(share * unit),
            }
            for share in THRESHOLDS
        ]


class Flow:
    """Errors of optical flow and scene flow, of all, moving and static pixels.

    `optical_flow/epe` is in pixels and `scene_flow/epe_m` in metres; `outlier_rate` is
    the share of pixels off by more than 3 pixels, or 0.05 m, and by more than 5 % of
    the true length. A pixel that is predicted to land behind the camera has no flow: it
    counts as off by the diagonal of the image, and `optical_flow/behind_rate` is the
    share of such pixels. Longer flow is cut to that length.
    """

    def __init__(self, evaluation: ml_collections.ConfigDict):
        """Begins.

        Args:
            evaluation: `config.evaluation`: the depth range.
        """
        self._range = _depth_range(evaluation)
        self._sums: dict[str, np.ndarray] = {}

    def add(self, pair: FramePair):
        """Takes a pair into account; without a pixel of known depth there is nothing."""
        recording, index, source = pair.recording, pair.index, pair.source_index
        depth, prediction = pair.true_depth(), pair.prediction
        true = recording_lib.rigid_motion(recording, index, source)
        valid = depth_lib.valid_pixels(depth, **self._range) & true.known
        if not valid.any():
            return
        moving = recording_lib.moving_mask(recording, index, source)
        parts = {"": valid, "moving_": valid & moving, "static_": valid & ~moving}

        points, points_source = predicted_points(prediction)
        scale = depth_lib.median_scale(depth, prediction["depth"], valid)
        true_points = recording_lib.unproject(depth, np.asarray(recording.intrinsics))
        self._add(
            "scene_flow/{}epe_m",
            "scene_flow/{}outlier_rate",
            true.points_source - true_points,
            scale * (points_source - points),
            parts,
            outlier=_SCENE_OUTLIER,
        )
        true_flow = recording_lib.optical_flow(recording, index, source)
        flow = recording_lib.displacement(points_source, prediction["intrinsics"])
        diagonal = float(np.hypot(*depth.shape))
        behind = np.isnan(flow[..., 0])
        length = np.linalg.norm(flow, axis=-1, keepdims=True)
        flow = flow * np.minimum(1.0, diagonal / np.maximum(length, 1e-9))
        # Off by the diagonal, whatever the truth is.
        flow = np.where(behind[..., None], true_flow + diagonal / np.sqrt(2), flow)
        seen = np.isfinite(true_flow).all(axis=-1)
        self._add(
            "optical_flow/{}epe",
            "optical_flow/{}outlier_rate",
            true_flow,
            flow,
            {part: mask & seen for part, mask in parts.items()},
        )
        self._mean(
            "optical_flow/behind_rate", float(behind[valid].mean()), int(valid.sum())
        )

    def _add(self, epe, outliers, true, predicted, parts, **options):
        for part, mask in parts.items():
            if mask.any():
                errors = motion_metrics.flow_errors(true, predicted, mask, **options)
                self._mean(epe.format(part), errors["epe"], int(mask.sum()))
                self._mean(
                    outliers.format(part), errors["outlier_rate"], int(mask.sum())
                )

    def _mean(self, name: str, value: float, weight: int):
        sums = self._sums.setdefault(name, np.zeros(2))
        sums += (weight * value, weight)

    def result(self) -> dict[str, float]:
        """Returns the means; those of pixels of which there are none are left out."""
        return {name: float(s / n) for name, (s, n) in self._sums.items()}


def predicted_points(
    prediction: Mapping[str, np.ndarray],
) -> tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w 3"]]:
    """Returns the points X in the target's camera frame, and X' in the source's.

    Args:
        prediction: `depth`, `intrinsics`, `rotation`, `translation` and
            `object_motion`, of `inference.predict_maps`.
    """
    points = recording_lib.unproject(prediction["depth"], prediction["intrinsics"])
    turned = points @ np.asarray(prediction["rotation"], np.float64).T
    return points, turned + prediction["translation"] + prediction["object_motion"]


def _depth_range(evaluation: ml_collections.ConfigDict) -> dict[str, float]:
    return {"min_depth": evaluation.min_depth, "max_depth": evaluation.max_depth}
