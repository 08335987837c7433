"""The KITTI odometry benchmark, in its original folders.

    ROOT/sequences/00/{calib.txt,times.txt}
    ROOT/sequences/00/image_2/000000.png
    ROOT/sequences/00/velodyne/000000.bin
    ROOT/poses/00.txt

A row of the poses is world_from_camera of the *first grey* camera, 3x4; the world is
that camera at the first frame. `rectified` is camera 0. Test sequences have no poses.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid
from mdm_jax.sources import kitti_calibration
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source

_CAMERAS = (2, 0)  # The left cameras, colour first.
_SEQUENCE = re.compile(r"\d\d")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class OdometryDrive(Source):
    """Consecutive frames of one camera of a sequence.

    Attributes:
        folder: of the sequence.
        pose_file: may be missing.
        camera_from_rectified: `[4 4]`.
        rectified_from_velo: `[4 4]`; None if the calibration does not contain it.
    """

    intrinsics: np.ndarray
    folder: pathlib.Path
    pose_file: pathlib.Path
    camera_from_rectified: np.ndarray
    rectified_from_velo: np.ndarray | None

    def points(self, index: int) -> np.ndarray | None:
        path = self.truth_files()[index]
        if self.rectified_from_velo is None or not file_content.is_folder(path.parent):
            return None
        points = file_content.read_floats(path, 4)[:, :3].astype(np.float64)
        camera_from_velo = self.camera_from_rectified @ self.rectified_from_velo
        points = rigid.apply(camera_from_velo, points[points[:, 0] >= 0])
        return points_lib.project(points, self.intrinsics, self.size)

    def truth_files(self) -> list[pathlib.Path]:
        return [self.folder / "velodyne" / f"{n:06d}.bin" for n in self.numbers]

    def world_from_camera(self) -> np.ndarray | None:
        if not file_content.exists(self.pose_file):
            return None
        rows = file_content.read_table(self.pose_file, 12)
        self._check_length(rows, self.pose_file)
        poses = np.tile(np.eye(4), (len(rows), 1, 1))
        poses[:, :3] = rows.reshape(-1, 3, 4)
        poses = source_lib.checked_poses(poses, self.pose_file)[list(self.numbers)]
        return poses @ rigid.inverse(self.camera_from_rectified)

    def timestamps(self) -> np.ndarray | None:
        path = self.folder / "times.txt"
        if not file_content.exists(path):
            return None
        seconds = file_content.read_table(path, 1)[:, 0]
        self._check_length(seconds, path)
        return source_lib.checked_timestamps(seconds, path)[list(self.numbers)]

    def _check_length(self, rows: np.ndarray, path: pathlib.Path):
        if len(rows) <= self.numbers[-1]:
            raise DataError(
                path,
                f"expected a line for each frame up to {self.numbers[-1]}, got"
                f" {len(rows)} lines",
            )


def open_sources(
    root: pathlib.Path, *, problems: Problems, camera: int | None = None
) -> list[Source]:
    """Returns the sequences below a folder, named `00`, `01`, ...

    Args:
        root: holds `sequences` and, where known, `poses`.
        problems: how to handle broken files.
        camera: 0 and 1 are grey, 2 and 3 colour; None for the left colour camera, or
            the left grey camera if there is no colour.

    Raises:
        DataError: a calibration is missing or damaged.
    """
    found: list[Source] = []
    for folder in file_content.children(root / "sequences"):
        if not _SEQUENCE.fullmatch(folder.name):
            continue
        for choice in _CAMERAS if camera is None else (camera,):
            if file_content.is_folder(folder / f"image_{choice}"):
                with problems.caught():
                    found += _open_camera(root, folder, choice)
                break
    return found


def _open_camera(root: pathlib.Path, folder: pathlib.Path, camera: int) -> list[Source]:
    calibration = kitti_calibration.Calibration(folder / "calib.txt")
    intrinsics, camera_from_rectified = calibration.camera(f"P{camera}")
    images = file_content.numbered(folder / f"image_{camera}", (".png", ".jpg"))
    numbers = tuple(images)
    parts = source_lib.runs(numbers)
    size = image_file.size_of(images.values())
    return [
        OdometryDrive(
            name=folder.name
            if len(parts) == 1
            else f"{folder.name}/{numbers[part.start]:06d}",
            files=tuple(images.values())[part],
            size=size,
            intrinsics=intrinsics,
            sequence=folder.name,
            side="lr"[camera % 2],
            folder=folder,
            pose_file=root / "poses" / f"{folder.name}.txt",
            numbers=numbers[part],
            camera_from_rectified=camera_from_rectified,
            rectified_from_velo=calibration.pose("Tr") if "Tr" in calibration else None,
        )
        for part in parts
    ]
