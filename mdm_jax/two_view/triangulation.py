"""Linear triangulation of every pixel from its flow and the pose of the pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Array = np.ndarray

# Relative to the squared focal length: rays closer to parallel have no depth.
_PARALLEL = 1e-12


class Triangulated(NamedTuple):
    """What two views say about each pixel of the target frame.

    Attributes:
        depth: z in units of |t|; negative behind the camera, inf for parallel rays, NaN
            where the flow is unknown.
        residual: distance in pixels between the end of the flow and the projection of
            the triangulated point, r.
        parallax: distance in pixels between the end of the flow and where the pixel
            would be if it were infinitely far away, q.
    """

    depth: Float[Array, "h w"]
    residual: Float[Array, "h w"]
    parallax: Float[Array, "h w"]


def triangulate(
    flow: Float[Array, "h w 2"],
    intrinsics: Float[Array, "3 3"],
    rotation: Float[Array, "3 3"],
    translation: Float[Array, " 3"],
) -> Triangulated:
    """Returns depth, epipolar residual and parallax of every target pixel.

    With `A = K R K^-1 p~` and `c = K t`, the point at depth z projects to `z A + c`. That
    it falls on p' = p + flow(p) gives two equations `z a = b` for z, one per coordinate,
    which are solved by least squares.

    Args:
        flow: target to source, pixels; NaN where unknown.
        intrinsics: pixels of these frames.
        rotation: of source_from_target.
        translation: of source_from_target; depth is in its unit.
    """
    height, width = flow.shape[:2]
    homography = intrinsics @ rotation @ np.linalg.inv(intrinsics)
    c = intrinsics @ translation
    x = np.arange(width, dtype=np.float64)[None, :]
    y = np.arange(height, dtype=np.float64)[:, None]
    ray = [row[0] * x + row[1] * y + row[2] for row in homography]
    end_x, end_y = x + flow[..., 0], y + flow[..., 1]
    a_x, b_x = ray[0] - end_x * ray[2], end_x * c[2] - c[0]
    a_y, b_y = ray[1] - end_y * ray[2], end_y * c[2] - c[1]
    squared = a_x * a_x + a_y * a_y
    parallel = squared <= _PARALLEL * intrinsics[0, 0] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (a_x * b_x + a_y * b_y) / np.where(parallel, 1, squared)
        scale = depth * ray[2] + c[2]
        residual = np.hypot(
            (depth * ray[0] + c[0]) / scale - end_x,
            (depth * ray[1] + c[1]) / scale - end_y,
        )
        parallax = np.hypot(a_x, a_y) / np.abs(ray[2])
    depth = np.where(parallel, np.inf, depth)
    residual = np.where(parallel, 0, residual)
    # A point in the source camera's plane projects nowhere: no residual is large enough.
    residual = np.where(np.isnan(residual) & np.isfinite(depth), np.inf, residual)
    return Triangulated(
        *(np.asarray(values, np.float32) for values in (depth, residual, parallax))
    )
