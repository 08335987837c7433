"""Tests of the KITTI raw reader: devkit projection, OXTS poses, genuine samples."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.geometry import points as points_lib
from mdm_jax.sources import kitti_raw


def _slow_projection(tiny, camera_shift):
    """Pixels and depths of the tiny scan, point by point, entry by entry."""
    fx, cx, cy = (tiny.CALIBRATION[key] for key in ("fx", "cx", "cy"))
    found = []
    for x, y, z, _ in tiny.SCAN:
        if x < 0:
            continue
        right, down, ahead = np.array([-y, -z, x]) + tiny.CALIBRATION["velo_shift"]
        depth = ahead + 0.003
        u = (fx * right + cx * ahead + camera_shift) / depth
        v = (fx * down + cy * ahead + 0.2) / depth
        found.append((u, v, depth))
    return np.array(found)


@pytest.mark.parametrize(("camera", "shift"), [(2, 1.5), (3, -14.1)])
def test_points_project_with_the_whole_chain_of_matrices(tiny, tmp_path, camera, shift):
    root = tiny.kitti_raw(tmp_path)
    (drive,) = sources.open_sources("kitti_raw", root, cameras=(camera,))
    expected = _slow_projection(tiny, shift)
    kept = (expected[:, 0] > -0.5) & (expected[:, 0] < tiny.WIDTH - 0.5)
    assert 0 < kept.sum() < len(expected)
    np.testing.assert_allclose(drive.points(0), expected[kept], atol=2e-5)


def test_the_devkit_map_counts_from_one_and_keeps_the_nearest(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path)
    (drive,) = sources.open_sources("kitti_raw", root, cameras=(2,))
    expected = np.zeros((tiny.HEIGHT, tiny.WIDTH))
    for u, v, depth in _slow_projection(tiny, 1.5):
        row, column = round(v) - 1, round(u) - 1
        if 0 <= row < tiny.HEIGHT and 0 <= column < tiny.WIDTH:
            before = expected[row, column]
            expected[row, column] = min(depth, before or depth)
    assert (expected > 0).sum() == 2  # Two of the three points in view share a pixel.
    np.testing.assert_allclose(drive.devkit_depth(1), expected, atol=1e-5)


def test_oxts_poses_are_the_mercator_projection():
    packets = np.zeros((3, 30))
    packets[:, 0] = [49.0, 49.00002, 49.00001]
    packets[:, 1] = [8.0, 8.00001, 8.00003]
    packets[:, 2] = [110.0, 110.5, 111.0]
    packets[:, 5] = [0.0, np.pi / 2, 0.0]
    poses = kitti_raw.oxts_poses(packets)
    np.testing.assert_array_equal(poses[0], np.eye(4))
    # On a small scale it is a plane: east and north by arc lengths.
    north = 6378137 * np.deg2rad(0.00002)
    east = 6378137 * np.deg2rad(0.00001) * np.cos(np.deg2rad(49))
    np.testing.assert_allclose(poses[1, :3, 3], [east, north, 0.5], rtol=1e-5)
    # Yaw turns from east to north.
    np.testing.assert_allclose(poses[1, :3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_roll_pitch_and_yaw_are_about_the_axes_in_this_order():
    from scipy.spatial.transform import Rotation

    angles = [0.1, -0.2, 0.3]
    packets = np.zeros((1, 30))
    packets[0, 3:6] = angles
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(kitti_raw.oxts_poses(packets)[0, :3, :3], expected)


def test_the_car_drives_ahead_in_its_cameras(tiny, tmp_path):
    # The packets say: heading 0.7 rad from east, moving north, cameras looking ahead.
    left, right = sources.open_sources("kitti_raw", tiny.kitti_raw(tmp_path))
    poses = left.world_from_camera()
    step = poses[1, :3, 3] - poses[0, :3, 3]
    np.testing.assert_allclose(step, [0, 6378137 * np.deg2rad(1e-5), 0], atol=1e-3)
    ahead = poses[0, :3, 2]
    np.testing.assert_allclose(ahead[:2], [np.cos(0.7), np.sin(0.7)], atol=0.03)
    # The right camera stands to the right of the left one: P_rect says how far.
    shift = np.linalg.inv(left.world_from_camera()[0]) @ right.world_from_camera()[0]
    np.testing.assert_allclose(shift[:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(shift[:3, 3], [(14.1 + 1.5) / 30, 0, 0], atol=1e-6)


def test_timestamps_keep_nanoseconds(tiny, tmp_path):
    drive = sources.open_sources("kitti_raw", tiny.kitti_raw(tmp_path))[0]
    seconds = drive.timestamps()
    np.testing.assert_allclose(np.diff(seconds), 0.01, atol=1e-6)
    assert abs(seconds[0] % 60 - 25.964389445) < 1e-6


def test_a_gap_in_the_frames_starts_another_drive(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path)
    date = root / "2011_09_26"
    data = date / "2011_09_26_drive_0001_sync" / "image_02" / "data"
    (data / "0000000001.png").unlink()
    drives = sources.open_sources("kitti_raw", root, cameras=(2,))
    assert [drive.name[-10:] for drive in drives] == ["0000000000", "0000000002"]
    assert [len(drive) for drive in drives] == [1, 1]
    np.testing.assert_array_equal(drives[1].image(0), tiny.image(22))
    assert len(drives[1].world_from_camera()) == len(drives[1].timestamps()) == 1


def test_a_missing_scan_is_no_depth_for_this_frame_only(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path)
    scans = root / "2011_09_26/2011_09_26_drive_0001_sync/velodyne_points"
    (scans / "data" / "0000000001.bin").unlink()
    drive = sources.open_sources("kitti_raw", root)[0]
    assert [len(drive.points(index)) for index in range(3)] == [3, 0, 3]
    shutil.rmtree(scans)
    assert drive.points(0) is None
    assert drive.devkit_depth(0) is None


def test_resized_images_are_refused(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path)
    data = root / "2011_09_26/2011_09_26_drive_0001_sync/image_02/data"
    for path in data.iterdir():
        path.write_bytes(tiny.encoded(tiny.image(0, tiny.HEIGHT // 2, tiny.WIDTH // 2)))
    with pytest.raises(sources.DataError, match="which are resized"):
        sources.open_sources("kitti_raw", root)


def test_the_genuine_sample_reads_as_published(sample_data):
    folder = sample_data / "kitti_raw_snippet"
    left, right = sources.open_sources("kitti_raw", folder)
    assert (len(left), len(right)) == (3, 1)
    assert left.size == right.size == (375, 1242)
    fx, fy, cx, cy = left.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_allclose(
        [fx, fy, cx, cy], [721.5377, 721.5377, 609.5593, 172.854], rtol=1e-7
    )
    baseline = left.camera_from_velo[:3, 3] - right.camera_from_velo[:3, 3]
    # The published figure leaves out that the cameras stand 16 micrometres apart in z.
    assert abs(baseline[0] - 0.53273) < 2e-5
    assert left.image(2).shape == (375, 1242, 3)
    # Only the first OXTS packet is there, so only the right camera has its pose.
    assert left.world_from_camera() is None
    assert right.world_from_camera().shape == (1, 4, 4)
    assert left.timestamps() is None


def test_genuine_depth_equals_the_devkit_projection(sample_data):
    folder = sample_data / "kitti_raw_snippet"
    drive = sources.open_sources("kitti_raw", folder, cameras=(2,))[0]
    counts, lowest, highest = [], [], []
    for index in range(3):
        name = f"lidar_sparse/image_02/{index:010d}.npy"
        rows, columns, forward = np.load(drive.folder / name).T
        depth = drive.devkit_depth(index)
        listed = depth[rows.astype(int), columns.astype(int)]
        counts.append(int((depth > 0).sum()))
        assert counts[-1] == len(rows)
        assert (listed > 0).all()
        # The list holds velodyne x; the camera stands 0.28 m further ahead.
        assert abs((forward - listed).mean() - 0.282) < 1e-3
        lowest.append(listed.min())
        highest.append(listed.max())
    assert counts == [19364, 19337, 19282]
    assert f"{min(lowest):.2f}" == "5.12"
    assert f"{max(highest):.2f}" == "78.40"
    # The Garg crop of the first frame, as in the published evaluation.
    valid = drive.devkit_depth(0)[153:371, 44:1197]
    assert ((valid > 1e-3) & (valid < 80)).sum() == 17590


def test_the_genuine_packet_heads_where_it_moves(sample_data):
    folder = sample_data / "kitti_raw_snippet"
    path = next(folder.glob("*/*/oxts/data/*.txt"))
    packet = np.loadtxt(path)[None]
    pose = kitti_raw.oxts_poses(packet)[0]
    north, east, ahead = packet[0, [6, 7, 8]]
    assert f"{ahead:.2f}" == "13.17"
    heading = pose[:2, 0] / np.linalg.norm(pose[:2, 0])
    moving = np.array([east, north]) / np.hypot(east, north)
    assert heading @ moving > 0.9999


def test_a_genuine_full_scan_projects_as_published(sample_data, tmp_path):
    # A frame of the object benchmark, laid out as raw data.
    training = sample_data / "kitti_object" / "training"
    entries = dict(
        line.split(":")
        for line in (training / "calib" / "000001.txt").read_text().splitlines()
        if line
    )
    date = tmp_path / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    for folder in ("image_02/data", "velodyne_points/data"):
        (drive / folder).mkdir(parents=True)
    os.symlink(
        training / "image_2" / "000001.png", drive / "image_02/data/0000000000.png"
    )
    scan = drive / "velodyne_points/data/0000000000.bin"
    os.symlink(training / "velodyne" / "000001.bin", scan)
    (date / "calib_cam_to_cam.txt").write_text(
        f"S_rect_02: 1242 375\nP_rect_02:{entries['P2']}\nR_rect_00:{entries['R0_rect']}"
    )
    velo = np.array(entries["Tr_velo_to_cam"].split()).reshape(3, 4)
    (date / "calib_velo_to_cam.txt").write_text(
        f"R: {' '.join(velo[:, :3].ravel())}\nT: {' '.join(velo[:, 3])}"
    )
    (made,) = sources.open_sources("kitti_raw", tmp_path)
    # The published count takes pixels from 0 to the width, not from -0.5.
    wider = dataclasses.replace(made, size=(376, 1243))
    x, y, z = wider.points(0).T
    counted = (x >= 0) & (x < 1242) & (y >= 0) & (y < 375)
    assert counted.sum() == 18630
    assert f"{z[counted].min():.2f} {z[counted].max():.2f}" == "4.77 76.73"
    # Several points share a pixel: the map holds the nearest of them.
    x, y, z = points_lib.inside(made.points(0), made.size).T
    depth = made.devkit_depth(0)
    assert 18000 < (depth > 0).sum() < 18654
    assert (depth[depth > 0].min(), made.size) == (z.min(), (375, 1242))
