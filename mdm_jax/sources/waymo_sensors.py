"""Waymo's cameras and lasers: removes distortion, and turns range images into points.

The axes of `vehicle` are x forward, y left, z up. Waymo's `sensor` frame of a camera
has the same axes; `_VEHICLE_FROM_CAMERA_AXES` relates them to camera axes. In the range
image of a rotating laser, columns have an azimuth, rows an inclination, and cells a
range.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np

from mdm_jax.files.errors import DataError
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid

# Vehicle axes (x forward, y left, z up) from camera axes (x right, y down, z forward),
# for a camera that looks along the vehicle's x.
_VEHICLE_FROM_CAMERA_AXES = ((0, 0, 1, 0), (-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0, 1))
FRONT = 1  # the front camera's number
# The movable classes of the panoptic labels: cars, trucks, buses, other large vehicles,
# bicycles, motorcycles, trailers, pedestrians, cyclists, motorcyclists, birds, animals.
MOVABLE = tuple(range(2, 14))
_MAX_RANGE = 1e3  # metres, far beyond the range of the lasers
_MAX_NUMBER = 1e9  # larger than any number of a calibration


@dataclasses.dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera with lens distortion.

    Attributes:
        intrinsics: float64 `[3 3]` in pixels, both with and without distortion.
        distortion: float64 `[5]`: k1, k2, p1, p2, k3, as in OpenCV.
        vehicle_from_camera: float64 `[4 4]`, in camera axes.
        size: (height, width).
    """

    intrinsics: np.ndarray
    distortion: np.ndarray
    vehicle_from_camera: np.ndarray
    size: tuple[int, int]

    def undistorted(self, image: np.ndarray) -> np.ndarray:
        """Returns an image `[h w c]` without lens distortion."""
        return cv2.undistort(image, self.intrinsics, self.distortion)

    def undistorted_labels(self, labels: np.ndarray) -> np.ndarray:
        """Returns labels `[h w]` without distortion, nearest pixel; 0 outside."""
        x, y = cv2.initUndistortRectifyMap(
            self.intrinsics,
            self.distortion,
            np.eye(3),
            self.intrinsics,
            self.size[::-1],
            cv2.CV_32FC1,
        )
        return cv2.remap(labels, x, y, cv2.INTER_NEAREST)

    def undistorted_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the undistorted positions of pixels `[n 2]` (x, y)."""
        if not len(pixels):
            return pixels
        moved = cv2.undistortPoints(
            pixels[:, None].astype(np.float64),
            self.intrinsics,
            self.distortion,
            P=self.intrinsics,
        )
        return moved[:, 0]


class Returns(NamedTuple):
    """One echo of one laser.

    Attributes:
        ranges: `[h w]`, in metres; not positive without a return.
        projections: `[h w 6]`: camera, x, y in up to two cameras.
    """

    ranges: np.ndarray
    projections: np.ndarray


class Scan(NamedTuple):
    """The measurements of one laser in one frame.

    Attributes:
        laser: its calibration.
        echoes: one or two.
        cell_poses: `[h w 6]`, see `points_vehicle`, or None.
    """

    laser: Laser
    echoes: list[Returns]
    cell_poses: np.ndarray | None


class Laser(NamedTuple):
    """A calibrated laser.

    Attributes:
        vehicle_from_laser: `[4 4]`.
        inclinations: `[h]`, radians, from the lowest row up; empty if evenly spaced.
        lowest: lowest inclination in radians, if evenly spaced.
        highest: highest inclination in radians, if evenly spaced.
    """

    vehicle_from_laser: np.ndarray
    inclinations: np.ndarray
    lowest: float
    highest: float


def camera(
    parameters: Any, extrinsic: Any, width: int, height: int, *, path: Any
) -> Camera:
    """Returns a camera from the numbers of its calibration.

    Args:
        parameters: fx, fy, cx, cy, k1, k2, p1, p2, k3.
        extrinsic: 16 numbers, vehicle from sensor, row by row.
        width: of the image, in pixels.
        height: of the image, in pixels.
        path: named in errors.

    Raises:
        DataError: numbers are missing or not finite, or do not describe a camera.
    """
    values = np.asarray(parameters, np.float64)
    if values.shape != (9,) or not (np.abs(values) < _MAX_NUMBER).all():
        raise DataError(path, f"expected 9 camera parameters, got {values.tolist()}")
    if not (0 < width <= 1 << 14 and 0 < height <= 1 << 14):
        raise DataError(path, f"expected the size of an image, got {height}x{width}")
    vehicle_from_sensor = transform(extrinsic, path=path)
    return Camera(
        np.asarray(intrinsics_lib.matrix(*values[:4]), np.float64),
        values[4:],
        vehicle_from_sensor @ np.array(_VEHICLE_FROM_CAMERA_AXES, np.float64),
        (height, width),
    )


def transform(numbers: Any, *, path: Any) -> np.ndarray:
    """Returns the rigid transform `[4 4]` of 16 numbers, row by row.

    Raises:
        DataError: the numbers are not a rigid transform.
    """
    values = np.asarray(numbers, np.float64)
    if values.shape != (16,):
        raise DataError(path, f"expected a transform of 16 numbers, got {values.size}")
    matrix = values.reshape(4, 4)
    if not (np.abs(matrix) < _MAX_NUMBER).all():
        raise DataError(path, f"expected a rigid transform, got {matrix.tolist()}")
    pose = rigid.matrix(matrix[:3, :3], matrix[:3, 3])
    if not rigid.is_rigid(pose) or np.abs(matrix[3] - pose[3]).max() > 1e-6:
        raise DataError(path, f"expected a rigid transform, got {matrix.tolist()}")
    return pose


def returned(ranges: np.ndarray) -> np.ndarray:
    """Returns which cells of a range image contain a point."""
    return (ranges > 0) & (ranges < _MAX_RANGE)


def points_vehicle(
    ranges: np.ndarray,
    laser: Laser,
    *,
    world_from_vehicle: np.ndarray,
    cell_poses: np.ndarray | None,
) -> np.ndarray:
    """Returns the point of each cell of a range image, in the vehicle frame, `[h w 3]`.

    Args:
        ranges: `[h w]`, metres.
        laser: its calibration.
        world_from_vehicle: `[4 4]`, pose of the frame, to which all cells are moved.
        cell_poses: `[h w 6]`, roll, pitch, yaw, x, y, z of world_from_vehicle at the
            time of each cell; None if all cells have the pose of the frame.
    """
    height, width = ranges.shape
    ranges = np.where(returned(ranges), ranges, 0)
    inclination = laser.inclinations
    if not len(inclination):
        steps = (np.arange(height) + 0.5) / height
        inclination = laser.lowest + steps * (laser.highest - laser.lowest)
    inclination = inclination[::-1, None]  # The first row is the highest.
    # Columns run clockwise, starting behind the vehicle, whatever the yaw with which
    # the laser is mounted.
    rotation = laser.vehicle_from_laser[:3, :3]
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    turn = (width - np.arange(width) - 0.5) / width
    azimuth = ((2 * turn - 1) * np.pi - yaw)[None, :]
    directions = np.stack(
        np.broadcast_arrays(
            np.cos(azimuth) * np.cos(inclination),
            np.sin(azimuth) * np.cos(inclination),
            np.sin(inclination),
        ),
        axis=-1,
    )
    points = rigid.apply(laser.vehicle_from_laser, ranges[..., None] * directions)
    if cell_poses is None:
        return points
    # Cells without a return may have any value.
    cell_poses = np.where(np.abs(cell_poses) < _MAX_NUMBER, cell_poses, 0)
    roll, pitch, yaw = (cell_poses[..., i] for i in range(3))
    x, y, z = (points[..., i] for i in range(3))
    # Rz(yaw) Ry(pitch) Rx(roll), applied from the right without a matrix per cell.
    y, z = np.cos(roll) * y - np.sin(roll) * z, np.sin(roll) * y + np.cos(roll) * z
    x, z = np.cos(pitch) * x + np.sin(pitch) * z, np.cos(pitch) * z - np.sin(pitch) * x
    x, y = np.cos(yaw) * x - np.sin(yaw) * y, np.sin(yaw) * x + np.cos(yaw) * y
    points_world = np.stack([x, y, z], axis=-1) + cell_poses[..., 3:]
    return rigid.apply(rigid.inverse(world_from_vehicle), points_world)


def points_image(
    scans: Iterable[Scan],
    camera: Camera,
    *,
    world_from_vehicle: np.ndarray,
    world_from_vehicle_at_image: np.ndarray,
    path: Any,
) -> np.ndarray | None:
    """Returns the points of all lasers in the undistorted image of the front camera.

    The pixel is the published projection, which accounts for the rolling shutter and is
    rounded down to integers. Depth is that of a static point at the time of the image.

    Args:
        scans: of the lasers; without any, None is returned.
        camera: the front camera.
        world_from_vehicle: `[4 4]`, pose of the frame.
        world_from_vehicle_at_image: `[4 4]`, pose at the time of the image.
        path: named in errors.

    Raises:
        DataError: the range images of a laser have different shapes.
    """
    camera_from_vehicle = (
        rigid.inverse(world_from_vehicle_at_image @ camera.vehicle_from_camera)
        @ world_from_vehicle
    )
    found = []
    for scan in scans:
        _check_shapes(scan, path)
        for echo in scan.echoes:
            points = points_vehicle(
                echo.ranges,
                scan.laser,
                world_from_vehicle=world_from_vehicle,
                cell_poses=scan.cell_poses,
            )
            for first in (0, 3):  # The first and the second camera.
                seen = returned(echo.ranges) & (echo.projections[..., first] == FRONT)
                pixels = echo.projections[seen][:, first + 1 : first + 3]
                pixels = camera.undistorted_pixels(pixels.astype(np.float64))
                depth = rigid.apply(camera_from_vehicle, points[seen])[:, 2]
                found.append(np.column_stack([pixels, depth]))
    if not found:
        return None
    points_list = np.concatenate(found)
    kept = np.isfinite(points_list).all(axis=1) & (points_list[:, 2] > 0.1)
    return points_lib.inside(points_list[kept], camera.size).astype(np.float32)


def _check_shapes(scan: Scan, path: Any):
    shapes = [echo.ranges.shape for echo in scan.echoes]
    shapes += [echo.projections.shape[:2] for echo in scan.echoes]
    if scan.cell_poses is not None:
        shapes.append(scan.cell_poses.shape[:2])
    if len(scan.laser.inclinations):
        shapes.append((len(scan.laser.inclinations), shapes[0][1]))
    if len(set(shapes)) > 1:
        raise DataError(path, f"the range images of a laser differ in shape: {shapes}")


def instances(panoptic: np.ndarray, divisor: int) -> np.ndarray:
    """Returns uint8 `[h w]`: 1, 2, ... for the movable instances of panoptic labels.

    A panoptic label is `class * divisor + instance`, with instance 0 for none. Numbers
    follow the order of the labels and do not persist from image to image.
    """
    values, inverse = np.unique(panoptic, return_inverse=True)
    movable = np.isin(values // divisor, MOVABLE) & (values % divisor > 0)
    numbers = np.where(movable, np.cumsum(movable), 0)
    # A 256th object would become background; no image has that many.
    numbers = np.where(numbers > 255, 0, numbers).astype(np.uint8)
    return numbers[inverse.reshape(panoptic.shape)]
