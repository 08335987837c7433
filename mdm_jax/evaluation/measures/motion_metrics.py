"""Errors of egomotion, object motion and flow, for predictions of unknown scale.

A monocular prediction is correct up to one factor. Depth is scaled per image by the
ratio of medians. Camera translation is scaled by one least-squares factor for the whole
set, so a scale that drifts from frame to frame counts as an error.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

# A shorter camera step, metres, has no direction of motion.
MIN_STEP = 0.1


def egomotion_metrics(
    true_pose: Float[np.ndarray, "n 4 4"],
    rotation: Float[np.ndarray, "n 3 3"],
    translation: Float[np.ndarray, "n 3"],
) -> dict[str, float]:
    """Returns the errors of predicted `source_from_target` camera motions.

    `translation_error` is the mean length of the difference in units of the mean true
    step, after one least-squares scale. The scale is not negative, so the opposite of
    the truth is no better than standing still. `constant_velocity_error` is the error
    of the best guess that ignores the images, the mean true translation.
    `direction_deg` is a mean over steps longer than `MIN_STEP`.

    Args:
        true_pose: `source_from_target`, metres.
        rotation: predicted.
        translation: predicted, in one arbitrary unit.
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
    """Histograms of predicted motion, of pixels that move and of static ones.

    The threshold of motion is a share of the mean camera step of all frames, which is
    only known after the last frame. The histograms give intersection and union for any
    threshold in constant memory.

    The bin of a length is the 16 bits after the sign of its float32 form, whose order is
    that of the positive floats. There are 256 bins per factor of two, so a threshold is
    rounded up by less than 0.4 %.
    """

    def __init__(self):
        self._counts = np.zeros((2, 2**16), np.int64)

    def add(
        self,
        length: Float[np.ndarray, "h w"],
        moving: Bool[np.ndarray, "h w"],
        valid: Bool[np.ndarray, "h w"],
    ):
        """Adds the valid pixels of a frame.

        Args:
            length: of the predicted residual translation.
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
        """Returns the IoU of pixels above a threshold with the moving pixels."""
        static, moving = self._above(threshold)
        return float(moving / max(static + self._counts[1].sum(), 1))

    def f1(self, threshold: float) -> float:
        """Returns the F1 score of calling pixels above a threshold moving."""
        static, moving = self._above(threshold)
        return float(2 * moving / max(static + moving + self._counts[1].sum(), 1))

    def iou_all_moving(self) -> float:
        """Returns the IoU of calling every pixel moving."""
        return float(self._counts[1].sum() / max(self._counts.sum(), 1))

    def _above(self, threshold: float) -> tuple[int, int]:
        """Returns the numbers of static and of moving pixels above a threshold."""
        (last_below,) = _bins(np.array([threshold]))
        static, moving = self._counts[:, last_below + 1 :].sum(axis=1)
        return int(static), int(moving)


def object_translation_errors(
    true: Float[np.ndarray, "n 3"], predicted: Float[np.ndarray, "n 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Returns the errors of the motion of n objects: direction and magnitude.

    The direction error is the angle between the vectors in degrees, 90 where no motion
    is predicted. The magnitude error is | |p| - |t| | / |t|.

    Args:
        true: residual translations, metres.
        predicted: residual translations, scaled to metres.

    Raises:
        ValueError: a predicted vector is not finite.
    """
    t, p = true.astype(np.float64), predicted.astype(np.float64)
    _check_finite(p, "object translation")
    true_length, length = (np.linalg.norm(x, axis=-1) for x in (t, p))
    cosine = np.sum(t * p, axis=-1) / np.maximum(true_length * length, 1e-20)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return angle, np.abs(length - true_length) / np.maximum(true_length, 1e-9)


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
    above both limits (Fl-all, Menze and Geiger 2015). Both are NaN without valid pixels.

    Args:
        true: NaN where unknown; such pixels are not compared.
        predicted: finite at the compared pixels.
        valid: the pixels compared.
        outlier: limit in units of the flow; 0.05 m is usual for scene flow.
        relative_outlier: limit relative to the length of the true vector.

    Raises:
        ValueError: a predicted vector is not finite at a compared pixel.
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
    return (bits << 1) >> 16  # drops the sign, which a NaN may have
