"""Egomotion and object motion against the truth, for predictions of unknown scale.

A monocular prediction is right up to one factor. Depth is scaled per image (ratio of
medians); camera translation by one least-squares factor for the whole set, so that a
scale that drifts from frame to frame counts as an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

# Frames in which the camera moves less have no direction of motion, metres.
MIN_STEP = 0.1


def egomotion_metrics(
    true_pose: Float[np.ndarray, "n 4 4"],
    rotation: Float[np.ndarray, "n 3 3"],
    translation: Float[np.ndarray, "n 3"],
) -> dict[str, float]:
    """Returns the errors of predicted `source_from_target` camera motions.

    `translation_error` is the mean length of the difference in units of the mean true
    step, after one least-squares scale, which is not negative: the opposite of the
    truth is no better than standing still. `constant_velocity_error` is the same for
    the best guess that ignores the images, the mean true translation. `direction_deg`
    is over frames that move more than `MIN_STEP`.

    Args:
        true_pose: `source_from_target`, metres.
        rotation: predicted.
        translation: predicted, in any one unit.
    """
    true_translation = true_pose[:, :3, 3]
    step = np.linalg.norm(true_translation, axis=-1)
    mean_step = max(float(np.mean(step)), 1e-9)
    power = float(np.sum(translation**2))
    agreement = float(np.sum(true_translation * translation))
    scale = max(agreement, 0.0) / max(power, 1e-20)
    error = np.linalg.norm(scale * translation - true_translation, axis=-1)
    constant = np.mean(true_translation, axis=0)
    constant_error = np.linalg.norm(constant - true_translation, axis=-1)

    length = np.linalg.norm(translation, axis=-1)
    moving = step > MIN_STEP
    cosine = np.sum(translation * true_translation, axis=-1) / np.maximum(
        length * step, 1e-20
    )
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    relative = np.swapaxes(rotation, -1, -2) @ true_pose[:, :3, :3]
    trace = np.trace(relative, axis1=-2, axis2=-1)
    rotation_error = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    return {
        "translation_error": float(np.mean(error)) / mean_step,
        "constant_velocity_error": float(np.mean(constant_error)) / mean_step,
        "direction_deg": float(np.mean(angle[moving])) if moving.any() else np.nan,
        "rotation_deg": float(np.mean(rotation_error)),
    }


class MotionCounts:
    """How many pixels, by themselves moving or not, are predicted to move how far.

    What counts as moving is a share of the mean camera step of all frames, and so not
    known before the last one. The counts take the place of the frames: they tell
    intersection and union for any threshold, in memory that does not grow.

    Lengths are counted by the first 16 bits of their float32 form (the order of
    positive floats is that of their bits): 256 bins for every factor of two, so that a
    threshold is rounded up by less than 0.4 %.
    """

    def __init__(self):
        self._counts = np.zeros((2, 2**16), np.int64)

    def add(
        self,
        length: Float[np.ndarray, "h w"],
        moving: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ):
        """Counts the valid pixels of a frame.

        Args:
            length: of the predicted residual motion, not negative.
            moving: the truth.
            valid: the pixels counted.
        """
        bins = _bins(length)
        num_bins = self._counts.shape[1]
        for row, part in zip(
            self._counts, (valid & ~moving, valid & moving), strict=True
        ):
            row += np.bincount(bins[part], minlength=num_bins)

    def iou(self, threshold: float) -> float:
        """Returns the IoU of predicted lengths above a threshold with the moving."""
        static, moving = self._above(threshold)
        return float(moving / max(static + self._counts[1].sum(), 1))

    def f1(self, threshold: float) -> float:
        """Returns the F1 score of predicted lengths above a threshold."""
        static, moving = self._above(threshold)
        return float(2 * moving / max(static + moving + self._counts[1].sum(), 1))

    def best(self, thresholds: Sequence[float]) -> dict[str, float]:
        """Returns the highest IoU and F1, each with the threshold that reaches it.

        A threshold chosen on the test set flatters; it bounds what any choice gives.
        """
        result = {}
        for name, score in (("iou", self.iou), ("f1", self.f1)):
            scores = [score(threshold) for threshold in thresholds]
            highest = int(np.argmax(scores))
            result[f"best_{name}"] = scores[highest]
            result[f"best_{name}_threshold"] = float(thresholds[highest])
        return result

    def iou_all_moving(self) -> float:
        """Returns the IoU of calling every pixel moving."""
        return float(self._counts[1].sum() / max(self._counts.sum(), 1))

    def _above(self, threshold: float) -> tuple[int, int]:
        """Returns how many static and moving pixels have lengths above a threshold."""
        (last_below,) = _bins(np.array([threshold]))
        static, moving = self._counts[:, last_below + 1 :].sum(axis=1)
        return int(static), int(moving)


def object_translation_errors(
    true: Float[np.ndarray, "h w 3"],
    predicted: Float[np.ndarray, "h w 3"],
    moving: Bool[np.ndarray, "h w"],
) -> dict[str, float]:
    """Returns how far predicted object motion is off, over moving pixels.

    `direction_deg` is the mean angle between the vectors, 90 degrees where none is
    predicted; `magnitude_error` the mean difference of their lengths and
    `endpoint_error` the mean length of their difference, both in units of the mean true
    length. NaN where no pixel moves.

    Args:
        true: residual translation, metres.
        predicted: likewise, already scaled.
        moving: the pixels compared.

    Raises:
        ValueError: a predicted vector is not finite there.
    """
    t, p = true[moving].astype(np.float64), predicted[moving].astype(np.float64)
    _check_finite(p, "object translation")
    names = ("direction_deg", "magnitude_error", "endpoint_error")
    if not len(t):
        return dict.fromkeys(names, np.nan)
    true_length, length = (np.linalg.norm(x, axis=-1) for x in (t, p))
    unit = max(float(np.mean(true_length)), 1e-9)
    cosine = np.sum(t * p, axis=-1) / np.maximum(true_length * length, 1e-20)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    magnitude = float(np.mean(np.abs(length - true_length)))
    endpoint = float(np.mean(np.linalg.norm(p - t, axis=-1)))
    values = (float(np.mean(angle)), magnitude / unit, endpoint / unit)
    return dict(zip(names, values, strict=True))


def flow_errors(
    true: Float[np.ndarray, "h w c"],
    predicted: Float[np.ndarray, "h w c"],
    valid: Bool[np.ndarray, "h w"],
    *,
    outlier: float = 3.0,
    relative_outlier: float = 0.05,
) -> dict[str, float]:
    """Returns the errors of optical flow (c = 2, pixels) or scene flow (c = 3, metres).

    `epe` is the mean end-point error, `outlier_rate` the share of pixels whose error is
    above both limits (Fl-all, Menze and Geiger 2015). NaN where nothing is valid.

    Args:
        true: NaN where unknown.
        predicted: must be finite where it is compared.
        valid: the pixels compared; of these, those whose truth is known.
        outlier: in units of the flow; 0.05 m is usual for scene flow.
        relative_outlier: of the length of the true vector.

    Raises:
        ValueError: a predicted vector is not finite there.
    """
    valid = valid & np.isfinite(true).all(axis=-1)
    t, p = true[valid].astype(np.float64), predicted[valid].astype(np.float64)
    _check_finite(p, "flow")
    if not len(t):
        return {"epe": np.nan, "outlier_rate": np.nan}
    error = np.linalg.norm(p - t, axis=-1)
    far = (error > outlier) & (error > relative_outlier * np.linalg.norm(t, axis=-1))
    return {"epe": float(np.mean(error)), "outlier_rate": float(np.mean(far))}


def _check_finite(values: np.ndarray, what: str):
    wrong = ~np.isfinite(values).all(axis=-1)
    if wrong.any():
        raise ValueError(
            f"predicted {what} must be finite, got {values[np.argmax(wrong)]} and"
            f" {int(wrong.sum())} such pixels in all"
        )


def _bins(length: np.ndarray) -> np.ndarray:
    bits = np.asarray(length, np.float32).view(np.uint32)
    return (bits << 1) >> 16  # without the sign, which a NaN may have
