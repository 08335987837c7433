"""`evaluate_files` measures files as the command does, and names wrong options."""

import dataclasses
import json

import numpy as np
import pytest

from mdm_jax.evaluation import (
    evaluate_files,
    kitti_frames,
    protocols,
    trajectory_files,
)


@pytest.fixture
def depth_files(tmp_path):
    """Paths of predicted disparity and of true depth in another unit."""
    truth = np.random.default_rng(0).uniform(5, 70, (3, 6, 9))
    np.save(tmp_path / "disparity.npy", 1 / (0.1 * truth))
    np.save(tmp_path / "truth.npy", truth)
    return tmp_path / "disparity.npy", tmp_path / "truth.npy"


def test_depth_in_another_unit_is_perfect(depth_files, tmp_path):
    metrics = evaluate_files.evaluate_files(
        "waymo", *depth_files, prediction_kind="disparity", output=tmp_path / "out"
    )
    assert metrics["depth/abs_rel"] == pytest.approx(0, abs=1e-9)
    assert metrics["depth/scale"] == pytest.approx(10)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written == metrics
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_changed_protocol_can_be_given_as_a_value(depth_files):
    unscaled = dataclasses.replace(protocols.get("waymo"), scaling="none")
    metrics = evaluate_files.evaluate_files(
        unscaled, *depth_files, prediction_kind="disparity"
    )
    assert metrics["depth/abs_rel"] == pytest.approx(0.9)


def test_trajectories_are_measured_too(tmp_path):
    poses = np.tile(np.eye(4), (30, 1, 1))
    poses[:, 2, 3] = 5.0 * np.arange(30)
    trajectory_files.write_kitti(tmp_path / "00.txt", poses)
    metrics = evaluate_files.evaluate_files(
        "kitti_odometry", tmp_path / "00.txt", tmp_path / "00.txt"
    )
    assert metrics["odometry/ate_rmse_m"] == pytest.approx(0, abs=1e-9)
    assert metrics["odometry/num_frames"] == 30


@pytest.mark.parametrize("protocol", ["waymo", "kitti_odometry"])
def test_an_unknown_option_is_named_with_the_known_ones(protocol, depth_files):
    with pytest.raises(TypeError, match="no option 'kind'.* predictions, ground_truth"):
        evaluate_files.evaluate_files(protocol, *depth_files, kind="disparity")


@pytest.fixture
def kitti_list(tmp_path):
    """Returns a function that writes a list of frames of the sample drive."""

    def write(*frames):
        drive = "2011_09_26/2011_09_26_drive_0001_sync"
        path = tmp_path / "test_files.txt"
        path.write_text("".join(f"{drive} {frame:010d} l\n" for frame in frames))
        return path

    return write


def test_raw_kitti_gives_the_depth_that_published_scripts_export(
    sample_data, kitti_list
):
    root = sample_data / "kitti_raw_snippet"
    drive = root / "2011_09_26" / "2011_09_26_drive_0001_sync"
    truth, images = kitti_frames.open_frames(root, kitti_list(2, 0, 1))
    for index, frame in enumerate((2, 0, 1)):
        exported = np.load(drive / f"lidar_sparse/image_02/{frame:010d}.npy")
        rows, columns = exported[:, :2].astype(int).T
        want = np.zeros((375, 1242))
        want[rows, columns] = exported[:, 2]
        np.testing.assert_allclose(truth.read(index), want, atol=2e-3)
        assert images.read(index).shape == (375, 1242, 3)


def test_a_list_of_kitti_frames_is_evaluated_from_raw_data(
    sample_data, kitti_list, tmp_path
):
    root = sample_data / "kitti_raw_snippet"
    np.save(tmp_path / "flat.npy", np.full((3, 24, 80), 9.0))
    options = {"kitti_frames": kitti_list(0, 1, 2), "output": tmp_path / "out"}
    metrics = evaluate_files.evaluate_files(
        "kitti_eigen", tmp_path / "flat.npy", root, **options
    )
    assert metrics["depth/num_images"] == 3 and metrics["depth/min_pixels"] > 17000
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2
    with pytest.raises(ValueError, match=r"1 of 2 frames .* the first is frame 9 of"):
        kitti_frames.open_frames(root, kitti_list(0, 9))
