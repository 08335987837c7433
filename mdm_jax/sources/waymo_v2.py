"""Waymo Open Dataset (perception, v2): Parquet tables, one per component and segment.

    ROOT/training/camera_image/<segment>.parquet        images, vehicle poses
    ROOT/training/camera_calibration/<segment>.parquet
    ROOT/training/camera_segmentation/<segment>.parquet  optional: panoptic labels
    ROOT/training/{lidar,lidar_camera_projection,lidar_pose,lidar_calibration,
                   vehicle_pose}/<segment>.parquet       optional: depth

The data and conventions are those of v1. Tables are joined by time and by the number of
the camera or laser. Reading needs pyarrow (extra `waymo`).
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdm_jax.files import file_content, image_file
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.sources import parquet, waymo_sensors
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source

_TIME = "key.frame_timestamp_micros"
_CAMERA = "key.camera_name"
_LASER = "key.laser_name"
_IMAGE = "[CameraImageComponent]."
_CALIBRATION = "[CameraCalibrationComponent]."
_PARAMETERS = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
_LABELS = "[CameraSegmentationLabelComponent]."
_LIDAR = "[LiDARComponent]."
_PROJECTION = "[LiDARCameraProjectionComponent]."
_POSE = "[LiDARPoseComponent]."
_LIDAR_CALIBRATION = "[LiDARCalibrationComponent]."
_VEHICLE = "[VehiclePoseComponent].world_from_vehicle.transform"
_DEPTH_TABLES = (
    "lidar",
    "lidar_camera_projection",
    "lidar_pose",
    "lidar_calibration",
    "vehicle_pose",
)
_LASERS = range(1, 6)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class WaymoDrive(Source):
    """The front images of a segment.

    Attributes:
        folder: of the split, which contains the components.
        segment: name of the segment.
        micros: time of each frame in microseconds, as in the tables.
        rows: location of each image in its file.
        calibration: of the front camera.
    """

    folder: pathlib.Path
    segment: str
    micros: tuple[int, ...]
    rows: tuple[parquet.Row, ...]
    calibration: waymo_sensors.Camera

    def image(self, index: int) -> np.ndarray:
        path = self.files[index]
        jpeg = parquet.value(path, self.rows[index], f"{_IMAGE}image")
        source = f"{path} (frame {index})"
        image = image_file.decode(_bytes(jpeg, source), source, size=self.size)
        return self.calibration.undistorted(image)

    def points(self, index: int) -> np.ndarray | None:
        tables = {name: self._table(name) for name in _DEPTH_TABLES}
        if not all(file_content.exists(path) for path in tables.values()):
            return None
        micros = self.micros[index]
        vehicle = tables["vehicle_pose"]
        row = parquet.rows(vehicle, (_TIME,)).get((micros,))
        if row is None:
            raise DataError(vehicle, f"has no row for the time {micros}")
        path = tables["lidar"]
        return waymo_sensors.points_image(
            self._scans(micros, tables),
            self.calibration,
            world_from_vehicle=_transform(vehicle, row, _VEHICLE),
            world_from_vehicle_at_image=self._vehicle_at_image(index),
            path=f"{path} (time {micros})",
        )

    def labels(self, index: int) -> np.ndarray | None:
        path = self._table("camera_segmentation")
        if not file_content.exists(path):
            return None
        key = (self.micros[index], waymo_sensors.FRONT)
        row = parquet.rows(path, (_TIME, _CAMERA)).get(key)
        if row is None:
            return None
        source = f"{path} (labels of frame {index})"
        png = _bytes(parquet.value(path, row, f"{_LABELS}panoptic_label"), source)
        divisor = _integer(
            parquet.value(path, row, f"{_LABELS}panoptic_label_divisor"), path
        )
        panoptic = image_file.decode_labels(png, source, size=self.size)
        if panoptic.ndim != 2 or divisor < 1:
            raise DataError(source, "expected grey panoptic labels and their divisor")
        return self.calibration.undistorted_labels(
            waymo_sensors.instances(panoptic, divisor)
        )

    def labelled(self) -> list[bool]:
        path = self._table("camera_segmentation")
        if not file_content.exists(path):
            return [False] * len(self)
        rows = parquet.rows(path, (_TIME, _CAMERA))
        return [(micros, waymo_sensors.FRONT) in rows for micros in self.micros]

    def truth_files(self) -> list[pathlib.Path]:
        names = (*_DEPTH_TABLES, "camera_segmentation")
        return [self._table(name) for name in names]

    def calibration_files(self) -> list[pathlib.Path]:
        return [self._table("camera_calibration")]  # The lens distortion.

    def world_from_camera(self) -> np.ndarray:
        poses = [self._vehicle_at_image(index) for index in range(len(self))]
        return np.stack(poses) @ self.calibration.vehicle_from_camera

    def timestamps(self) -> np.ndarray:
        seconds = np.array(self.micros) * 1e-6
        return source_lib.checked_timestamps(seconds, self.files[0])

    def _table(self, component: str) -> pathlib.Path:
        return self.folder / component / f"{self.segment}.parquet"

    def _vehicle_at_image(self, index: int) -> np.ndarray:
        return _transform(
            self.files[index], self.rows[index], f"{_IMAGE}pose.transform"
        )

    def _scans(
        self, micros: int, tables: dict[str, pathlib.Path]
    ) -> Iterator[waymo_sensors.Scan]:
        for laser in _LASERS:
            key = (micros, laser)
            path = tables["lidar"]
            row = parquet.rows(path, (_TIME, _LASER)).get(key)
            if row is None:
                continue
            projections = tables["lidar_camera_projection"]
            place = parquet.rows(projections, (_TIME, _LASER)).get(key)
            if place is None:
                raise DataError(projections, f"has no row for laser {laser}, {micros}")
            echoes = []
            for number in (1, 2):
                name = f"range_image_return{number}"
                ranges = _matrix(path, row, f"{_LIDAR}{name}", 4)
                cells = _matrix(projections, place, f"{_PROJECTION}{name}", 6)
                if ranges is not None and cells is not None:
                    echoes.append(waymo_sensors.Returns(ranges[..., 0], cells))
            if not echoes:
                continue
            poses = tables["lidar_pose"]
            place = parquet.rows(poses, (_TIME, _LASER)).get(key)
            name = f"{_POSE}range_image_return1"
            yield waymo_sensors.Scan(
                _laser(tables["lidar_calibration"], laser),
                echoes,
                None if place is None else _matrix(poses, place, name, 6),
            )


def open_sources(
    root: pathlib.Path, *, problems: Problems, split: str = ""
) -> list[Source]:
    """Returns the segments below a folder, by name.

    Args:
        root: contains the components, or a folder of them for each split.
        problems: how to handle broken files.
        split: `training`, `validation` or `testing`; empty for `root` and its folders.

    Raises:
        DataError: a table is missing or damaged, or has other columns.
        ImportError: pyarrow is not installed.
    """
    parquet.pyarrow_parquet()
    folder = root / split if split else root
    folders = [folder, *(path for path in file_content.children(folder))]
    found: list[Source] = []
    for holder in folders:
        images = holder / "camera_image"
        if not file_content.is_folder(images):
            continue
        for path in file_content.children(images):
            if path.suffix == ".parquet":
                with problems.caught():
                    found.append(_open_segment(holder, path))
    return found


def _open_segment(folder: pathlib.Path, path: pathlib.Path) -> Source:
    rows = parquet.rows(path, (_TIME, _CAMERA))
    frames = sorted(key for key in rows if key[1] == waymo_sensors.FRONT)
    if not frames:
        raise DataError(path, "has no images of the front camera")
    calibration = folder / "camera_calibration" / path.name
    row = parquet.rows(calibration, (_CAMERA,)).get((waymo_sensors.FRONT,))
    if row is None:
        raise DataError(calibration, "has no row for the front camera")
    camera = waymo_sensors.camera(
        [
            parquet.number(calibration, row, f"{_CALIBRATION}intrinsic.{name}")
            for name in _PARAMETERS
        ],
        parquet.numbers(calibration, row, f"{_CALIBRATION}extrinsic.transform"),
        int(parquet.number(calibration, row, f"{_CALIBRATION}width")),
        int(parquet.number(calibration, row, f"{_CALIBRATION}height")),
        path=calibration,
    )
    return WaymoDrive(
        name=path.stem,
        files=(path,) * len(frames),
        size=camera.size,
        intrinsics=camera.intrinsics,
        folder=folder,
        segment=path.stem,
        micros=tuple(key[0] for key in frames),
        rows=tuple(rows[key] for key in frames),
        calibration=camera,
    )


def _laser(path: pathlib.Path, laser: int) -> waymo_sensors.Laser:
    row = parquet.rows(path, (_LASER,)).get((laser,))
    if row is None:
        raise DataError(path, f"has no row for laser {laser}")
    name = f"{_LIDAR_CALIBRATION}beam_inclination"
    return waymo_sensors.Laser(
        _transform(path, row, f"{_LIDAR_CALIBRATION}extrinsic.transform"),
        parquet.numbers(path, row, f"{name}.values"),
        parquet.number(path, row, f"{name}.min"),
        parquet.number(path, row, f"{name}.max"),
    )


def _transform(path: pathlib.Path, row: parquet.Row, column: str) -> np.ndarray:
    return waymo_sensors.transform(parquet.numbers(path, row, column), path=path)


def _matrix(
    path: pathlib.Path, row: parquet.Row, column: str, channels: int
) -> np.ndarray | None:
    """Returns `[h w channels]` of a flattened range image; None if there is none."""
    values = parquet.numbers(path, row, f"{column}.values")
    shape = tuple(int(side) for side in parquet.numbers(path, row, f"{column}.shape"))
    if not len(values):
        return None
    fits = len(shape) == 3 and shape[2] == channels and min(shape) > 0
    if not fits or values.size != shape[0] * shape[1] * shape[2]:
        raise DataError(
            path,
            f"{column}: expected [h w {channels}], got {values.size} numbers of shape"
            f" {list(shape)}",
        )
    return values.reshape(shape)


def _bytes(value: Any, source: str) -> bytes:
    content = value.as_py()
    if not isinstance(content, bytes) or not content:
        raise DataError(source, f"expected an encoded image, got {value.type}")
    return content


def _integer(value: Any, path: pathlib.Path) -> int:
    return int(file_content.numbers(value.as_py(), (), path, "panoptic_label_divisor"))
