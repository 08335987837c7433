"""Tests of the Waymo v1 reader on a record made here, and on a genuine one."""

import cv2
import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files import errors
from mdm_jax.geometry import rigid
from mdm_jax.sources import waymo_sensors

SENSOR_FROM_CAMERA = np.array(
    [[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]
)


def _euler(roll, pitch, yaw):
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", [roll, pitch, yaw]).as_matrix()


def slow_points(tiny, frame, *, side_lasers=True):
    """The point list of the tiny segment, cell by cell, from the format's definition."""
    laser_pose = tiny.WAYMO["vehicle_from_laser"]
    yaw = np.arctan2(laser_pose[1, 0], laser_pose[0, 0])
    poses, projections = tiny.waymo_cells(frame)
    world_from_camera = (
        tiny.WAYMO["world_from_vehicle_at_image"][frame]
        @ tiny.WAYMO["vehicle_from_camera"]
        @ SENSOR_FROM_CAMERA
    )
    height, width = tiny.WAYMO["ranges"].shape
    even = [-0.4 + 0.8 * (row + 0.5) / height for row in range(height)]
    found = []
    for top in (True, False) if side_lasers else (True,):
        inclinations = tiny.WAYMO["inclinations"] if top else even
        for row in range(height):
            for column in range(width):
                distance = tiny.WAYMO["ranges"][row, column]
                cell = projections[row, column]
                pixel = cell[1:3] if cell[0] == 1 else cell[4:6]
                if distance <= 0 or 1 not in (cell[0], cell[3]):
                    continue
                azimuth = np.pi * (2 * (width - column - 0.5) / width - 1) - yaw
                inclination = inclinations[height - 1 - row]
                point = distance * np.array(
                    [
                        np.cos(azimuth) * np.cos(inclination),
                        np.sin(azimuth) * np.cos(inclination),
                        np.sin(inclination),
                    ]
                )
                point = laser_pose[:3, :3] @ point + laser_pose[:3, 3]
                if top:
                    pose = poses[row, column]
                    point = _euler(*pose[:3]) @ point + pose[3:]
                else:
                    pose = tiny.WAYMO["world_from_vehicle"][frame]
                    point = pose[:3, :3] @ point + pose[:3, 3]
                depth = (np.linalg.inv(world_from_camera) @ [*point, 1])[2]
                found.append((*pixel, depth))
    return [row for row in found if row[2] > 0.1]


def undistorted(tiny, points):
    """Moves the pixels of a point list by the lens, and drops what leaves the image."""
    fx, fy, cx, cy, k1, k2, p1, p2, k3 = tiny.WAYMO["camera"]
    points = np.array(points, np.float64)
    for row in points:
        xd, yd = (row[0] - cx) / fx, (row[1] - cy) / fy
        x, y = xd, yd
        for _ in range(50):  # fixed point of: distort(x, y) = (xd, yd)
            r2 = x * x + y * y
            radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
            dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
            dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
            x, y = (xd - dx) / radial, (yd - dy) / radial
        row[:2] = fx * x + cx, fy * y + cy
    kept = (points[:, 0] < tiny.WIDTH - 0.5) & (points[:, 1] < tiny.HEIGHT - 0.5)
    return points[kept & (points[:, :2] > -0.5).all(axis=1)]


@pytest.mark.parametrize("frame", [0, 1])
def test_points_follow_the_definition_of_range_images(tiny, tmp_path, frame):
    (drive,) = sources.open_sources("waymo_v1", tiny.waymo_v1(tmp_path))
    expected = undistorted(tiny, slow_points(tiny, frame))
    found = drive.points(frame)
    assert 2 <= len(expected) < 6

    def ordered(rows):
        return rows[np.lexsort(rows.T)]

    # Cell poses are float32 in the files: at 42 km they are exact to 4 mm.
    np.testing.assert_allclose(ordered(found), ordered(expected), atol=2e-2)


def test_poses_are_the_cameras_when_the_image_was_taken(tiny, tmp_path):
    (drive,) = sources.open_sources("waymo_v1", tiny.waymo_v1(tmp_path))
    for frame, pose in enumerate(drive.world_from_camera()):
        expected = (
            tiny.WAYMO["world_from_vehicle_at_image"][frame]
            @ tiny.WAYMO["vehicle_from_camera"]
            @ SENSOR_FROM_CAMERA
        )
        np.testing.assert_allclose(pose, expected, atol=1e-9)
    np.testing.assert_allclose(np.diff(drive.timestamps()), [0.1], atol=1e-6)
    assert drive.name == "segment"


def test_movable_instances_are_numbered_in_order():
    panoptic = np.array([[0, 2003, 2001], [20000, 9000, 9001], [2003, 14001, 1001]])
    # Class 20 does not move, 9000 has no instance, 14 is a cone, 1 the own car.
    expected = [[0, 2, 1], [0, 0, 3], [2, 0, 0]]
    np.testing.assert_array_equal(waymo_sensors.instances(panoptic, 1000), expected)


def test_labels_are_those_of_the_front_camera(tiny, tmp_path):
    (drive,) = sources.open_sources("waymo_v1", tiny.waymo_v1(tmp_path))
    labels = drive.labels(0)
    assert set(np.unique(labels)) == {0, 1, 2}
    assert (labels[6, 4], labels[6, 23], labels[15, 15]) == (1, 2, 0)


def test_split_folders_are_looked_into(tiny, tmp_path):
    tiny.waymo_v1(tmp_path / "raw" / "training")
    assert len(sources.open_sources("waymo_v1", tmp_path / "raw")) == 1
    assert (
        len(sources.open_sources("waymo_v1", tmp_path / "raw", split="training")) == 1
    )
    with pytest.raises(sources.DataError, match="testing"):
        sources.open_sources("waymo_v1", tmp_path / "raw", split="testing")


def test_a_file_that_breaks_off_keeps_the_frames_before(tiny, tmp_path):
    root = tiny.waymo_v1(tmp_path)
    path = root / "segment.tfrecord"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(sources.DataError, match=r"segment.tfrecord: record 1 at byte"):
        sources.open_sources("waymo_v1", root)
    problems = errors.Problems("skip")
    (drive,) = sources.open_sources("waymo_v1", root, problems=problems)
    assert len(drive) == 1
    assert len(problems.errors) == 1
    assert drive.image(0).shape == (tiny.HEIGHT, tiny.WIDTH, 3)


def test_another_protocol_buffer_is_named(tiny, tmp_path):
    tiny.write(tmp_path / "a.tfrecord", tiny.tfrecord([tiny.message((1, 5))]))
    with pytest.raises(sources.DataError, match=r"a.tfrecord: expected Waymo frames"):
        sources.open_sources("waymo_v1", tmp_path)


def _genuine(sample_data):
    (drive,) = sources.open_sources("waymo_v1", sample_data / "waymo_frame_tfrecord")
    segment = "segment-1024360143612057520_3580_000_3600_000"
    return drive, sample_data / "waymo_snippet" / "val" / segment / "FRONT"


def test_the_genuine_frame_reads_as_published(sample_data):
    drive, snippet = _genuine(sample_data)
    assert drive.name == "1024360143612057520_3580_000_3600_000"
    assert (len(drive), drive.size) == (1, (1280, 1920))
    fx, fy, cx, cy = drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_allclose(
        [fx, fy, cx, cy], [2044.508, 2044.508, 949.575, 633.242], atol=1e-3
    )
    np.testing.assert_allclose(drive.timestamps(), [1553735853.462203], atol=1e-6)
    assert drive.points(0) is None  # Its range images are empty.
    # The undistorted image is that of the other release, but for JPEG.
    image = cv2.imread(str(snippet / "rgb" / "original" / "000001.jpg"))[..., ::-1]
    assert np.abs(drive.image(0).astype(int) - image).mean() < 1.1
    vehicle = np.loadtxt(snippet / "odometry.txt")[1].reshape(4, 4)
    expected = vehicle @ drive.calibration.vehicle_from_camera
    np.testing.assert_allclose(drive.world_from_camera()[0], expected, atol=1e-9)


def test_genuine_panoptic_labels_agree_with_the_other_release(sample_data):
    drive, snippet = _genuine(sample_data)
    with np.load(snippet / "mask" / "000001.npz") as archive:
        semantic, instance = archive["semantic"][..., 0], archive["instance"][..., 0]
    # There the labels lie on the raw image's grid or the undistorted one: both fit.
    movable = np.isin(semantic, waymo_sensors.MOVABLE) & (instance > 0)
    assert ((drive.labels(0) > 0) == movable).mean() > 0.98
    assert drive.labels(0).max() == len(np.unique(drive.labels(0))) - 1


def test_vehicle_axes_are_ahead_left_up():
    camera = waymo_sensors.camera(
        [100, 100, 50, 40, 0, 0, 0, 0, 0], np.eye(4).ravel(), 100, 80, path="f"
    )
    ahead_right_down = np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(
        rigid.apply(camera.vehicle_from_camera, ahead_right_down),
        [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    )
