"""Depth, points and pixels in NumPy, float64: images to points and back, sparse depth.

A *point list* is float32 `[n 3]`: x and y in pixels (centres at integers), z the depth
along the optical axis in metres. Camera frames are x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

# Nearer points lie on the recording car itself or are noise.
_MIN_DEPTH = 0.1


def unproject(
    depth: Float[np.ndarray, "h w"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "h w 3"]:
    """Returns the points seen at the pixels, in the camera frame."""
    depth = np.asarray(depth, np.float64)
    matrix = np.asarray(intrinsics, np.float64)
    height, width = depth.shape
    x = (np.arange(width) - matrix[0, 2]) / matrix[0, 0]
    y = (np.arange(height) - matrix[1, 2]) / matrix[1, 1]
    return np.stack([x[None, :] * depth, y[:, None] * depth, depth], axis=-1)


def displacement(
    points_source: Float[np.ndarray, "h w 3"], intrinsics: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "h w 2"]:
    """Returns the flow (x, y), in pixels, from each pixel to where its point projects.

    NaN where the point lies behind the source camera.
    """
    height, width = points_source.shape[:2]
    matrix = np.asarray(intrinsics, np.float64)
    z = points_source[..., 2]
    visible = z > 1e-6
    safe_z = np.where(visible, z, 1.0)
    x = matrix[0, 0] * points_source[..., 0] / safe_z + matrix[0, 2]
    y = matrix[1, 1] * points_source[..., 1] / safe_z + matrix[1, 2]
    flow = np.stack([x - np.arange(width), y - np.arange(height)[:, None]], axis=-1)
    return np.where(visible[..., None], flow, np.nan)


def project(
    points_camera: Float[np.ndarray, "n 3"],
    intrinsics: Float[np.ndarray, "3 3"],
    size: tuple[int, int] | None,
) -> Float[np.ndarray, "m 3"]:
    """Returns the point list of points in the camera frame.

    Points at or behind the camera are left out, and so are those outside an image of
    the size (height, width), unless it is None.
    """
    points = points_camera[points_camera[:, 2] > _MIN_DEPTH]
    pixels = points @ intrinsics.T
    listed = np.column_stack([pixels[:, :2] / pixels[:, 2:], points[:, 2]])
    if size is not None:
        listed = inside(listed, size)
    return listed.astype(np.float32)


def inside(
    points: Float[np.ndarray, "n 3"], size: tuple[int, int]
) -> Float[np.ndarray, "m 3"]:
    """Returns the points of a list that fall on an image of a size (height, width)."""
    limits = np.array([size[1], size[0]]) - 0.5
    visible = (points[:, :2] >= -0.5) & (points[:, :2] < limits[None, :])
    return points[visible.all(axis=1)]


def depth_map(
    points: Float[np.ndarray, "n 3"], size: tuple[int, int]
) -> Float[np.ndarray, "h w"]:
    """Returns float32 depth at the pixel nearest to each point of a list, else 0.

    The nearest of several points on one pixel wins. Points outside are left out.
    """
    return scatter(np.round(points[:, :2]).astype(np.int64), points[:, 2], size)


def scatter(
    pixels: Int[np.ndarray, "n 2"],
    depth: Float[np.ndarray, " n"],
    size: tuple[int, int],
) -> Float[np.ndarray, "h w"]:
    """Returns float32: the smallest depth at each pixel (x, y), else 0."""
    limits = np.array([size[1], size[0]])
    visible = ((pixels >= 0) & (pixels < limits[None, :])).all(axis=1)
    pixels, depth = pixels[visible], depth[visible]
    # Of several values assigned to one element the last stays: the smallest.
    order = np.argsort(-depth, kind="stable")
    image = np.zeros(size, np.float32)
    image[pixels[order, 1], pixels[order, 0]] = depth[order]
    return image
