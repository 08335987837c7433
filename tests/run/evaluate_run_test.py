"""Evaluating a run gives the figures that its training wrote down, and trajectories."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.evaluation import evaluate_files, map_files, protocols
from mdm_jax.run import evaluate_run
from mdm_jax.training import data

PLAIN = protocols.get("synthetic")


@pytest.mark.parametrize("changes", [{}, {"camera.intrinsics": "video"}])
def test_a_run_is_measured_as_at_the_end_of_its_training(trained, changes):
    workdir = trained(**changes)
    run = evaluate_run.open_run(str(workdir))
    report = evaluate_run.report_drives(run, PLAIN)
    written = json.loads((workdir / "metrics.json").read_text())
    names = [name for name in written if name.startswith("test_drive/")]
    assert len(names) > 90
    for name in names:
        got = report.metrics[name.removeprefix("test_drive/")]
        # Not a number is null in the file.
        want = np.nan if written[name] is None else written[name]
        assert got == pytest.approx(want, rel=1e-5, abs=1e-7, nan_ok=True), name
    assert any(
        "not comparable with published numbers" in one for one in report.warnings
    )


def test_split_and_number_of_frames_can_be_changed(trained):
    run = evaluate_run.open_run(str(trained()), split="validation", max_frames=3)
    assert run.config.evaluation.split == "validation"
    report = evaluate_run.report_drives(run, PLAIN)
    assert report.metrics["depth/num_images"] == 3
    assert "3 of 5 pairs of frames, evenly spread" in report.warnings


def test_drives_without_depth_cannot_be_measured(trained, tiny_recordings, monkeypatch):
    run = evaluate_run.open_run(str(trained()))
    for one in tiny_recordings:
        object.__setattr__(one, "depth", None)
    monkeypatch.setattr(
        data, "open_data", lambda *_: data.Data(tiny_recordings, [], "test")
    )
    with pytest.raises(ValueError, match="have no true depth; give --images"):
        evaluate_run.report_drives(run, PLAIN)


def test_the_way_of_the_camera_is_put_together_frame_by_frame(trained, tmp_path):
    run = evaluate_run.open_run(str(trained()))
    paths = evaluate_run.write_trajectories(run, tmp_path)
    # The toy says that the camera goes straight on, as it does, by a learned step.
    metrics = evaluate_files.evaluate_files("kitti_odometry_snippets", *paths)
    assert [path.stem for path in paths[0].iterdir()] == ["first"]
    assert metrics["odometry/num_sequences"] == 1
    assert metrics["odometry/num_frames"] == 6
    assert metrics["odometry/path_length_m"] == pytest.approx(2.0)
    assert metrics["odometry/snippet_ate_mean"] == pytest.approx(0, abs=1e-6)


@pytest.fixture
def images(tmp_path):
    """Folder of three images of a drive, of other pixels than the network's."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(3):
        image = rng.integers(0, 255, (48, 70, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), image)
    return tmp_path / "images"


def test_images_of_a_drive_are_followed_too(trained, images, tmp_path):
    run = evaluate_run.open_run(str(trained()))
    truth = tmp_path / "any_name.txt"
    truth.write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    predicted, true = evaluate_run.write_trajectories(
        run, tmp_path, images=str(images), intrinsics="50,50,35,24", truth=str(truth)
    )
    assert true == truth
    poses = np.loadtxt(predicted / "any_name.txt").reshape(3, 3, 4)
    np.testing.assert_allclose(np.diff(poses[:, 2, 3]), 0.1, atol=0.01)
    with pytest.raises(ValueError, match="these frames have no camera poses"):
        evaluate_run.write_trajectories(
            run, tmp_path, images=str(images), intrinsics="50,50,35,24"
        )


def test_depth_is_predicted_of_images_of_any_size(trained, images):
    run = evaluate_run.open_run(str(trained()))
    maps = evaluate_run.depth_of_images(
        run, map_files.open_images(images), protocols.get("kitti_eigen")
    )
    want = np.exp(np.asarray(run.variables["params"]["log_depth"]))
    assert len(maps) == 3
    np.testing.assert_allclose(maps.read(1), want, rtol=1e-6)
