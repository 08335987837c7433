"""Egomotion and object motion against the truth, for predictions of unknown scale.

A monocular prediction is right up to one factor. Depth is scaled per image (ratio of
medians); camera translation by one least-squares factor for the whole set, so that a
scale that drifts from frame to frame counts as an error.
"""

from __future__ import annotations

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
    step, after one least-squares scale; `constant_velocity_error` the same for the best
    guess that ignores the images, the mean true translation. `direction_deg` is over
    frames that move more than `MIN_STEP`.

    Args:
        true_pose: `source_from_target`, metres.
        rotation: predicted.
        translation: predicted, in any one unit.
    """
    true_translation = true_pose[:, :3, 3]
    step = np.linalg.norm(true_translation, axis=-1)
    mean_step = max(float(np.mean(step)), 1e-9)
    power = float(np.sum(translation**2))
    scale = float(np.sum(true_translation * translation)) / max(power, 1e-20)
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


def intersection_and_union(
    predicted: Bool[np.ndarray, "h w"],
    true: Bool[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"],
) -> np.ndarray:
    """Returns the pixel counts `[intersection, union]`, to be summed over images."""
    return np.array(
        [np.sum(predicted & true & valid), np.sum((predicted | true) & valid)], float
    )
