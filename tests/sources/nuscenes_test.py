"""Tests of the nuScenes reader."""

import dataclasses
import json
import os

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax import sources


def _change(root, table, change):
    path = root / "v1.0-mini" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def test_poses_chain_the_camera_with_the_ego(tiny, tmp_path):
    (drive,) = sources.open_sources("nuscenes", tiny.nuscenes(tmp_path))
    ego = Rotation.from_euler("z", 0.3).as_matrix()
    poses = drive.world_from_camera()
    for i in range(2):
        place = ego @ [1.7, 0.1, 1.5] + [600 + i, 1600, 0]
        np.testing.assert_allclose(poses[i, :3, 3], place, atol=1e-9)
        # The camera looks along the ego's x, and down is down.
        np.testing.assert_allclose(poses[i, :3, 2], ego @ [1, 0, 0], atol=1e-9)
        np.testing.assert_allclose(poses[i, :3, 1], [0, 0, -1], atol=1e-9)


def test_points_go_through_the_world_because_times_differ(tiny, tmp_path):
    (drive,) = sources.open_sources("nuscenes", tiny.nuscenes(tmp_path))
    ego = Rotation.from_euler("z", 0.3).as_matrix()
    lidar = Rotation.from_euler("z", -1.5).as_matrix()
    expected = []
    for x, y, z, _ in tiny.SCAN:
        in_ego = lidar @ [-y, x, z] + [0.9, 0, 1.8]
        in_world = ego @ in_ego + [601.02, 1600, 0]
        ahead, left, up = ego.T @ (in_world - [601, 1600, 0]) - [1.7, 0.1, 1.5]
        if ahead > 0.1:
            pixel = (17 - 30 * left / ahead, 9.5 - 31 * up / ahead)
            expected.append((*pixel, ahead))
    expected = np.array(expected)
    kept = (np.abs(expected[:, :2] - [17.5, 9.5]) < [18, 10]).all(axis=1)
    assert kept.sum() >= 2
    np.testing.assert_allclose(drive.points(1), expected[kept], atol=1e-3)


def test_frames_come_in_order_of_time(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)
    _change(root, "sample_data", lambda rows: rows.reverse())
    (drive,) = sources.open_sources("nuscenes", root)
    assert [path.name for path in drive.files] == ["CAM_FRONT0.jpg", "CAM_FRONT1.jpg"]
    np.testing.assert_allclose(np.diff(drive.timestamps()), [0.5], atol=1e-6)


def test_sweeps_are_left_out_on_request(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)

    def make_sweep(rows):
        for row in rows:
            row["is_key_frame"] = row["token"] != "CAM_FRONT1"

    _change(root, "sample_data", make_sweep)
    assert len(sources.open_sources("nuscenes", root)[0]) == 2
    (drive,) = sources.open_sources("nuscenes", root, keyframes_only=True)
    assert [path.name for path in drive.files] == ["CAM_FRONT0.jpg"]


def test_a_scan_too_long_after_an_image_is_not_its_depth(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)

    def delay(rows):
        for row in rows:
            row["timestamp"] += 60000 * (row["token"] == "LIDAR_TOP1")

    _change(root, "sample_data", delay)
    (drive,) = sources.open_sources("nuscenes", root)
    assert len(drive.points(0)) > 0
    assert len(drive.points(1)) == 0


def test_several_versions_need_a_name(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)
    (root / "v1.0-trainval").mkdir()
    with pytest.raises(
        sources.DataError, match="got v1.0-mini, v1.0-trainval; give its name"
    ):
        sources.open_sources("nuscenes", root)
    assert sources.open_sources("nuscenes", root, version="v1.0-mini")


def test_a_reference_to_nothing_names_table_and_token(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)
    _change(root, "ego_pose", lambda rows: rows.pop(0))
    with pytest.raises(
        sources.DataError, match=r"ego_pose.json: has no row 'CAM_FRONT0"
    ):
        sources.open_sources("nuscenes", root)


def test_a_calibration_that_changes_within_a_scene_is_refused(tiny, tmp_path):
    root = tiny.nuscenes(tmp_path)
    _change(
        root,
        "calibrated_sensor",
        lambda rows: rows.append({**rows[0], "token": "cc2"}),
    )
    _change(
        root,
        "sample_data",
        lambda rows: rows[2].update(calibrated_sensor_token="cc2"),
    )
    with pytest.raises(
        sources.DataError, match="calibration of the camera of .* changes"
    ):
        sources.open_sources("nuscenes", root)


def _pose_fields(matrix):
    matrix = np.asarray(matrix)
    rotation = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    return {
        "rotation": np.roll(rotation, 1).tolist(),
        "translation": matrix[:3, 3].tolist(),
    }


def test_the_genuine_keyframe_projects_as_published(sample_data, tmp_path):
    folder = sample_data / "nuscenes_sample"
    info = json.loads((folder / "info.json").read_text())["data_list"][0]
    front = info["images"]["CAM_FRONT"]
    lidar_from_ego = np.linalg.inv(info["lidar_points"]["lidar2ego"])
    # What the tables say about the camera's ego pose is hidden in `lidar2cam`.
    world_from_ego = (
        np.asarray(info["ego2global"])
        @ np.linalg.inv(lidar_from_ego)
        @ np.linalg.inv(front["lidar2cam"])
        @ np.linalg.inv(front["cam2ego"])
    )
    tables = {
        "scene": [{"token": "s", "name": "scene-0061"}],
        "sample": [{"token": info["token"], "scene_token": "s"}],
        "sensor": [
            {"token": "c", "channel": "CAM_FRONT"},
            {"token": "l", "channel": "LIDAR_TOP"},
        ],
        "calibrated_sensor": [
            {
                "token": "c",
                "sensor_token": "c",
                "camera_intrinsic": front["cam2img"],
                **_pose_fields(front["cam2ego"]),
            },
            {
                "token": "l",
                "sensor_token": "l",
                "camera_intrinsic": [],
                **_pose_fields(np.linalg.inv(lidar_from_ego)),
            },
        ],
        "ego_pose": [
            {"token": "c", **_pose_fields(world_from_ego)},
            {"token": "l", **_pose_fields(info["ego2global"])},
        ],
        "sample_data": [
            {
                "token": kind,
                "sample_token": info["token"],
                "ego_pose_token": kind,
                "calibrated_sensor_token": kind,
                "timestamp": round(seconds * 1e6),
                "is_key_frame": True,
                "height": 900,
                "width": 1600,
                "filename": f"samples/{channel}/{name}",
            }
            for kind, channel, seconds, name in (
                ("c", "CAM_FRONT", front["timestamp"], front["img_path"]),
                (
                    "l",
                    "LIDAR_TOP",
                    info["timestamp"],
                    info["lidar_points"]["lidar_path"],
                ),
            )
        ],
    }
    root = tmp_path / "raw"
    (root / "v1.0-mini").mkdir(parents=True)
    os.symlink(folder / "samples", root / "samples")
    for name, rows in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    (drive,) = sources.open_sources("nuscenes", root)
    assert drive.image(0).shape == (900, 1600, 3)
    # The published count takes pixels from 0 to the width, not from -0.5.
    wider = dataclasses.replace(drive, size=(901, 1601))
    x, y, z = wider.points(0).T
    counted = (x >= 0) & (x < 1600) & (y >= 0) & (y < 900)
    assert counted.sum() == 3067
    assert f"{z[counted].min():.2f} {z[counted].max():.2f}" == "4.53 98.12"
