"""DDAD and other scenes in the layout of Toyota's Dataset Governance Policy (DGP).

    ROOT/000000/scene_<hash>.json        samples, data, poses
    ROOT/000000/calibration/<hash>.json  intrinsics by sensor name
    ROOT/000000/rgb/CAMERA_01/<time>.{png,jpg}
    ROOT/000000/point_cloud/LIDAR/<time>.npz

A *datum* is one measurement of one sensor, with world_from_sensor at its time; a
*sample* groups the data of one moment. Scans and images are taken at slightly different
times and are related through their world poses.
"""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.sources import timed_scans
from mdm_jax.sources.source import Source
from mdm_jax.sources.timed_scans import TimedScans


class DdadSource(TimedScans):
    """The images of one camera in one scene."""

    def read_scan(self, path: pathlib.Path) -> np.ndarray:
        data = file_content.read_array(path, "data")
        if data.ndim != 2 or data.shape[1] < 3 or data.dtype.kind != "f":
            raise DataError(
                path, f"expected points [n 4] of floats, got {data.dtype} {data.shape}"
            )
        return file_content.measured(data[:, :3].astype(np.float64))


def open_sources(
    root: pathlib.Path, *, problems: Problems, camera: str = "CAMERA_01"
) -> list[Source]:
    """Returns the scenes below a folder, sorted by the names of their folders.

    Args:
        root: contains a folder for each scene.
        problems: how to handle broken files.
        camera: name of the camera; `CAMERA_01` looks ahead.

    Raises:
        DataError: a scene or its calibration is missing or damaged.
    """
    found: list[Source] = []
    for folder in file_content.children(root):
        if not file_content.is_folder(folder):
            continue
        for path in file_content.children(folder):
            if path.name.startswith("scene_") and path.suffix == ".json":
                with problems.caught():
                    found.append(_open_scene(path, camera))
    return found


def _open_scene(path: pathlib.Path, camera: str) -> Source:
    record = file_content.read_json(path)
    data = {
        file_content.field(datum, ("key",), path): datum
        for datum in _list(record, "data", path)
    }
    images: list[Mapping[str, Any]] = []
    scans: list[Mapping[str, Any] | None] = []
    calibrations = set()
    for sample in _list(record, "samples", path):
        try:
            members = [
                data[key] for key in file_content.field(sample, ("datum_keys",), path)
            ]
        except (KeyError, TypeError) as error:
            raise DataError(
                path, f"a sample refers to a missing datum: {error}"
            ) from error
        by_sensor = {file_content.field(m, ("id", "name"), path): m for m in members}
        if camera not in by_sensor:
            continue
        images.append(by_sensor[camera])
        scans.append(by_sensor.get("LIDAR"))
        calibrations.add(file_content.field(sample, ("calibration_key",), path))
    if not images or len(calibrations) != 1:
        raise DataError(
            path,
            f"expected samples of {camera} with one calibration, got {len(images)}"
            f" with {len(calibrations)}",
        )
    keys = ("datum", "image")
    size = tuple(
        int(
            file_content.numbers(
                file_content.field(images[0], (*keys, side), path), (), path, side
            )
        )
        for side in ("height", "width")
    )
    order = np.argsort([_seconds(image, path) for image in images], kind="stable")
    images, scans = [images[i] for i in order], [scans[i] for i in order]
    return DdadSource(
        name=path.parent.name,
        files=tuple(_file(image, keys, path) for image in images),
        size=(size[0], size[1]),
        intrinsics=_intrinsics(path, calibrations.pop(), camera),
        pose_file=path,
        time_file=path,
        poses=np.stack([_pose(image, keys, path) for image in images]),
        seconds=np.array([_seconds(image, path) for image in images]),
        scans=tuple(
            None if scan is None else _file(scan, ("datum", "point_cloud"), path)
            for scan in scans
        ),
        world_from_lidar=np.stack(
            [
                np.eye(4)
                if scan is None
                else _pose(scan, ("datum", "point_cloud"), path)
                for scan in scans
            ]
        ),
    )


def _list(record: Any, key: str, path: pathlib.Path) -> Sequence[Any]:
    value = file_content.field(record, (key,), path)
    if not isinstance(value, list):
        raise DataError(path, f"{key}: expected a list, got {value!r:.60}")
    return value


def _file(datum: Any, keys: tuple[str, ...], path: pathlib.Path) -> pathlib.Path:
    return path.parent / str(file_content.field(datum, (*keys, "filename"), path))


def _pose(datum: Any, keys: tuple[str, ...], path: pathlib.Path) -> np.ndarray:
    pose = file_content.field(datum, (*keys, "pose"), path)
    return timed_scans.pose(
        [
            file_content.field(pose, ("rotation", axis), path)
            for axis in ("qw", "qx", "qy", "qz")
        ],
        [
            file_content.field(pose, ("translation", axis), path)
            for axis in ("x", "y", "z")
        ],
        path=path,
        name=f"pose of {file_content.field(datum, ('key',), path)}",
    )


def _seconds(datum: Any, path: pathlib.Path) -> float:
    text = file_content.field(datum, ("id", "timestamp"), path)
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            path, f"expected a timestamp like 2019-01-31T12:00:00.5Z, got {text!r:.60}"
        ) from error


def _intrinsics(scene: pathlib.Path, key: Any, camera: str) -> np.ndarray:
    path = scene.parent / "calibration" / f"{key}.json"
    record = file_content.read_json(path)
    names = _list(record, "names", path)
    if camera not in names:
        raise DataError(path, f"expected the camera {camera}, got {names}")
    entry = file_content.field(record, ("intrinsics", names.index(camera)), path)
    fx, fy, cx, cy, skew = (
        float(
            file_content.numbers(
                file_content.field(entry, (name,), path), (), path, name
            )
        )
        for name in ("fx", "fy", "cx", "cy", "skew")
    )
    if skew:
        raise DataError(path, f"expected a camera without skew, got {skew}")
    return np.asarray(intrinsics_lib.matrix(fx, fy, cx, cy), np.float64)
