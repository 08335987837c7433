"""Tests of the DDAD reader."""

import dataclasses
import json

import numpy as np
import pytest

from mdm_jax import sources


def test_points_and_poses_are_in_one_world(tiny, tmp_path):
    (drive,) = sources.open_sources("ddad", tiny.ddad(tmp_path))
    assert drive.name == "000000"
    np.testing.assert_allclose(drive.world_from_camera()[1, :3, 3], [3, -4, 1.5])
    np.testing.assert_allclose(np.diff(drive.timestamps()), [1.0])
    # LiDAR axes are x ahead, y left, z up, 0.4 m above the camera.
    expected = []
    for x, y, z, _ in tiny.SCAN[:3]:
        expected.append((17 - 30 * y / x, 9.5 - 31 * (z + 0.4) / x, x))
    np.testing.assert_allclose(drive.points(1), expected, atol=1e-4)


def test_another_camera_can_be_named(tiny, tmp_path):
    with pytest.raises(sources.DataError, match="samples of CAMERA_05"):
        sources.open_sources("ddad", tiny.ddad(tmp_path), camera="CAMERA_05")


def test_frames_come_in_order_of_time(tiny, tmp_path):
    root = tiny.ddad(tmp_path)
    path = root / "000000" / "scene_ab.json"
    record = json.loads(path.read_text())
    record["samples"].reverse()
    path.write_text(json.dumps(record))
    (drive,) = sources.open_sources("ddad", root)
    assert [file.name for file in drive.files] == ["0.png", "1.png"]


def test_the_genuine_sample_reads_as_published(sample_data):
    (drive,) = sources.open_sources("ddad", sample_data / "ddad_snippet")
    assert (drive.name, len(drive), drive.size) == ("scene_02", 3, (1216, 1936))
    fx, fy, cx, cy = drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_allclose(
        [fx, fy, cx, cy], [2181.530, 2181.603, 928.022, 615.957], atol=1e-3
    )
    steps = np.diff(drive.world_from_camera()[:, :3, 3], axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), [1.273, 1.267], atol=1e-3)
    np.testing.assert_allclose(np.diff(drive.timestamps()), 1.0, atol=1e-3)
    assert drive.image(0).shape == (1216, 1936, 3)
    # The published count takes pixels from 0 to the width, not from -0.5.
    wider = dataclasses.replace(drive, size=(1217, 1937))
    x, y, z = wider.points(0).T
    counted = (x >= 0) & (x < 1936) & (y >= 0) & (y < 1216)
    assert counted.sum() == 5157
    assert f"{z[counted].min():.2f} {z[counted].max():.1f}" == "5.13 176.0"
    with pytest.raises(
        sources.DataError, match=r"LIDAR.15616458251018358.npz: no such"
    ):
        drive.points(1)
