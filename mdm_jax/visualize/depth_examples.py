"""A depth map next to its ground truth, as a row of a panel.

True depth is often sparse; single pixels would vanish when a large picture is made
smaller, so they are drawn as dots.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.visualize import panel

# Width of dots, in pixels of a picture 1000 pixels wide.
_DOT = 6
# Ground truth known at this fraction of the pixels or more is drawn without dots.
_SPARSE = 0.5
# End of the colour scale of relative errors.
_LARGEST_ERROR = 1.0
# Larger than any depth, but finite, as OpenCV needs.
_NOWHERE = 1e30


def row(
    truth: Float[np.ndarray, "h w"],
    predicted: Float[np.ndarray, "h w"],
    counted: Bool[np.ndarray, "h w"],
    *,
    image: np.ndarray | None = None,
) -> panel.Row:
    """Returns true and predicted depth and their relative difference.

    Args:
        truth: metres, not positive where unknown.
        predicted: metres, scaled.
        counted: the pixels that are measured.
        image: `[h w 3]`, shown first where given.
    """
    known = truth > 0
    safe = np.where(known, truth, 1.0)
    error = np.where(counted, np.abs(predicted - safe) / safe, np.nan)
    error = np.minimum(error, _LARGEST_ERROR)
    if known.mean() < _SPARSE:
        size = max(1, round(_DOT * truth.shape[1] / 1000))
        truth = _dots(np.where(known, truth, np.nan), size)
        error = -_dots(-error, size)
    return {
        "image": None if image is None else (image, "image"),
        "true depth": (np.nan_to_num(truth), "depth"),
        "predicted depth": (predicted, "depth"),
        "relative error": (error, "error"),
    }


def _dots(values: np.ndarray, size: int) -> np.ndarray:
    """Returns the smallest known value around each pixel, NaN where none is near."""
    filled = np.where(np.isfinite(values), values, _NOWHERE)
    spread = cv2.erode(filled, np.ones((size, size), np.uint8))
    return np.where(spread < _NOWHERE, spread, np.nan)
