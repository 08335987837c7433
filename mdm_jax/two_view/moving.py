"""Moving objects: `moves`, `static` or `unknown` for each pixel.

Rigid geometry alone decides, so a vehicle that moves along with the camera, or that the
camera overtakes on the same epipolar lines, is not found: the first has no parallax and
is unknown, never far; the second looks static and too near.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mdm_jax.two_view.triangulation import Triangulated

Array = np.ndarray

UNKNOWN, STATIC, MOVES = 0, 1, 2
# Pixels. Noise of the flow alone rarely turns the parallax around or leaves the
# epipolar line by this much.
_CONTRACTING_PARALLAX = 2.0
_RESIDUAL = 2.0
# Independent of the image's size: single wrong patches of the flow are smaller.
_MIN_SHARE = 2e-4


def classify(
    views: Triangulated,
    error: Float[Array, "h w"],
    trusted: Bool[Array, "h w"],
    *,
    max_error: float = 1.0,
) -> UInt8[Array, "h w"]:
    """Returns UNKNOWN, STATIC or MOVES for every pixel.

    MOVES where good flow has large parallax in the wrong direction (negative depth,
    Zhao et al.'s contracting flow), or leaves its epipolar line; STATIC where the depth
    is trusted.

    Args:
        views: of `triangulation`.
        error: forward-backward error of the flow, pixels.
        trusted: of `trust`.
        max_error: of flow that says anything.
    """
    good = error < max_error
    behind = (views.depth < 0) & (views.parallax > _CONTRACTING_PARALLAX)
    # A long flow has larger errors; so has one near an occlusion.
    off_line = views.residual > _RESIDUAL + 0.1 * views.parallax
    moves = _connected(good & (behind | off_line))
    result = np.where(trusted, STATIC, UNKNOWN)
    return np.where(moves, MOVES, result).astype(np.uint8)


def _connected(mask: Array) -> Array:
    """Returns the regions of a mask that survive opening and are not tiny."""
    kernel = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count == 1:
        return np.zeros_like(mask)
    large = stats[:, cv2.CC_STAT_AREA] >= max(_MIN_SHARE * mask.size, 9)
    large[0] = False
    return large[np.asarray(labels, np.int32)]
