"""The command line of the evaluation, as a user runs it."""

import csv
import itertools
import json
import os
import pathlib
import subprocess
import sys

import cv2
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from mdm_jax import methods
from mdm_jax.evaluation import protocols, trajectory_files
from mdm_jax.run import evaluate_run
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training import checkpoint, preflight

ROOT = pathlib.Path(__file__).parents[1]


def _evaluate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mdm_jax.evaluate", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XLA_FLAGS": ""},
    )


def test_the_list_explains_every_protocol():
    done = _evaluate("--protocol=list")
    assert done.returncode == 0, done.stderr
    for name, protocol in protocols.PROTOCOLS.items():
        assert f"{name}: {protocol.source}" in done.stdout


def test_depth_files_are_evaluated_and_reported(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 70, (5, 24, 30)).astype(np.float32)
    truth[2] = 0
    disparity = 1 / (0.1 * truth.clip(1) * rng.uniform(0.8, 1.2, truth.shape))
    np.save(tmp_path / "truth.npy", truth)
    np.savez(tmp_path / "disparity.npz", data=disparity)
    np.save(tmp_path / "masks.npy", (rng.random(truth.shape) < 0.2).astype(np.uint8))
    done = _evaluate(
        "--protocol=waymo",
        f"--predictions={tmp_path}/disparity.npz",
        "--prediction_kind=disparity",
        f"--ground_truth={tmp_path}/truth.npy",
        f"--masks={tmp_path}/masks.npy",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert (
        "Abs Rel" in done.stdout and "1 images have no valid true depth" in done.stderr
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["depth/num_images"] == 4 and metrics["depth/num_skipped"] == 1
    assert 0.05 < metrics["depth/abs_rel"] < 0.15 < metrics["depth_unscaled/abs_rel"]
    assert metrics["depth/scale_median"] == pytest.approx(10, rel=0.1)
    assert metrics["moving/hole_rate"] == 0
    for name in ("sq_rel", "rmse", "rmse_log", "a1", "a2", "a3"):
        assert metrics[f"depth/{name}"] > 0
    with open(tmp_path / "out" / "per_image.csv", encoding="utf-8") as file:
        assert [row["pixels"] for row in csv.DictReader(file)][2] == "0"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3


def test_trajectories_are_evaluated_and_reported(tmp_path):
    poses = np.tile(np.eye(4), (60, 1, 1))
    poses[:, 2, 3] = 5.0 * np.arange(60)
    bent = 0.1 * poses
    bent[:, :3, :3] = np.eye(3)
    bent[:, 0, 3] = 1e-4 * np.arange(60) ** 2
    trajectory_files.write_kitti(tmp_path / "true.txt", poses)
    trajectory_files.write_kitti(tmp_path / "04.txt", bent[2:], frames=range(2, 60))
    done = _evaluate(
        "--protocol=kitti_odometry",
        f"--predictions={tmp_path}/04.txt",
        f"--ground_truth={tmp_path}/true.txt",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "04: 2 of 60 frames are not predicted" in done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["odometry/scale"] == pytest.approx(10, rel=0.01)
    for name in (
        "ate_rmse_m",
        "t_err_percent",
        "r_err_deg_per_100m",
        "snippet_ate_mean",
        "snippet_ate_std",
    ):
        assert metrics[f"odometry/{name}"] >= 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2


@pytest.fixture
def untrained_run(tiny_config, tmp_path):
    """Folder of a run on rendered drives with a checkpoint of random parameters."""
    config, workdir = tiny_config, tmp_path / "run"
    config.dataset.name = "synthetic"
    config.dataset.size = (32, 64)
    config.dataset.num_drives = config.dataset.num_evaluation_drives = 1
    config.dataset.frames_per_drive = config.dataset.frames_per_evaluation_drive = 6
    config.evaluation.batch_size = 2
    method = methods.create(config)
    variables = jax.eval_shape(
        lambda arrays: method.init(jax.random.key(0), batch_from_arrays(arrays)),
        preflight.clip_shapes(config),
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: rng.normal(0, 0.05, leaf.shape).astype(np.float32),
        variables["params"],
    )
    checkpoint.prepare_workdir(workdir, config)
    checkpoint.keep_settled(workdir, config)
    with ocp.CheckpointManager(workdir / "checkpoints") as manager:
        state = {"params": params, "model_state": {}, "opt_state": {}}
        manager.save(7, args=ocp.args.Composite(state=ocp.args.StandardSave(state)))
    return workdir


def test_a_run_is_evaluated_on_its_drives_and_reported(untrained_run, tmp_path):
    done = _evaluate(
        "--protocol=synthetic",
        f"--workdir={untrained_run}",
        f"--output={tmp_path}/out",
        "--max_frames=4",
    )
    assert done.returncode == 0, done.stderr
    assert "motion F1" in done.stdout and "4 of 5 pairs of frames" in done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["depth/num_images"] == 4
    for name in (
        *(f"depth/{name}" for name in ("abs_rel", "rmse_log", "a3", "scale_spread")),
        "moving/abs_rel",
        "static/abs_rel",
        "moving/hole_rate",
        "egomotion/translation_error",
        "motion/iou",
        "motion/f1",
        "motion/best_iou",
        "objects/num",
        "optical_flow/epe",
        "scene_flow/epe_m",
    ):
        assert np.isfinite(metrics[name]), name
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    # Scores over thresholds, errors by depth, and the worst and the best images.
    assert page.count("data:image/png;base64,") == 4


def test_a_run_is_evaluated_on_images_of_any_size(untrained_run, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "truth"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c"):
        image = rng.integers(0, 255, (37, 124, 3)).astype(np.uint8)
        cv2.imwrite(f"{tmp_path}/images/{name}.jpg", image)
        depth = rng.uniform(256 * 5, 256 * 70, (37, 124)).astype(np.uint16)
        cv2.imwrite(f"{tmp_path}/truth/{name}.png", depth)
    done = _evaluate(
        "--protocol=kitti_eigen",
        f"--workdir={untrained_run}",
        f"--images={tmp_path}/images",
        f"--ground_truth={tmp_path}/truth",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "3 images of the 697 of kitti_eigen" in done.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["depth/num_images"] == 3 and metrics["depth/abs_rel"] > 0.1


def test_only_the_trajectories_of_the_last_evaluation_are_kept(
    import_command, monkeypatch, tmp_path
):
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[:, 2, 3] = np.arange(6)
    drives = [["a", "b"], ["b", "c"]]

    def write_trajectories(run, folder, **options):
        del run, options
        for kind, name in itertools.product(("predicted", "true"), drives[0]):
            trajectory_files.write_kitti(folder / kind / f"{name}.txt", poses)
        return folder / "predicted", folder / "true"

    monkeypatch.setattr(evaluate_run, "open_run", lambda *_, **__: None)
    monkeypatch.setattr(evaluate_run, "write_trajectories", write_trajectories)
    evaluate, values = import_command("evaluate")
    values(["evaluate", "--workdir=any", f"--output={tmp_path}"])
    while drives:
        evaluate.evaluate(protocols.get("kitti_odometry_snippets"))
        kept = [path.stem for path in (tmp_path / "trajectories").glob("*.txt")]
        assert sorted(kept) == drives.pop(0)


def test_mistakes_get_one_line_that_says_what_to_do(tmp_path):
    truth = np.full((2, 4, 5), 9.0)
    wrong = truth.copy()
    wrong[1, 2, 3] = np.nan
    np.save(tmp_path / "truth.npy", truth)
    np.save(tmp_path / "wrong.npy", wrong)
    done = _evaluate(
        "--protocol=synthetic",
        f"--predictions={tmp_path}/wrong.npy",
        f"--ground_truth={tmp_path}/truth.npy",
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path}/wrong.npy[1]: predicted depth must be")
    assert "row 2, column 3" in last
