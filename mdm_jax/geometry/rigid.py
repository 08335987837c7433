"""Rigid transforms as NumPy matrices `[4 4]`, float64, named `a_from_b`.

`geometry.pose` has the differentiable ones.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

Transforms = Float[np.ndarray, "*n 4 4"]

# Of the entries of a rigid transform.
_LIMITS = np.array([[2, 2, 2, np.inf]] * 3 + [[2, 2, 2, 2]])


def matrix(rotation: np.ndarray, translation: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """Returns the transform of a rotation `[3 3]` and a translation `[3]`."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = translation
    return pose


def from_quaternion(
    quaternion: np.ndarray, translation: np.ndarray
) -> Float[np.ndarray, "4 4"]:
    """Returns the transform of a quaternion (w, x, y, z) and a translation `[3]`.

    Raises:
        ValueError: the length of the quaternion is not 1.
    """
    length = np.linalg.norm(quaternion)
    if not abs(length - 1) < 1e-3:
        raise ValueError(
            f"expected a unit quaternion (w x y z), got {np.asarray(quaternion).tolist()}"
        )
    w, x, y, z = quaternion / length
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return matrix(rotation, translation)


def inverse(a_from_b: Transforms) -> Transforms:
    """Returns `b_from_a`, exactly rigid."""
    rotation = np.swapaxes(a_from_b[..., :3, :3], -1, -2)
    b_from_a = np.zeros_like(a_from_b)
    b_from_a[..., :3, :3] = rotation
    b_from_a[..., :3, 3] = -(rotation @ a_from_b[..., :3, 3:])[..., 0]
    b_from_a[..., 3, 3] = 1
    return b_from_a


def apply(
    a_from_b: Float[np.ndarray, "4 4"], points: Float[np.ndarray, "*n 3"]
) -> Float[np.ndarray, "*n 3"]:
    """Returns points of frame b in frame a."""
    return points @ a_from_b[:3, :3].T + a_from_b[:3, 3]


def is_rigid(matrices: Transforms) -> Bool[np.ndarray, "*n"]:
    """Returns which matrices rotate and move, to four digits, and are finite."""
    # No entry of a rotation exceeds 1; larger ones could overflow below.
    possible = np.isfinite(matrices) & (np.abs(matrices) < _LIMITS)
    possible = possible.all(axis=(-2, -1), keepdims=True)
    matrices = np.where(possible, matrices, 0.0)
    rotation = matrices[..., :3, :3]
    product = rotation @ np.swapaxes(rotation, -1, -2)
    orthonormal = np.abs(product - np.eye(3)).max(axis=(-2, -1)) < 1e-4
    last_row = (matrices[..., 3, :] == np.array([0, 0, 0, 1.0])).all(axis=-1)
    return np.asarray(orthonormal & last_row & (np.linalg.det(rotation) > 0))


def from_origin(
    world_from_camera: Float[np.ndarray, "n 4 4"],
) -> Float[np.ndarray, "n 4 4"]:
    """Returns a trajectory moved so that its first position is the origin.

    Only motion matters, and kilometres do not fit in float32.
    """
    offset = np.zeros((4, 4))
    offset[:3, 3] = world_from_camera[0, :3, 3]
    return world_from_camera - offset[None]
