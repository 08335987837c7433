"""Figures that are published with the sample recordings, found again by the readers'
own functions: what the files hold, and how their parts fit together."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files import file_content, image_file
from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid
from mdm_jax.input_pipeline import list_file
from mdm_jax.sources import tfrecord, waymo_sensors, waymo_v1

SEGMENT = "segment-1024360143612057520_3580_000_3600_000"


def _text(values, digits=2):
    return " ".join(f"{value:.{digits}f}" for value in values)


def _path_length(poses):
    return np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()


def test_the_kitti_scans_project_onto_the_published_lists_exactly(sample_data):
    (drive, _) = sources.open_sources("kitti_raw", sample_data / "kitti_raw_snippet")
    ranges, rows_seen = [], []
    for index in range(3):
        scan = file_content.read_floats(drive.truth_files()[index], 4)
        camera = rigid.apply(drive.camera_from_velo, scan[:, :3].astype(np.float64))
        listed = np.load(
            drive.folder / "lidar_sparse" / "image_02" / f"{index:010d}.npy"
        )
        found = points_lib.project(camera, drive.intrinsics, None)
        assert len(found) == len(scan) == len(listed)
        pixels = np.round(found[:, 1::-1]).astype(int) - 1  # row, column, from 1
        made = np.column_stack([pixels, scan[:, 0]])
        order, listed_order = (np.lexsort(rows[:, ::-1].T) for rows in (made, listed))
        np.testing.assert_array_equal(made[order], listed[listed_order].astype("f4"))
        ranges.append(_text([listed[:, 2].min(), listed[:, 2].max()]))
        rows_seen += [listed[:, 0].min(), listed[:, 0].max()]
    assert ranges == ["5.41 78.67", "5.43 78.19", "5.51 76.61"]
    assert (min(rows_seen), max(rows_seen)) == (128, 374)


def test_the_kitti_camera_drives_as_far_as_its_scans_say(sample_data):
    (drive, _) = sources.open_sources("kitti_raw", sample_data / "kitti_raw_snippet")
    grey = [cv2.cvtColor(drive.image(i), cv2.COLOR_RGB2GRAY) for i in range(3)]
    for index in range(2):
        points = drive.points(index)
        # Points that fall on texture can be tracked.
        columns, rows = points[:, :2].round().astype(int).clip([0, 0], [1241, 374]).T
        texture = cv2.cornerMinEigenVal(grey[index], 5)[rows, columns]
        points = points[texture > np.quantile(texture, 0.9)]
        start, depth = np.ascontiguousarray(points[:, None, :2]), points[:, 2]
        moved, _, _ = cv2.calcOpticalFlowPyrLK(
            grey[index], grey[index + 1], start, None
        )
        back, _, _ = cv2.calcOpticalFlowPyrLK(grey[index + 1], grey[index], moved, None)
        kept = np.linalg.norm(back - start, axis=2)[:, 0] < 0.3
        rays = np.linalg.solve(
            drive.intrinsics, np.insert(start[kept, 0].astype(float), 2, 1, axis=1).T
        )
        _, _, translation, inliers = cv2.solvePnPRansac(
            (rays * depth[kept]).T,
            moved[kept, 0].astype(np.float64),
            drive.intrinsics,
            None,
            reprojectionError=1.0,
        )
        assert len(inliers) > 100
        assert abs(np.linalg.norm(translation) - (1.347, 1.349)[index]) < 0.01


def test_a_full_kitti_scan_holds_what_is_published(sample_data):
    path = sample_data / "kitti_object" / "training" / "velodyne" / "000001.bin"
    scan = file_content.read_floats(path, 4)
    assert scan.shape == (120268, 4)
    assert _text([scan[:, 3].min(), scan[:, 3].max()]) == "0.00 0.99"
    assert len(file_content.read_floats(_nuscenes_scan(sample_data), 5)) == 34688


def _nuscenes_scan(sample_data):
    return next((sample_data / "nuscenes_sample/samples/LIDAR_TOP").glob("*.bin"))


@pytest.mark.parametrize(
    ("sequence", "count", "length"),
    [
        ("00", 4541, 3724.187),
        ("04", 271, 393.645),
        ("06", 1101, 1232.876),
        ("09", 1591, 1705.051),
        ("10", 1201, 919.518),
    ],
)
def test_odometry_trajectories_are_as_long_as_published(
    sample_data, sequence, count, length
):
    root = sample_data / "kitti_odometry"
    rows = file_content.read_table(root / "poses" / f"{sequence}.txt", 12)
    assert len(rows) == count
    assert f"{_path_length(rows.reshape(-1, 3, 4)):.3f}" == f"{length:.3f}"
    times = root / "sequences" / sequence / "times.txt"
    if times.exists():
        assert len(file_content.read_table(times, 1)) == count


def test_two_views_of_the_odometry_sample_agree_with_its_poses(sample_data):
    index = 4
    (drive,) = sources.open_sources("kitti_odometry", sample_data / "kitti_odometry")
    poses = drive.world_from_camera()
    sift = cv2.SIFT_create(3000)
    (places, features), (there, others) = (
        sift.detectAndCompute(drive.image(i)[..., 0], None) for i in (index, index + 1)
    )
    matches = [
        best
        for best, second in cv2.BFMatcher().knnMatch(features, others, k=2)
        if best.distance < 0.7 * second.distance
    ]
    pixels = np.array([places[match.queryIdx].pt for match in matches])
    pixels_next = np.array([there[match.trainIdx].pt for match in matches])
    essential, inliers = cv2.findEssentialMat(
        pixels, pixels_next, drive.intrinsics, threshold=0.5, prob=0.9999
    )
    _, rotation, direction, _ = cv2.recoverPose(
        essential, pixels, pixels_next, drive.intrinsics, mask=inliers
    )
    true = np.linalg.inv(poses[index + 1]) @ poses[index]
    cosine = (np.trace(rotation @ true[:3, :3].T) - 1) / 2
    assert np.degrees(np.arccos(min(cosine, 1.0))) < 0.14
    step = true[:3, 3] / np.linalg.norm(true[:3, 3])
    assert direction[:, 0] @ step > 0.9998


def test_waymo_depth_and_labels_lie_on_one_image_as_published(sample_data):
    front = sample_data / "waymo_snippet" / "val" / SEGMENT / "FRONT"
    lists = [
        file_content.read_array(front / f"depth/{name:06d}.npy") for name in (0, 1)
    ]
    assert [len(points) for points in lists] == [20232, 20467]
    assert [_text([z.min(), z.max()]) for _, _, z in (p.T for p in lists)] == [
        "6.58 74.55",
        "6.61 74.77",
    ]
    points, size = lists[1].astype(np.float32), (1280, 1920)
    assert min(p[:, 1].min() for p in lists) > 531
    # Of several returns on one pixel the map keeps one. These lists count pixels from
    # their corners.
    pixels = np.floor(lists[1][:, :2]).astype(np.int64)
    depth = points_lib.scatter(pixels, points[:, 2], size)
    assert (depth > 0).sum() == 20460
    assert (np.unique(pixels, axis=0, return_counts=True)[1] > 1).sum() == 7
    semantic = file_content.read_array(front / "mask/000001.npz", "semantic")[..., 0]
    assert f"{(semantic == 25).mean():.2f}" == "0.19"
    # Nothing is known of what is hidden: near and far meet in one cell of 8 x 8.
    nearest, farthest = np.full(160 * 240, np.inf), np.zeros(160 * 240)
    cells = pixels[:, 1] // 8 * 240 + pixels[:, 0] // 8
    np.minimum.at(nearest, cells, lists[1][:, 2])
    np.maximum.at(farthest, cells, lists[1][:, 2])
    hit = farthest > 0
    assert (hit.sum(), (farthest[hit] - nearest[hit] > 2).sum()) == (12824, 283)
    motion = image_file.read_labels(front / "mask/000001_motion.png", size=size)
    assert [int((motion == kind).sum()) for kind in (1, 2, 3)] == [66220, 86122, 5767]
    columns, rows = pixels.T
    assert (semantic[rows, columns] == 25).sum() == 17
    assert (motion[rows, columns] == 1).sum() == 925


def test_the_waymo_car_stands_and_drives_as_published(sample_data):
    front = sample_data / "waymo_snippet" / "val" / SEGMENT / "FRONT"
    poses = file_content.read_table(front / "odometry.txt", 16).reshape(-1, 4, 4)
    assert len(poses) == 199
    assert f"{_path_length(poses):.2f}" == "33.85"
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert np.argmax(steps > 0.02) + 1 == pytest.approx(87, abs=2)
    for name, fx, cx, cy in (
        (SEGMENT, 2044.508, 949.575, 633.242),
        ("segment-11450298750351730790_1431_750_1451_750", 2071.696, 943.125, 650.187),
    ):
        path = sample_data / "waymo_snippet/val" / name / "FRONT/rgb/cam.json"
        record = file_content.read_json(path)
        camera = waymo_sensors.camera(
            record["intrinsic"],
            np.ravel(record["extrinsic"]),
            *record["dim"][::-1],
            path=path,
        )
        np.testing.assert_allclose(
            camera.intrinsics[[0, 0, 1], [0, 2, 2]], [fx, cx, cy], atol=1e-3
        )
        assert camera.size == (1280, 1920)
        # It looks ahead: its z axis is about the vehicle's x axis.
        assert camera.vehicle_from_camera[0, 2] > 0.99


def test_all_cameras_of_the_genuine_waymo_frame_are_there(sample_data):
    path = next((sample_data / "waymo_frame_tfrecord").glob("*.tfrecord"))
    (record,), error = tfrecord.index(path)
    assert error is None
    frame = waymo_v1.Frame(memoryview(tfrecord.read(path, record)), path)
    sizes = []
    for camera in range(1, 6):
        image = image_file.decode(frame.jpeg(camera), path)
        content, divisor = frame.panoptic(camera)
        panoptic = image_file.decode_labels(content, path, size=image.shape[:2])
        assert (panoptic.dtype, divisor) == (np.uint16, 1000)
        sizes.append((image.shape[1], image.shape[0]))
    assert sizes == [(1920, 1280)] * 3 + [(1920, 886)] * 2
    # The two releases of the labels agree as published: both are of the raw image.
    front = sample_data / "waymo_snippet" / "val" / SEGMENT / "FRONT"
    content, _ = frame.panoptic(1)
    panoptic = image_file.decode_labels(content, path)
    for name, ours, agreed in (
        ("semantic", panoptic // 1000, 0.989),
        ("instance", panoptic % 1000, 0.972),
    ):
        theirs = file_content.read_array(front / "mask/000001.npz", name)[..., 0]
        assert (ours == theirs).mean() == pytest.approx(agreed, abs=5e-4), name


@pytest.mark.parametrize(
    ("scene", "intrinsics", "steps"),
    [
        ("scene-0001", (1266.417, 816.267, 491.507), 232),
        ("scene-0099", (1252.813, 826.588, 469.985), 223),
    ],
)
def test_nuscenes_scenes_hold_what_is_published(sample_data, scene, intrinsics, steps):
    front = sample_data / "nuscenes_snippet" / "scenes" / scene / "FRONT"
    camera = file_content.read_json(front / "rgb" / "cam.json")
    matrix = file_content.numbers(camera["camera_intrinsic"], (3, 3), front, "K")
    np.testing.assert_allclose(matrix[[0, 0, 1], [0, 2, 2]], intrinsics, atol=1e-3)
    times = file_content.read_json(front / "rgb" / "ts.json")
    assert len(times) == steps
    assert np.median(np.isin(np.round(times, -1), (50, 100))) == 1
    if scene == "scene-0001":
        poses = file_content.read_table(front / "odometry.txt", 16).reshape(-1, 4, 4)
        assert len(poses) == 233
        assert f"{_path_length(poses):.2f}" == "104.61"
        first = np.linalg.norm(np.diff(poses[:4, :3, 3], axis=0), axis=1)
        assert _text(first, 3) == "0.431 0.430 0.207"
        points = file_content.read_array(front / "depth" / "000000.npy")
        assert (points.shape, points.dtype) == ((3356, 3), np.float64)
        assert _text([points[:, 2].min(), points[:, 2].max()]) == "4.57 73.52"
        labels = file_content.read_array(front / "mask" / "000000.npz", "motion_label")
        counts = np.bincount(labels.ravel(), minlength=4)
        assert counts.tolist() == [3207, 0, 149, 0]


def test_the_ddad_scan_has_its_published_length(sample_data):
    (path,) = (sample_data / "ddad_snippet").glob("*/point_cloud/LIDAR/*.npz")
    scan = file_content.read_array(path, "data")
    assert (scan.shape, scan.dtype) == ((47230, 4), np.float64)


def test_the_strip_of_erfurt_has_two_resizes_in_one_camera(sample_data):
    # Its focal length is a quarter of the full one, its centre 416 / 2048 of it.
    root = sample_data / "struct2depth_example"
    full = json.loads(
        next((sample_data / "cityscapes_sequence/camera").glob("*/*/*")).read_text()
    )["intrinsic"]
    (drive,) = sources.open_sources("struct2depth", root, list_file="train_erfurt.txt")
    assert drive.intrinsics[0, 0] == pytest.approx(0.25 * full["fx"], rel=1e-6)
    assert drive.intrinsics[0, 2] == pytest.approx(full["u0"] * 416 / 2048, rel=1e-6)
    assert drive.intrinsics[1, 2] == pytest.approx(full["v0"] * 128 / 1024, rel=1e-6)


def test_the_benchmark_frames_are_among_the_eigen_frames(sample_data):
    folder = sample_data / "kitti_splits" / "monodepth2"
    ids = list_file.read_indices(
        folder / "benchmark" / "eigen_to_benchmark_ids.npy", count=697
    )
    assert (len(ids), ids.dtype) == (652, np.int64)
