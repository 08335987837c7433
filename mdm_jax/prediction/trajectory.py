"""The trajectory of the camera, chained from its motion between frames.

With E `source_from_target` of frames i (target) and i + s (source), the poses chain:
`world_from_camera(i + s) = world_from_camera(i) E^-1`. The world is the camera frame of
the first frame. This is dead reckoning: errors add up.
"""

from __future__ import annotations

import numpy as np


def chain(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Returns float64 `[n+1 4 4]`, `world_from_camera`, the identity first.

    Args:
        rotations: `[n 3 3]` of E, in order.
        translations: `[n 3]` of E.
    """
    poses = np.tile(np.eye(4), (len(rotations) + 1, 1, 1))
    for i, (rotation, translation) in enumerate(
        zip(rotations, translations, strict=True)
    ):
        turned = poses[i, :3, :3] @ _nearest_rotation(rotation).T
        poses[i + 1, :3, :3] = turned
        poses[i + 1, :3, 3] = poses[i, :3, 3] - turned @ translation
    return poses


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Returns the nearest rotation: float32 errors would grow over many frames."""
    left, _, right = np.linalg.svd(np.asarray(matrix, np.float64))
    return left @ right
