"""The camera's way, put together from its motion between frames.

With E `source_from_target` of frames i (target) and i + s (source), the camera's poses
chain: `world_from_camera(i + s) = world_from_camera(i) E^-1`. The world is the camera
frame of the first frame. Errors add up: this is dead reckoning.
"""

from __future__ import annotations

from collections.abc import Iterable

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


def chained_frames(num_frames: int, frame_stride: int) -> Iterable[int]:
    """Returns the frames that have a pose: every `frame_stride`-th, from the first."""
    return range(0, num_frames, frame_stride)


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Returns the rotation; what float32 leaves of it would drift over many frames."""
    left, _, right = np.linalg.svd(np.asarray(matrix, np.float64))
    return left @ right
