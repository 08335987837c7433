"""Sources whose images and laser scans have separate times and poses.

In nuScenes and DDAD, images and scans are taken at slightly different times and are
related through their world poses.
"""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TimedScans(Source, abc.ABC):
    """The images of one camera, with the laser scans nearest in time.

    Attributes:
        poses: world_from_camera `[n 4 4]`.
        pose_file: file of the poses, for error messages.
        seconds: time of each image, `[n]`.
        time_file: file of the times, for error messages.
        scans: file of the scan of each image, or None.
        world_from_lidar: `[n 4 4]`, poses of these scans.
    """

    intrinsics: np.ndarray
    poses: np.ndarray
    pose_file: pathlib.Path
    seconds: np.ndarray
    time_file: pathlib.Path
    scans: tuple[pathlib.Path | None, ...]
    world_from_lidar: np.ndarray

    @abc.abstractmethod
    def read_scan(self, path: pathlib.Path) -> np.ndarray:
        """Returns the points of a scan in the frame of the laser, float64 `[n 3]`."""

    def points(self, index: int) -> np.ndarray | None:
        path = self.scans[index]
        if path is None:
            known = any(scan is not None for scan in self.scans)
            return np.zeros((0, 3), np.float32) if known else None
        camera_from_lidar = (
            rigid.inverse(self.poses[index]) @ self.world_from_lidar[index]
        )
        points = rigid.apply(camera_from_lidar, self.read_scan(path))
        return points_lib.project(points, self.intrinsics, self.size)

    def truth_files(self) -> list[pathlib.Path]:
        return [scan for scan in self.scans if scan is not None]

    def world_from_camera(self) -> np.ndarray:
        return source_lib.checked_poses(self.poses, self.pose_file)

    def timestamps(self) -> np.ndarray:
        return source_lib.checked_timestamps(self.seconds, self.time_file)


def pose(
    quaternion: Sequence[Any], translation: Sequence[Any], *, path: Any, name: str
) -> np.ndarray:
    """Returns `[4 4]` from a quaternion (w, x, y, z) and a translation in JSON.

    Raises:
        DataError: not finite numbers, or not a unit quaternion.
    """
    rotation = file_content.numbers(quaternion, (4,), path, f"{name} rotation")
    position = file_content.numbers(translation, (3,), path, f"{name} translation")
    try:
        return rigid.from_quaternion(rotation, position)
    except ValueError as error:
        raise DataError(path, f"{name}: {error}") from error
