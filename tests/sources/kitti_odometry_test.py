"""Tests of the KITTI odometry reader."""

import numpy as np
import pytest

from mdm_jax import sources


def test_poses_are_those_of_the_chosen_camera(tiny, tmp_path):
    (drive,) = sources.open_sources("kitti_odometry", tiny.kitti_odometry(tmp_path))
    poses = drive.world_from_camera()
    np.testing.assert_allclose(poses[:, :3, :3], np.tile(np.eye(3), (3, 1, 1)))
    # P2 = K [I | t] with K t = (1.5, 0, 0): camera 2 stands 0.05 m left of camera 0.
    expected = [[-0.05, 0, 0], [-0.05, 0, 1.2], [-0.05, 0, 2.4]]
    np.testing.assert_allclose(poses[:, :3, 3], expected, atol=1e-9)
    np.testing.assert_allclose(drive.timestamps(), [0, 0.1, 0.2])


def test_points_fall_where_the_raw_reader_puts_them(tiny, tmp_path):
    (drive,) = sources.open_sources("kitti_odometry", tiny.kitti_odometry(tmp_path))
    points = drive.points(2)
    fx, cx = tiny.CALIBRATION["fx"], tiny.CALIBRATION["cx"]
    right, _, ahead = np.array([-1.0, 1.0, 10.0]) + tiny.CALIBRATION["velo_shift"]
    np.testing.assert_allclose(points[0, 2], ahead, atol=1e-5)
    np.testing.assert_allclose(
        points[0, 0], fx * (right + 0.05) / ahead + cx, atol=1e-4
    )


def test_a_grey_camera_is_taken_where_there_is_no_colour(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    folder = root / "sequences" / "07"
    (folder / "image_2").rename(folder / "image_0")
    (drive,) = sources.open_sources("kitti_odometry", root)
    np.testing.assert_array_equal(
        drive.world_from_camera()[:, :3, 3].max(0), [0, 0, 2.4]
    )
    with pytest.raises(sources.DataError, match="no drives"):
        sources.open_sources("kitti_odometry", root, camera=3)


def test_a_test_sequence_has_no_poses(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    (root / "poses" / "07.txt").unlink()
    (drive,) = sources.open_sources("kitti_odometry", root)
    assert drive.world_from_camera() is None


def test_poses_go_by_the_number_of_the_frame(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    (root / "sequences" / "07" / "image_2" / "000000.png").unlink()
    (drive,) = sources.open_sources("kitti_odometry", root)
    np.testing.assert_allclose(drive.world_from_camera()[:, 2, 3], [1.2, 2.4])
    np.testing.assert_allclose(drive.timestamps(), [0.1, 0.2])


def test_too_few_poses_are_an_error(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    path = root / "poses" / "07.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    (drive,) = sources.open_sources("kitti_odometry", root)
    with pytest.raises(sources.DataError, match="frame up to 2, got 2 lines"):
        drive.world_from_camera()


def test_the_genuine_sample_reads_as_published(sample_data):
    folder = sample_data / "kitti_odometry"
    problems = sources.Problems("skip")
    (drive,) = sources.open_sources("kitti_odometry", folder, problems=problems)
    assert not problems.errors
    assert (drive.name, len(drive), drive.size) == ("06", 21, (370, 1226))
    fx, fy, cx, cy = drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_allclose(
        [fx, fy, cx, cy], [707.0912, 707.0912, 601.8873, 183.1104]
    )
    steps = np.diff(drive.world_from_camera()[:, :3, 3], axis=0)
    assert f"{np.linalg.norm(steps, axis=1).mean():.2f}" == "1.19"
    assert f"{drive.timestamps()[1]:.4f}" == "0.1045"
    image = drive.image(20)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])  # grey
    rows = np.loadtxt(folder / "poses" / "06.txt")
    np.testing.assert_array_equal(
        drive.world_from_camera()[:, :3].reshape(-1, 12), rows[:21]
    )
