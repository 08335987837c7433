"""KITTI raw data, synchronised and rectified, in its original folders.

    ROOT/2011_09_26/calib_{cam_to_cam,velo_to_cam,imu_to_velo}.txt
    ROOT/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png
    ROOT/2011_09_26/2011_09_26_drive_0001_sync/image_02/timestamps.txt
    ROOT/2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000000.bin
    ROOT/2011_09_26/2011_09_26_drive_0001_sync/oxts/data/0000000000.txt

Frames: `imu` x forward, y left, z up; `velo` likewise, on the roof; `rectified` is
camera 0 after rectification, camera axes. The world is x east, y north, z up, with its
origin at the first position of the drive (Geiger et al. 2013, sec. III).
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid
from mdm_jax.sources import kitti_calibration
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source

_EARTH_RADIUS = 6378137.0  # metres, WGS 84
_MIN_DEPTH = 0.1  # metres; nearer points are on the recording car
_DATE = re.compile(r"\d{4}_\d{2}_\d{2}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})?")
_DRIVE = re.compile(r"\d{4}_\d{2}_\d{2}_drive_\d{4}_sync")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class KittiDrive(Source):
    """Consecutive frames of one colour camera.

    Attributes:
        folder: of the drive, `..._sync`.
        camera: 2 for the left colour camera, 3 for the right one.
        camera_from_velo: `[4 4]`.
        camera_from_imu: `[4 4]`; None if the calibration of the IMU is missing.
    """

    intrinsics: np.ndarray
    folder: pathlib.Path
    camera: int
    camera_from_velo: np.ndarray
    camera_from_imu: np.ndarray | None

    def points(self, index: int) -> np.ndarray | None:
        scan = self._scan(index)
        if scan is None:
            return None
        points = rigid.apply(self.camera_from_velo, scan)
        return points_lib.project(points, self.intrinsics, self.size)

    def devkit_depth(
        self, index: int, *, from_laser: bool = False
    ) -> np.ndarray | None:
        """Returns the depth map of a frame as the development kit computes it.

        Float32 `[h w]` in metres, 0 where unknown. The kit counts pixels from 1: a
        point is assigned to `round(x) - 1, round(y) - 1`, one pixel up and left of its
        position in `points`. The nearest of several points wins.

        Args:
            index: of the frame.
            from_laser: return the distance along the laser's x axis, 0.27 m more than
                the depth along the optical axis. The published scripts (monodepth2,
                SfMLearner) evaluate on it.

        Raises:
            DataError: as for `points`.
        """
        scan = self._scan(index)
        if scan is None:
            return None
        camera = rigid.apply(self.camera_from_velo, scan)
        ahead = camera[:, 2] > _MIN_DEPTH
        points = points_lib.project(camera[ahead], self.intrinsics, None)
        pixels = np.round(points[:, :2]).astype(np.int64) - 1
        depth = scan[ahead, 0] if from_laser else points[:, 2]
        return points_lib.scatter(pixels, depth, self.size)

    def truth_files(self) -> list[pathlib.Path]:
        folder = self.folder / "velodyne_points" / "data"
        return [folder / f"{number:010d}.bin" for number in self.numbers]

    def _scan(self, index: int) -> np.ndarray | None:
        """Returns the points `[n 3]` ahead of the laser in its axes, metres."""
        path = self.truth_files()[index]
        if not file_content.is_folder(path.parent):
            return None
        if not file_content.exists(path):
            # Some published scans are missing, because the laser paused.
            return np.zeros((0, 3))
        points = file_content.read_floats(path, 4)[:, :3].astype(np.float64)
        # The kit drops points behind the laser before the projection.
        return points[points[:, 0] >= 0]

    def world_from_camera(self) -> np.ndarray | None:
        paths = [
            self.folder / "oxts" / "data" / f"{number:010d}.txt"
            for number in self.numbers
        ]
        missing = sum(not file_content.exists(path) for path in paths)
        if missing or self.camera_from_imu is None:
            if 0 < missing < len(paths):
                logging.warning(
                    "%s: %d of %d OXTS files are missing, so poses are unknown",
                    paths[0].parent,
                    missing,
                    len(paths),
                )
            return None
        packets = np.concatenate(
            [file_content.read_table(path, 30)[:1] for path in paths]
        )
        world_from_imu = oxts_poses(packets)
        for pose, path in zip(world_from_imu, paths, strict=True):
            source_lib.checked_poses(pose[None], path)
        return world_from_imu @ rigid.inverse(self.camera_from_imu)

    def timestamps(self) -> np.ndarray | None:
        path = self.folder / f"image_{self.camera:02d}" / "timestamps.txt"
        if not file_content.exists(path):
            return None
        stamps = file_content.read_text(path).split()
        try:
            # Date and time with nanoseconds, which strptime does not support.
            times = np.array(
                [
                    _stamp(stamps[2 * number], stamps[2 * number + 1])
                    for number in self.numbers
                ]
            )
        except (ValueError, IndexError) as error:
            raise DataError(
                path,
                "expected lines like 2011-09-26 13:02:25.964389445, one for each of"
                f" the frames up to {self.numbers[-1]} ({error})",
            ) from error
        seconds = times.astype(np.int64) / 1e9
        return source_lib.checked_timestamps(seconds, path)


def open_sources(
    root: pathlib.Path, *, problems: Problems, cameras: Sequence[int] = (2, 3)
) -> list[Source]:
    """Returns the drives below a folder, by date, drive and camera.

    Args:
        root: holds a folder per date.
        problems: how to handle broken files.
        cameras: 2 left, 3 right; cameras without a folder are ignored.

    Raises:
        DataError: a calibration file is missing or damaged, or the images have another
            size than the calibration.
    """
    found: list[Source] = []
    for date in file_content.children(root):
        if not _DATE.fullmatch(date.name):
            continue
        for folder in file_content.children(date):
            if not _DRIVE.fullmatch(folder.name):
                continue
            for camera in cameras:
                if file_content.is_folder(folder / f"image_{camera:02d}" / "data"):
                    with problems.caught():
                        found += _open_camera(folder, camera)
    return found


def oxts_poses(packets: np.ndarray) -> np.ndarray:
    """Returns world_from_imu, float64 `[n 4 4]`, of OXTS packets `[n 30]`.

    Positions follow from the Mercator projection, scaled for the latitude of the first
    packet; the world's origin is the first position.
    """
    latitude, longitude, altitude, roll, pitch, yaw = packets[:, :6].T
    poses = np.tile(np.eye(4), (len(packets), 1, 1))
    with np.errstate(all="ignore"):  # Damaged numbers become damaged poses.
        # lon, lat -> x, y as in the development kit; s = cos(lat_0)
        scale = np.cos(np.deg2rad(latitude[0]))
        x = scale * _EARTH_RADIUS * np.deg2rad(longitude)
        y = scale * _EARTH_RADIUS * np.log(np.tan(np.deg2rad(90 + latitude) / 2))
        translation = np.stack([x, y, altitude], axis=1)
        poses[:, :3, :3] = _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)
        poses[:, :3, 3] = translation - translation[:1]
    return poses


def _stamp(date: str, time: str) -> np.datetime64:
    """Returns a time like `2011-09-26`, `13:02:25.964389445`, or raises ValueError."""
    if not _TIME.fullmatch(f"{date} {time}"):
        raise ValueError(f"got {date} {time}")
    return np.datetime64(f"{date}T{time}", "ns")


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Returns rotations `[n 3 3]` about one axis, right-handed, radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.tile(np.eye(3), (len(angle), 1, 1))
    rotation[:, first, first] = rotation[:, second, second] = np.cos(angle)
    rotation[:, second, first] = np.sin(angle)
    rotation[:, first, second] = -np.sin(angle)
    return rotation


def _open_camera(folder: pathlib.Path, camera: int) -> list[Source]:
    date = folder.parent
    cameras = kitti_calibration.Calibration(date / "calib_cam_to_cam.txt")
    intrinsics, camera_from_rectified = cameras.camera(f"P_rect_{camera:02d}")
    velo = kitti_calibration.Calibration(date / "calib_velo_to_cam.txt")
    camera_from_velo = (
        camera_from_rectified @ cameras.rigid("R_rect_00") @ velo.rigid("R", "T")
    )
    camera_from_imu = None
    if file_content.exists(date / "calib_imu_to_velo.txt"):
        imu = kitti_calibration.Calibration(date / "calib_imu_to_velo.txt")
        camera_from_imu = camera_from_velo @ imu.rigid("R", "T")
    images = file_content.numbered(
        folder / f"image_{camera:02d}" / "data", (".png", ".jpg")
    )
    size = image_file.size_of(images.values())
    width, height = cameras.entry(f"S_rect_{camera:02d}", (2,)).tolist()
    if size != (height, width):
        raise DataError(
            next(iter(images.values())),
            f"expected {height:g}x{width:g} pixels (height x width) as in {cameras.path},"
            f" got {size[0]}x{size[1]}: give the original images, which are resized here",
        )
    numbers = tuple(images)
    parts = source_lib.runs(numbers)
    name = f"{folder.name}/{camera:02d}"
    return [
        KittiDrive(
            name=name if len(parts) == 1 else f"{name}/{numbers[part.start]:010d}",
            files=tuple(images.values())[part],
            size=size,
            intrinsics=intrinsics,
            sequence=folder.name,
            side="lr"[camera % 2],
            folder=folder,
            camera=camera,
            numbers=numbers[part],
            camera_from_velo=camera_from_velo,
            camera_from_imu=camera_from_imu,
        )
        for part in parts
    ]
