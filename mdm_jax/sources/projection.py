"""LiDAR points into pixels: rigid chains, projection, sparse depth maps. NumPy, float64.

A *point list* is float32 `[n 3]`: x and y in pixels (centres at integers), z the depth
along the optical axis in metres. Camera frames are x right, y down, z forward.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError

# Nearer points lie on the recording car itself or are noise.
_MIN_DEPTH = 0.1

# Axes of vehicles (x forward, y left, z up) from camera axes (x right, y down,
# z forward): a camera that looks ahead along the vehicle's x.
_VEHICLE_FROM_CAMERA_AXES = ((0, 0, 1, 0), (-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0, 1))


def vehicle_from_camera_axes() -> np.ndarray:
    """Returns `[4 4]` from camera axes to axes that are x forward, y left, z up."""
    return np.array(_VEHICLE_FROM_CAMERA_AXES, np.float64)


def rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Returns `[4 4]` of a rotation `[3 3]` and a translation `[3]`."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = translation
    return pose


def inverse(pose: np.ndarray) -> np.ndarray:
    """Returns the inverse of rigid transforms `[... 4 4]`."""
    rotation = np.swapaxes(pose[..., :3, :3], -1, -2)
    result = np.zeros_like(pose)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -(rotation @ pose[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1
    return result


def from_quaternion(
    quaternion: Any, translation: Any, *, path: Any, name: str
) -> np.ndarray:
    """Returns `[4 4]` of a unit quaternion (w, x, y, z) and a translation.

    Raises:
        DataError: not numbers, not finite, or the quaternion's length is not 1.
    """
    q = file_content.numbers(quaternion, (4,), path, f"{name} rotation")
    t = file_content.numbers(translation, (3,), path, f"{name} translation")
    length = np.linalg.norm(q)
    if not abs(length - 1) < 1e-3:
        raise DataError(
            path, f"{name}: expected a unit quaternion (w x y z), got {q.tolist()}"
        )
    w, x, y, z = q / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rigid(rotation, t)


def transform(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Returns points `[n 3]` moved by a rigid transform `[4 4]`."""
    return points @ pose[:3, :3].T + pose[:3, 3]


def project(
    points_camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int] | None
) -> np.ndarray:
    """Returns the point list of points in the camera frame `[n 3]`.

    Points behind or at the camera are left out, and so are those outside an image of
    the size (height, width), unless it is None.
    """
    points = points_camera[points_camera[:, 2] > _MIN_DEPTH]
    pixels = points @ intrinsics.T
    found = np.column_stack([pixels[:, :2] / pixels[:, 2:], points[:, 2]])
    if size is not None:
        found = inside(found, size)
    return found.astype(np.float32)


def inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns the points of a list that fall on an image of a size (height, width)."""
    limits = np.array([size[1], size[0]]) - 0.5
    kept = (points[:, :2] >= -0.5) & (points[:, :2] < limits[None, :])
    return points[kept.all(axis=1)]


def depth_map(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns float32 `[h w]`: the depth at the pixel nearest to each point, else 0.

    The nearest of several points on one pixel wins. Points outside are left out.
    """
    return scatter(np.round(points[:, :2]).astype(np.int64), points[:, 2], size)


def scatter(pixels: np.ndarray, depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns float32 `[h w]`: the smallest depth `[n]` at each pixel (x, y), else 0."""
    limits = np.array([size[1], size[0]])
    kept = ((pixels >= 0) & (pixels < limits[None, :])).all(axis=1)
    pixels, depth = pixels[kept], depth[kept]
    # Of several values assigned to one element the last stays: the smallest.
    order = np.argsort(-depth, kind="stable")
    found = np.zeros(size, np.float32)
    found[pixels[order, 1], pixels[order, 0]] = depth[order]
    return found
