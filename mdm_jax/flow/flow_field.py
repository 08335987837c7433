"""Optical flow between two frames: where it can be trusted, and reading through it.

A flow `f_ab` is float32 `[h w 2]`, (x, y) in pixels: what is at p in frame a is at
p + f_ab(p) in frame b. It is NaN where unknown.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer

Array = np.ndarray

# |f_ab(p) + f_ba<p + f_ab>| < max(3 px, 0.05 |f_ab|), Lee et al. 2019, section 3.4.
TOLERANCE = 3.0
RELATIVE_TOLERANCE = 0.05


def consistent(
    forward: Float[Array, "h w 2"],
    backward: Float[Array, "h w 2"],
    *,
    tolerance: float = TOLERANCE,
    relative_tolerance: float = RELATIVE_TOLERANCE,
) -> Bool[Array, "h w"]:
    """Returns where the flow there and back agree: what is seen in both frames.

    Occluded pixels, those that leave the image and those whose flow is unknown or wrong
    are False.

    Args:
        forward: f_ab.
        backward: f_ba.
        tolerance: pixels.
        relative_tolerance: of the length of the flow; the larger of both counts.
    """
    error = np.linalg.norm(forward + through(forward, backward), axis=-1)
    allowed = relative_tolerance * np.linalg.norm(forward, axis=-1)
    # What is unknown is NaN, and no comparison with NaN is true.
    return error < np.maximum(tolerance, allowed)


def through(
    flow: Float[Array, "h w 2"], values: Float[Array, "h w 2"]
) -> Float[Array, "h w 2"]:
    """Returns f_ab's view of a flow of frame b, `values<p + f_ab>`, bilinear.

    NaN where it is unknown, or p + f_ab lies outside the image.
    """
    x, y, inside = _ends(flow)
    found = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(inside[..., None], found, np.float32(np.nan))


def compose(
    first: Float[Array, "h w 2"], second: Float[Array, "h w 2"]
) -> Float[Array, "h w 2"]:
    """Returns f_ac from f_ab and f_bc; NaN where that leaves frame b."""
    return first + through(first, second)


def labels_through(
    flow: Float[Array, "h w 2"], labels: Integer[Array, "h w"]
) -> Integer[Array, "h w"]:
    """Returns f_ab's view of the labels of frame b, from the nearest pixel.

    0 where p + f_ab is unknown or lies outside the image.
    """
    x, y, inside = _ends(flow)
    columns, rows = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    return np.where(inside, labels[rows, columns], 0)


def _ends(flow: Array) -> tuple[Array, Array, Array]:
    """Returns x and y of p + f(p), float32 inside the image, and where they are that."""
    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)[None, :]
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    zero = np.float32(0)
    return np.where(inside, x, zero), np.where(inside, y, zero), inside
