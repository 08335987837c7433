"""Tests that intrinsics, poses and depth of real data fit together: warping one real
frame onto its neighbour by them must explain most of how the two differ."""

import dataclasses
import json
import os
import pathlib

import cv2
import numpy as np

from mdm_jax import sources
from mdm_jax.recording import opening, true_motion


def _link(target: pathlib.Path, place: pathlib.Path):
    place.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, place)


def _colors(frame, x, y):
    """Colours of a frame at places (x, y) each [n], bilinear, float."""
    maps = (values.astype(np.float32)[None] for values in (x, y))
    return cv2.remap(frame.astype(np.float32), *maps, cv2.INTER_LINEAR)[0]


def _errors(target, source, x, y, x_source, y_source):
    """Mean colour differences (not warped, warped) at pixels seen in both frames."""
    height, width = target.shape[:2]
    inside = (x_source >= 0) & (x_source <= width - 1)
    inside &= (y_source >= 0) & (y_source <= height - 1)
    x, y, x_source, y_source = (v[inside] for v in (x, y, x_source, y_source))
    assert inside.sum() > 100
    colors = _colors(target, x, y)
    still = np.abs(_colors(source, x, y) - colors).mean()
    return still, np.abs(_colors(source, x_source, y_source) - colors).mean()


def _warping_errors(made, target, source):
    """The same for two frames of a recording with depth and poses."""
    flow = true_motion.optical_flow(made, target, source)
    y, x = np.nonzero(np.isfinite(flow[..., 0]))
    moved = np.stack([x, y], axis=1) + flow[y, x]
    return _errors(
        np.asarray(made.frames[target]), np.asarray(made.frames[source]), x, y, *moved.T
    )


def _lay_kitti_raw(sample_data, root):
    """The sample with OXTS for all frames: the known one, moved on by its velocities."""
    date = sample_data / "kitti_raw_snippet" / "2011_09_26"
    drive = "2011_09_26_drive_0001_sync"
    for path in date.glob("calib_*.txt"):
        _link(path, root / date.name / path.name)
    for name in ("image_02", "velodyne_points"):
        _link(date / drive / name, root / date.name / drive / name)
    packet = np.loadtxt(date / drive / "oxts" / "data" / "0000000000.txt")
    north, east, up = packet[[6, 7, 10]]
    for frame in range(3):
        elapsed = 0.1036 * frame  # the scanner's turn, in seconds
        moved = packet.copy()
        moved[0] += np.rad2deg(north * elapsed / 6378137)
        moved[1] += np.rad2deg(
            east * elapsed / (6378137 * np.cos(np.deg2rad(packet[0])))
        )
        moved[2] += up * elapsed
        moved[3:6] += packet[17:20] * elapsed
        path = root / date.name / drive / "oxts" / "data" / f"{frame:010d}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(f"{value:.12g}" for value in moved))
    return root


def test_kitti_raw_frames_follow_from_each_other(sample_data, tmp_path):
    root = _lay_kitti_raw(sample_data, tmp_path / "raw")
    drives = sources.open_sources("kitti_raw", root)
    (made,) = opening.open_recordings(
        drives, size=(192, 640), with_depth=True, cache_dir=tmp_path / "cache"
    )
    for target, source in ((0, 1), (1, 0), (1, 2), (2, 0)):
        still, warped = _warping_errors(made, target, source)
        assert warped < still * 2 / 3


def test_a_wrong_convention_would_be_noticed(sample_data, tmp_path):
    root = _lay_kitti_raw(sample_data, tmp_path / "raw")
    drives = sources.open_sources("kitti_raw", root)
    (made,) = opening.open_recordings(
        drives, size=(192, 640), with_depth=True, cache_dir=tmp_path / "cache"
    )
    poses, depth = made.world_from_camera, made.depth
    imu_axes = np.array([[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    for wrong in (
        {"world_from_camera": np.linalg.inv(poses)},
        {"world_from_camera": poses[::-1]},
        {"world_from_camera": poses @ np.linalg.inv(imu_axes)},
        {"depth": np.where(depth > 0, 80 - depth, 0).astype(np.float32)},
    ):
        still, warped = _warping_errors(dataclasses.replace(made, **wrong), 0, 2)
        assert warped > still * 2 / 3


def test_kitti_raw_left_and_right_images_follow_from_each_other(sample_data):
    left, right = sources.open_sources("kitti_raw", sample_data / "kitti_raw_snippet")
    shift = right.camera_from_velo[0, 3] - left.camera_from_velo[0, 3]
    x, y, z = left.points(0).T
    still, warped = _errors(
        left.image(0), right.image(0), x, y, x + left.intrinsics[0, 0] * shift / z, y
    )
    assert warped < still * 2 / 3


def test_kitti_odometry_frames_follow_from_each_other(sample_data):
    # No depth is published. That of corners is triangulated from frames 0 and 2, with
    # the true poses, and must explain frame 4, which had no part in it.
    (drive,) = sources.open_sources("kitti_odometry", sample_data / "kitti_odometry")
    poses = drive.world_from_camera()
    grey = [drive.image(index)[..., 0] for index in range(5)]
    start = cv2.goodFeaturesToTrack(grey[0], 1500, 0.01, 8)
    there = start
    for one, other in ((0, 1), (1, 2)):
        there, _, _ = cv2.calcOpticalFlowPyrLK(grey[one], grey[other], there, None)
    back = there
    for one, other in ((2, 1), (1, 0)):
        back, _, _ = cv2.calcOpticalFlowPyrLK(grey[one], grey[other], back, None)
    kept = np.linalg.norm(back - start, axis=2)[:, 0] < 0.5  # tracked to and fro
    seen = [pixels[kept, 0].T.astype(np.float64) for pixels in (start, there)]
    cameras = [drive.intrinsics @ np.linalg.inv(poses[i])[:3] for i in (0, 2, 4)]
    points = cv2.triangulatePoints(cameras[0], cameras[1], *seen)
    views = [camera @ (points / points[3:]) for camera in cameras]
    pixels = [view[:2] / view[2:] for view in views]
    fits = np.all([view[2] > 2 for view in views], axis=0)
    for found, place in zip(pixels, seen, strict=False):
        fits &= np.linalg.norm(found - place, axis=0) < 1
    assert fits.sum() > 0.7 * kept.sum()  # Tracks obey the poses' epipolar geometry.
    first, last = (cv2.GaussianBlur(grey[i], (0, 0), 2) for i in (0, 4))
    images = [np.repeat(image[..., None], 3, axis=2) for image in (first, last)]
    still, warped = _errors(*images, *pixels[0][:, fits], *pixels[2][:, fits])
    assert warped < still * 2 / 3


def _lay_nuscenes(sample_data, root):
    """Tables for the first frames of scene-0001, and its depth as a LiDAR scan."""
    front = sample_data / "nuscenes_snippet" / "scenes" / "scene-0001" / "FRONT"
    camera = json.loads((front / "rgb" / "cam.json").read_text())
    steps = json.loads((front / "rgb" / "ts.json").read_text())
    egos = np.loadtxt(front / "odometry.txt").reshape(-1, 4, 4)
    micros = 10**15 + 1000 * np.cumsum([0, *steps])
    tables = {
        "scene": [{"token": "s", "name": "scene-0001"}],
        "sample": [{"token": "k", "scene_token": "s"}],
        "sensor": [
            {"token": "c", "channel": "CAM_FRONT"},
            {"token": "l", "channel": "LIDAR_TOP"},
        ],
        "calibrated_sensor": [
            {
                "token": "c",
                "sensor_token": "c",
                "rotation": camera["rotation"],
                "translation": camera["translation"],
                "camera_intrinsic": camera["camera_intrinsic"],
            },
            # The scan is given in the ego frame.
            {
                "token": "l",
                "sensor_token": "l",
                "rotation": [1, 0, 0, 0],
                "translation": [0, 0, 0],
                "camera_intrinsic": [],
            },
        ],
        "ego_pose": [],
        "sample_data": [],
    }
    for frame in range(3):
        kinds = ("c", "l") if frame == 0 else ("c",)
        tables["ego_pose"].append(
            {
                "token": f"e{frame}",
                "rotation": _quaternion(egos[frame, :3, :3]),
                "translation": egos[frame, :3, 3].tolist(),
            }
        )
        for kind in kinds:
            folder = "samples" if frame == 0 else "sweeps"
            path = (
                f"{folder}/CAM_FRONT/{frame}.jpg" if kind == "c" else "samples/scan.bin"
            )
            tables["sample_data"].append(
                {
                    "token": f"{kind}{frame}",
                    "sample_token": "k",
                    "ego_pose_token": f"e{frame}",
                    "calibrated_sensor_token": kind,
                    "timestamp": int(micros[frame]),
                    "is_key_frame": frame == 0,
                    "height": 900,
                    "width": 1600,
                    "filename": path,
                }
            )
            if kind == "c":
                _link(front / "rgb" / "original" / f"{frame:06d}.jpg", root / path)
    u, v, z = np.load(front / "depth" / "000000.npy").T
    rays = np.linalg.solve(
        camera["camera_intrinsic"], np.stack([u, v, np.ones(len(u))])
    )
    ego_from_camera = _matrix(camera["rotation"], camera["translation"])
    points = (rays * z).T @ ego_from_camera[:3, :3].T + ego_from_camera[:3, 3]
    scan = np.column_stack([points, np.zeros((len(points), 2))]).astype("<f4")
    (root / "samples" / "scan.bin").write_bytes(scan.tobytes())
    (root / "v1.0-mini").mkdir()
    for name, rows in tables.items():
        (root / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))
    return root


def _matrix(quaternion, translation):
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_quat(np.roll(quaternion, -1)).as_matrix()
    pose[:3, 3] = translation
    return pose


def _quaternion(rotation):
    from scipy.spatial.transform import Rotation

    return np.roll(Rotation.from_matrix(rotation).as_quat(), 1).tolist()


def test_nuscenes_frames_follow_from_each_other(sample_data, tmp_path):
    root = _lay_nuscenes(sample_data, tmp_path / "raw")
    drives = sources.open_sources("nuscenes", root)
    steps = np.diff(drives[0].world_from_camera()[:, :3, 3], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), [0.431, 0.430], atol=0.02)
    np.testing.assert_allclose(np.diff(drives[0].timestamps()), [0.1, 0.1], atol=1e-6)
    (made,) = opening.open_recordings(
        drives, size=(450, 800), with_depth=True, cache_dir=tmp_path / "cache"
    )
    for source in (1, 2):
        still, warped = _warping_errors(made, 0, source)
        assert warped < still * 2 / 3


def test_ddad_frames_follow_from_each_other(sample_data, tmp_path):
    drives = sources.open_sources("ddad", sample_data / "ddad_snippet")
    problems = sources.Problems("skip")
    (made,) = opening.open_recordings(
        drives,
        size=(304, 484),
        with_depth=True,
        cache_dir=tmp_path / "cache",
        problems=problems,
    )
    assert len(problems.errors) == 2  # The scans of frames 1 and 2 are not there.
    for source in (1, 2):
        still, warped = _warping_errors(made, 0, source)
        assert warped < still * 2 / 3
