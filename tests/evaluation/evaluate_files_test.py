"""`evaluate_files` measures files as the command does, and names wrong options."""

import dataclasses
import json

import numpy as np
import pytest

from mdm_jax.evaluation import evaluate_files, protocols, trajectory_files


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
