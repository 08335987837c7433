"""nuScenes, read from its tables: front camera, top LiDAR, and poses.

    ROOT/v1.0-trainval/{scene,sample,sample_data,calibrated_sensor,sensor,ego_pose}.json
    ROOT/samples/CAM_FRONT/...jpg      keyframes, 2 Hz
    ROOT/sweeps/CAM_FRONT/...jpg       frames in between, about 12 Hz in total
    ROOT/samples/LIDAR_TOP/...pcd.bin  and sweeps/LIDAR_TOP, 20 Hz

Frames: `ego` is the car, x forward, y left, z up; cameras have camera axes. An
    `ego_pose`
is world_from_ego at the time of one measurement, so that camera and LiDAR are related
through the world. Time steps are irregular.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.sources import timed_scans
from mdm_jax.sources.source import Source
from mdm_jax.sources.timed_scans import TimedScans

# LiDAR rotates at 20 Hz, so the nearest sweep is at most half a turn from an image.
_MAX_DELAY = 0.05  # seconds
_TABLES = (
    "scene",
    "sample",
    "sample_data",
    "calibrated_sensor",
    "sensor",
    "ego_pose",
)
_SCAN_COLUMNS = 5  # x, y, z, intensity, ring


class NuscenesSource(TimedScans):
    """The images of one camera in one scene."""

    def read_scan(self, path: pathlib.Path) -> np.ndarray:
        rows = file_content.read_floats(path, _SCAN_COLUMNS)
        return rows[:, :3].astype(np.float64)


def open_sources(
    root: pathlib.Path,
    *,
    problems: Problems,
    version: str = "",
    camera: str = "CAM_FRONT",
    keyframes_only: bool = False,
) -> list[Source]:
    """Returns the scenes below a folder, by name.

    Reading the tables of the complete data set needs several gigabytes of memory.

    Args:
        root: contains the folder of tables, `samples` and `sweeps`.
        problems: how to handle broken files.
        version: name of the folder of tables; empty if there is only one `v1.0-...`.
        camera: channel of the images.
        keyframes_only: whether to use only the annotated images (2 Hz).

    Raises:
        DataError: there are no tables or several versions, or a table is damaged or
            refers to missing rows.
    """
    tables = _Tables(_tables_folder(root, version))
    images: dict[str, list[Any]] = {}
    scans: dict[str, list[Any]] = {}
    for record in tables.rows("sample_data"):
        channel = tables.channel(record)
        if channel not in (camera, "LIDAR_TOP"):
            continue
        if channel == camera and keyframes_only and not record.get("is_key_frame"):
            continue
        sample = tables.row("sample", tables.get(record, "sample_token"))
        scene = tables.get(sample, "scene_token")
        chosen = images if channel == camera else scans
        chosen.setdefault(scene, []).append(record)
    found: list[Source] = []
    for scene in sorted(tables.rows("scene"), key=lambda row: str(row.get("name"))):
        token = scene.get("token")
        if token in images:
            with problems.caught():
                found.append(
                    _open_scene(
                        root,
                        tables,
                        str(tables.get(scene, "name")),
                        tables.by_time(images[token]),
                        tables.by_time(scans.get(token, [])),
                    )
                )
    return found


class _Tables:
    """Rows of tables by the name of the table and their token."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._rows: dict[str, list[Mapping[str, Any]]] = {}
        self._by_token: dict[str, dict[str, Mapping[str, Any]]] = {}
        for name in _TABLES:
            rows = file_content.read_json(self._path(name))
            if not isinstance(rows, list) or not all(
                isinstance(row, dict) and isinstance(row.get("token"), str)
                for row in rows
            ):
                raise DataError(self._path(name), "expected a list of rows with tokens")
            self._rows[name] = rows
            self._by_token[name] = {row["token"]: row for row in rows}

    def _path(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.json"

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        return self._rows[name]

    def row(self, name: str, token: Any) -> Mapping[str, Any]:
        try:
            return self._by_token[name][token]
        except (KeyError, TypeError) as error:
            raise DataError(self._path(name), f"has no row {token!r:.60}") from error

    def get(self, row: Mapping[str, Any], key: str) -> Any:
        if key not in row:
            raise DataError(
                self.folder, f"row {row['token']} of a table has no field {key!r}"
            )
        return row[key]

    def channel(self, record: Mapping[str, Any]) -> str:
        sensor = self.row(
            "calibrated_sensor", self.get(record, "calibrated_sensor_token")
        )
        return self.get(self.row("sensor", self.get(sensor, "sensor_token")), "channel")

    def seconds(self, record: Mapping[str, Any]) -> float:
        micros = file_content.numbers(
            self.get(record, "timestamp"), (), self._path("sample_data"), "timestamp"
        )
        return float(micros) * 1e-6

    def by_time(self, records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return sorted(records, key=self.seconds)

    def world_from_sensor(self, record: Mapping[str, Any]) -> np.ndarray:
        """Returns `[4 4]` at the time of a measurement."""
        chain = np.eye(4)
        for name in ("ego_pose", "calibrated_sensor"):
            row = self.row(name, self.get(record, f"{name}_token"))
            chain = chain @ timed_scans.pose(
                self.get(row, "rotation"),
                self.get(row, "translation"),
                path=self._path(name),
                name=row["token"],
            )
        return chain


def _tables_folder(root: pathlib.Path, version: str) -> pathlib.Path:
    if version:
        return root / version
    found = [
        path for path in file_content.children(root) if path.name.startswith("v1.0-")
    ]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(
            root,
            f"expected one folder of tables v1.0-..., got {names}; give its name as version",
        )
    return found[0]


def _open_scene(
    root: pathlib.Path,
    tables: _Tables,
    name: str,
    images: Sequence[Mapping[str, Any]],
    scans: Sequence[Mapping[str, Any]],
) -> Source:
    paths = tuple(root / str(tables.get(record, "filename")) for record in images)
    sensor_token = tables.get(images[0], "calibrated_sensor_token")
    sensor = tables.row("calibrated_sensor", sensor_token)
    for record in images:
        if tables.get(record, "calibrated_sensor_token") != sensor_token:
            raise DataError(
                tables.folder, f"the calibration of the camera of {name} changes"
            )
    times = np.array([tables.seconds(record) for record in images])
    nearest: list[Mapping[str, Any] | None] = [None] * len(images)
    if scans:
        scan_times = np.array([tables.seconds(record) for record in scans])
        delays = np.abs(times[:, None] - scan_times[None, :])
        nearest = [
            scans[row.argmin()] if row.min() <= _MAX_DELAY else None for row in delays
        ]
    return NuscenesSource(
        name=name,
        files=paths,
        size=(
            int(
                file_content.numbers(
                    images[0].get("height"), (), tables.folder, "height"
                )
            ),
            int(
                file_content.numbers(images[0].get("width"), (), tables.folder, "width")
            ),
        ),
        intrinsics=file_content.numbers(
            tables.get(sensor, "camera_intrinsic"),
            (3, 3),
            tables.folder / "calibrated_sensor.json",
            "camera_intrinsic",
        ),
        pose_file=tables.folder / "ego_pose.json",
        time_file=tables.folder / "sample_data.json",
        poses=np.stack([tables.world_from_sensor(record) for record in images]),
        seconds=times,
        scans=tuple(
            None if record is None else root / str(tables.get(record, "filename"))
            for record in nearest
        ),
        world_from_lidar=np.stack(
            [
                np.eye(4) if record is None else tables.world_from_sensor(record)
                for record in nearest
            ]
        ),
    )
