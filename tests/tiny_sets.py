"""Tiny raw data sets in their genuine layouts, written from scratch for each test.

Two or three small frames each, with everything the reader knows how to read. Every
builder takes the folder and returns it. The encoders are written here a second time,
from the formats' definitions, so that they do not share mistakes with the readers.
"""

from __future__ import annotations

import json
import struct
import zlib

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 20, 36


def image(seed=0, height=HEIGHT, width=WIDTH):
    """Smooth coloured RGB frame that JPEG keeps."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 230, (4, 5, 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(
        np.uint8
    )


def encoded(rgb, suffix=".png"):
    ok, content = cv2.imencode(suffix, rgb[..., ::-1] if rgb.ndim == 3 else rgb)
    assert ok
    return content.tobytes()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    return path


def numbers(values):
    return " ".join(f"{value:.9e}" for value in np.ravel(values))


def quaternion(axis, angle):
    """(w, x, y, z) of a rotation about a unit axis."""
    return [np.cos(angle / 2), *(np.sin(angle / 2) * np.asarray(axis, float))]


# Velodyne and ego axes (x forward, y left, z up) to camera axes.
LOOK_AHEAD = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
SCAN = np.array(
    [
        [10.0, 1.0, -1.0, 0.5],
        [20.0, -2.0, 0.5, 0.1],
        [12.0, 1.2, -1.2, 0.5],  # behind the first, on one line of sight
        [-5.0, 1.0, 1.0, 0.2],  # behind the car
        [4.0, 30.0, 0.0, 0.2],  # outside the image
    ]
)
CALIBRATION = {
    "fx": 30.0,
    "cx": 17.0,
    "cy": 9.5,
    "velo_shift": np.array([0.01, -0.08, -0.27]),
}


def kitti_raw(root):
    date = root / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    fx, cx, cy = (CALIBRATION[key] for key in ("fx", "cx", "cy"))
    lines = ["calib_time: 09-Jan-2012 13:57:47", f"R_rect_00: {numbers(np.eye(3))}"]
    for camera, shift in ((2, 1.5), (3, -14.1)):
        lines.append(f"S_rect_0{camera}: {numbers([WIDTH, HEIGHT])}")
        matrix = [[fx, 0, cx, shift], [0, fx, cy, 0.2], [0, 0, 1, 0.003]]
        lines.append(f"P_rect_0{camera}: {numbers(matrix)}")
    write(date / "calib_cam_to_cam.txt", "\n".join(lines) + "\n")
    write(
        date / "calib_velo_to_cam.txt",
        f"R: {numbers(LOOK_AHEAD)}\nT: {numbers(CALIBRATION['velo_shift'])}\n",
    )
    write(
        date / "calib_imu_to_velo.txt",
        f"R: {numbers(np.eye(3))}\nT: {numbers([-0.8, 0.3, -0.8])}\n",
    )
    stamps = []
    for frame in range(3):
        for camera in (2, 3):
            path = drive / f"image_0{camera}" / "data" / f"{frame:010d}.png"
            write(path, encoded(image(10 * camera + frame)))
        scan = SCAN.astype("<f4").tobytes()
        write(drive / "velodyne_points" / "data" / f"{frame:010d}.bin", scan)
        # About 1.1 m further north each frame.
        packet = [49.0 + 1e-5 * frame, 8.4, 116.0, 0.01, 0.02, 0.7, *[0.0] * 24]
        write(drive / "oxts" / "data" / f"{frame:010d}.txt", numbers(packet))
        stamps.append(f"2011-09-26 13:02:25.{(964389445 + frame * 10**7):09d}")
    for camera in (2, 3):
        write(drive / f"image_0{camera}" / "timestamps.txt", "\n".join(stamps) + "\n")
    return root


def kitti_odometry(root):
    sequence = root / "sequences" / "07"
    fx, cx, cy = (CALIBRATION[key] for key in ("fx", "cx", "cy"))
    velo = np.column_stack([LOOK_AHEAD, CALIBRATION["velo_shift"]])
    lines = []
    for camera, shift in enumerate((0.0, -16.0, 1.5, -14.1)):
        matrix = [[fx, 0, cx, shift], [0, fx, cy, 0], [0, 0, 1, 0]]
        lines.append(f"P{camera}: {numbers(matrix)}")
    write(sequence / "calib.txt", "\n".join([*lines, f"Tr: {numbers(velo)}"]))
    write(sequence / "times.txt", "\n".join(f"{0.1 * i:.6e}" for i in range(3)))
    poses = []
    for frame in range(3):
        write(sequence / "image_2" / f"{frame:06d}.png", encoded(image(frame)))
        scan = SCAN.astype("<f4").tobytes()
        write(sequence / "velodyne" / f"{frame:06d}.bin", scan)
        pose = np.eye(4)
        pose[2, 3] = 1.2 * frame
        poses.append(numbers(pose[:3]))
    write(root / "poses" / "07.txt", "\n".join(poses) + "\n")
    return root


def cityscapes(root):
    name = "train/bremen/bremen_000001_{:06d}_{}"
    for frame in range(17, 20):
        path = "leftImg8bit_sequence/" + name.format(frame, "leftImg8bit.png")
        write(root / path, encoded(image(frame)))
    camera = {
        "extrinsic": {"baseline": 0.2, "pitch": 0.03, "x": 1.7},
        "intrinsic": {"fx": 40.0, "fy": 41.0, "u0": 17.5, "v0": 9.0},
    }
    path = "camera/" + name.format(19, "camera.json")
    write(root / path, json.dumps(camera))
    disparity = np.zeros((HEIGHT, WIDTH), np.uint16)
    disparity[3, 5] = 1 + 256 * 2
    disparity[4, 6] = 1  # infinitely far
    path = "disparity/" + name.format(19, "disparity.png")
    write(root / path, encoded(disparity))
    return root


def struct2depth(root):
    frames = [image(seed) for seed in range(3)]
    labels = np.zeros((HEIGHT, 3 * WIDTH, 3), np.uint8)
    labels[2:5, 3:7], labels[2:5, WIDTH + 4 : WIDTH + 8] = 1, 2
    write(root / "drive" / "0000000002.png", encoded(np.concatenate(frames, axis=1)))
    write(root / "drive" / "0000000002_cam.txt", "30,0,17,0,31,9.5,0,0,1")
    write(root / "drive" / "0000000002-fseg.png", encoded(labels))
    write(root / "train.txt", "drive 0000000002\n")
    return root


def nuscenes(root):
    turned = quaternion([0, 0, 1], 0.3)
    # Camera axes in ego axes: x right is -y, y down is -z, z forward is x.
    camera_rotation = [0.5, -0.5, 0.5, -0.5]
    tables = {
        "scene": [{"token": "s", "name": "scene-0001"}],
        "sample": [
            {"token": f"k{i}", "scene_token": "s", "timestamp": 10**15 + i * 500000}
            for i in range(2)
        ],
        "sensor": [
            {"token": "c", "channel": "CAM_FRONT"},
            {"token": "l", "channel": "LIDAR_TOP"},
        ],
        "calibrated_sensor": [
            {
                "token": "cc",
                "sensor_token": "c",
                "rotation": camera_rotation,
                "translation": [1.7, 0.1, 1.5],
                "camera_intrinsic": [[30.0, 0, 17], [0, 31, 9.5], [0, 0, 1]],
            },
            {
                "token": "lc",
                "sensor_token": "l",
                "rotation": quaternion([0, 0, 1], -1.5),
                "translation": [0.9, 0.0, 1.8],
                "camera_intrinsic": [],
            },
        ],
        "ego_pose": [],
        "sample_data": [],
    }
    for i in range(2):
        for kind, delay, suffix in (
            ("CAM_FRONT", 0, "jpg"),
            ("LIDAR_TOP", 0.02, "bin"),
        ):
            token = f"{kind}{i}"
            place = [600 + i + delay, 1600.0, 0.0]
            tables["ego_pose"].append(
                {"token": token, "rotation": turned, "translation": place}
            )
            path = f"samples/{kind}/{token}.{suffix}"
            tables["sample_data"].append(
                {
                    "token": token,
                    "sample_token": f"k{i}",
                    "ego_pose_token": token,
                    "calibrated_sensor_token": "cc" if suffix == "jpg" else "lc",
                    "timestamp": 10**15 + int((0.5 * i + delay) * 1e6),
                    "is_key_frame": True,
                    "height": HEIGHT if suffix == "jpg" else 0,
                    "width": WIDTH if suffix == "jpg" else 0,
                    "filename": path,
                }
            )
            scan = np.column_stack([SCAN, np.zeros(len(SCAN))])[:, [1, 0, 2, 3, 4]]
            content = (
                encoded(image(i), ".jpg")
                if suffix == "jpg"
                else (scan * [-1, 1, 1, 1, 1]).astype("<f4").tobytes()
            )
            write(root / path, content)
    for name, rows in tables.items():
        write(root / "v1.0-mini" / f"{name}.json", json.dumps(rows))
    return root


def ddad(root):
    scene = root / "000000"

    def pose(rotation, place):
        return {
            "rotation": dict(zip(("qw", "qx", "qy", "qz"), rotation)),
            "translation": dict(zip("xyz", place)),
        }

    data, samples = [], []
    for i in range(2):
        place = [3.0 * i, -4.0, 1.5]
        image_file = f"rgb/CAMERA_01/{i}.png"
        scan_file = f"point_cloud/LIDAR/{i}.npz"
        write(scene / image_file, encoded(image(i)))
        (scene / "point_cloud" / "LIDAR").mkdir(parents=True, exist_ok=True)
        np.savez(scene / scan_file, data=SCAN)
        members = {
            "CAMERA_01": {
                "image": {
                    "filename": image_file,
                    "height": HEIGHT,
                    "width": WIDTH,
                    "pose": pose([0.5, -0.5, 0.5, -0.5], place),
                }
            },
            "LIDAR": {
                "point_cloud": {
                    "filename": scan_file,
                    "pose": pose([1, 0, 0, 0], [place[0], -4.0, 1.9]),
                }
            },
        }
        for name, datum in members.items():
            data.append(
                {
                    "key": f"{name}{i}",
                    "id": {"name": name, "timestamp": f"2019-05-01T10:00:0{i}.500000Z"},
                    "datum": datum,
                }
            )
        samples.append(
            {"calibration_key": "k", "datum_keys": [f"{name}{i}" for name in members]}
        )
    write(scene / "scene_ab.json", json.dumps({"data": data, "samples": samples}))
    calibration = {
        "names": ["LIDAR", "CAMERA_01"],
        "intrinsics": [
            {"fx": 0.0, "fy": 0.0, "cx": 0.0, "cy": 0.0, "skew": 0.0},
            {"fx": 30.0, "fy": 31.0, "cx": 17.0, "cy": 9.5, "skew": 0.0},
        ],
    }
    write(scene / "calibration" / "k.json", json.dumps(calibration))
    return root


def varint(value):
    value &= (1 << 64) - 1
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def message(*fields):
    """Encodes (number, value) pairs: int as varint, float as double, else bytes."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        elif isinstance(value, float):
            parts.append(varint(number << 3 | 1) + struct.pack("<d", value))
        else:
            value = value.encode() if isinstance(value, str) else value
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
    return b"".join(parts)


def slow_masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def tfrecord(records):
    parts = []
    for data in records:
        length = struct.pack("<Q", len(data))
        parts += [length, struct.pack("<I", slow_masked_crc(length)), data]
        parts.append(struct.pack("<I", slow_masked_crc(data)))
    return b"".join(parts)


def waymo_transform(matrix):
    return message(*((1, float(value)) for value in np.ravel(matrix)))


def waymo_matrix(values):
    values = np.asarray(values)
    if values.dtype.kind == "f":
        data = values.astype("<f4").tobytes()
    else:
        data = b"".join(varint(int(value)) for value in values.ravel())
    shape = message(*((1, int(side)) for side in values.shape))
    return zlib.compress(message((1, data), (2, shape)))


def turn(angle, place):
    """4x4: a rotation about z and a translation."""
    cos, sin = np.cos(angle), np.sin(angle)
    pose = np.eye(4)
    pose[:2, :2] = [[cos, -sin], [sin, cos]]
    pose[:3, 3] = place
    return pose


# What the tiny Waymo segment holds; tests compute from it what must come out.
WAYMO = {
    "camera": [30.0, 31.0, 17.0, 9.5, 0.02, -0.01, 0.001, -0.002, 0.0],
    "vehicle_from_camera": turn(0.02, [1.5, -0.1, 2.1]),
    "vehicle_from_laser": turn(2.6, [1.4, 0.0, 2.2]),
    "inclinations": [-0.3, -0.1, 0.05],
    "ranges": np.array([[0.0, 8.0, 9.0, -1.0], [12.0, 7.5, 0, 0], [30.0, 6.0, 5, 4]]),
    "world_from_vehicle": [turn(0.5, [-25000.0 + i, 42000, -160]) for i in range(2)],
    "world_from_vehicle_at_image": [
        turn(0.51, [-24999.8 + i, 42000.1, -160]) for i in range(2)
    ],
}


def waymo_cells(frame):
    """Poses of the cells, [3 4 6], and projections, [3 4 6]."""
    poses = np.zeros((3, 4, 6))
    poses[..., 0] = 0.01
    poses[..., 1] = -0.02
    poses[..., 2] = 0.5 + 0.001 * np.arange(4)[None, :]
    poses[..., 3:] = WAYMO["world_from_vehicle"][frame][:3, 3]
    poses[..., 3] += 0.01 * np.arange(4)[None, :]
    projections = np.zeros((3, 4, 6), np.int64)
    projections[0, 1] = [1, 12, 7, 2, 3, 4]
    projections[0, 2] = [2, 12, 7, 1, 20, 11]
    projections[1, 1] = [3, 5, 5, 0, 0, 0]
    projections[2, 0] = [1, 30, 15, 0, 0, 0]
    return poses, projections


def waymo_frame(frame):
    camera = message(
        (1, 1),
        *((2, value) for value in WAYMO["camera"]),
        (3, waymo_transform(WAYMO["vehicle_from_camera"])),
        (4, WIDTH),
        (5, HEIGHT),
    )
    top = message(
        (1, 1),
        (2, np.array(WAYMO["inclinations"], "<f8").tobytes()),
        (3, -0.3),
        (4, 0.05),
        (5, waymo_transform(WAYMO["vehicle_from_laser"])),
    )
    side = message(
        (1, 3), (3, -0.4), (4, 0.4), (5, waymo_transform(WAYMO["vehicle_from_laser"]))
    )
    poses, projections = waymo_cells(frame)
    ranges = np.zeros((3, 4, 4))
    ranges[..., 0] = WAYMO["ranges"]
    fields = ((2, waymo_matrix(ranges)), (3, waymo_matrix(projections)))
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[5:9, 3:9], labels[5:9, 20:26], labels[12:] = 2003, 9001, 20000
    picture = message(
        (1, 1),
        (2, encoded(image(frame), ".jpg")),
        (3, waymo_transform(WAYMO["world_from_vehicle_at_image"][frame])),
        (10, message((1, 1000), (2, encoded(labels)))),
    )
    return message(
        (1, message((1, "segment"), (2, camera), (3, top), (3, side))),
        (2, 1553735853462203 + 100000 * frame),
        (3, waymo_transform(WAYMO["world_from_vehicle"][frame])),
        (4, message((1, 2), (2, b"another camera"))),
        (4, picture),
        (5, message((1, 1), (2, message(*fields, (4, waymo_matrix(poses)))))),
        (5, message((1, 3), (3, message(*fields)))),
    )


def waymo_v1(root):
    write(root / "segment.tfrecord", tfrecord([waymo_frame(0), waymo_frame(1)]))
    return root


def waymo_v2(root):
    """The segment of `waymo_v1`, as tables."""
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    def table(component, rows):
        path = root / component / "segment.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = pyarrow.Table.from_pylist(rows)
        parquet.write_table(content, path, row_group_size=2)

    def flat(values, kind=float):
        return [kind(value) for value in np.ravel(values)]

    times = [1553735853462203 + 100000 * frame for frame in range(2)]
    names = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
    camera = {"key.camera_name": 1}
    for name, value in zip(names, WAYMO["camera"]):
        camera[f"[CameraCalibrationComponent].intrinsic.{name}"] = value
    prefix = "[CameraCalibrationComponent]."
    camera[f"{prefix}extrinsic.transform"] = flat(WAYMO["vehicle_from_camera"])
    camera |= {f"{prefix}width": WIDTH, f"{prefix}height": HEIGHT}
    table("camera_calibration", [camera])
    lasers = []
    for laser in (1, 3):
        prefix = "[LiDARCalibrationComponent]."
        inclinations = WAYMO["inclinations"] if laser == 1 else None
        lasers.append(
            {
                "key.laser_name": laser,
                f"{prefix}extrinsic.transform": flat(WAYMO["vehicle_from_laser"]),
                f"{prefix}beam_inclination.min": -0.3 if laser == 1 else -0.4,
                f"{prefix}beam_inclination.max": 0.05 if laser == 1 else 0.4,
                f"{prefix}beam_inclination.values": inclinations,
            }
        )
    table("lidar_calibration", lasers)
    images, labels, vehicles, scans, projections, poses = ([] for _ in range(6))
    panoptic = np.zeros((HEIGHT, WIDTH), np.uint16)
    panoptic[5:9, 3:9], panoptic[5:9, 20:26], panoptic[12:] = 2003, 9001, 20000
    # Frames are not in order: a table promises none.
    for frame in (1, 0):
        time = {"key.frame_timestamp_micros": times[frame]}
        front = {**time, "key.camera_name": 1}
        pose = flat(WAYMO["world_from_vehicle_at_image"][frame])
        for name, content in ((2, b"another"), (1, encoded(image(frame), ".jpg"))):
            images.append(
                {
                    **time,
                    "key.camera_name": name,
                    "[CameraImageComponent].image": content,
                    "[CameraImageComponent].pose.transform": pose,
                }
            )
        prefix = "[CameraSegmentationLabelComponent].panoptic_label"
        labels.append({**front, f"{prefix}_divisor": 1000, prefix: encoded(panoptic)})
        vehicle = flat(WAYMO["world_from_vehicle"][frame])
        column = "[VehiclePoseComponent].world_from_vehicle.transform"
        vehicles.append({**time, column: vehicle})
        cells, seen = waymo_cells(frame)
        ranges = np.zeros((3, 4, 4))
        ranges[..., 0] = WAYMO["ranges"]
        for laser in (1, 3):
            key = {**time, "key.laser_name": laser}
            for component, values, rows in (
                ("LiDARComponent", ranges, scans),
                ("LiDARCameraProjectionComponent", seen, projections),
                ("LiDARPoseComponent", cells, poses),
            ):
                if component == "LiDARPoseComponent" and laser != 1:
                    continue
                row = {**key}
                for number in (1, 2)[: 1 if rows is poses else 2]:
                    prefix = f"[{component}].range_image_return{number}"
                    found = number == 1
                    content = np.float32(values)
                    row[f"{prefix}.values"] = flat(content) if found else None
                    row[f"{prefix}.shape"] = list(values.shape) if found else None
                rows.append(row)
    table("camera_image", images)
    table("camera_segmentation", labels)
    table("vehicle_pose", vehicles)
    table("lidar", scans)
    table("lidar_camera_projection", projections)
    table("lidar_pose", poses)
    return root


BUILDERS = {
    builder.__name__: builder
    for builder in (
        kitti_raw,
        kitti_odometry,
        cityscapes,
        struct2depth,
        nuscenes,
        ddad,
        waymo_v1,
        waymo_v2,
    )
}


@pytest.fixture
def tiny():
    """This module: builders of tiny data sets, by name in `BUILDERS`, and their parts."""
    import sys

    return sys.modules[__name__]


@pytest.fixture(params=sorted(BUILDERS))
def tiny_set(request, tmp_path):
    """(name, folder) of each tiny data set in turn."""
    return request.param, BUILDERS[request.param](tmp_path / "raw")
