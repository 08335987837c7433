"""The command line, as a user runs it."""

import json
import os
import pathlib
import re
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest

from mdm_jax import config as config_lib

ROOT = pathlib.Path(__file__).parents[1]


def _train(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mdm_jax.main", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XLA_FLAGS": ""},
    )


@pytest.mark.parametrize("multihost", [False, True])
def test_hosts_find_each_other_before_training(
    monkeypatch, tmp_path, import_command, multihost
):
    from mdm_jax.training import loop

    main, _ = import_command("main")
    calls = []
    flags = {
        "_CONFIG": config_lib.base_config(),
        "_WORKDIR": str(tmp_path),
        "_MULTIHOST": multihost,
        "_EXPLAIN": False,
    }
    for name, value in flags.items():
        monkeypatch.setattr(main, name, types.SimpleNamespace(value=value))
    for name in ("configure_jax", "quiet_libraries"):
        monkeypatch.setattr(main.startup, name, lambda *_: None)
    monkeypatch.setattr(
        main.jax.distributed, "initialize", lambda: calls.append("initialize")
    )
    monkeypatch.setattr(loop, "train", lambda config, workdir: calls.append("train"))
    verbosity = main.logging.get_verbosity()
    main.main(["mdm_jax"])
    main.logging.set_verbosity(verbosity)
    assert calls == ["initialize", "train"][not multihost :]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=configs/video.py:shor"], "variants motion_field.*got 'shor'"),
        (["--config=configs/no.py"], "No such file.*'configs/no.py'"),
        (
            ["--config=configs/video.py", "--config.dataset.intrinsic=learned"],
            'no such setting: Did you mean "intrinsics" instead of "intrinsic"',
        ),
        (["--config=configs/video.py", "--config.data.size=3"], "setting: data\n"),
        (
            ["--config=configs/video.py", "--config.train.num_steps=x"],
            "train.num_steps=x: invalid literal for int",
        ),
    ],
)
def test_a_mistake_on_the_command_line_is_named_in_one_line(arguments, message):
    done = _train(*arguments, "--workdir=never")
    assert done.returncode == 1
    assert re.search(rf"^error: .*{message}", done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_frames_of_unknown_camera_is_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.resize(
        rng.integers(0, 255, (24, 60, 3), np.uint8), (300, 120), interpolation=1
    )
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(6):
        cv2.imwrite(str(frames / f"{i}.png"), texture[:, 10 * i : 10 * i + 200])
    workdir = tmp_path / "run"
    arguments = (
        "--config=configs/video.py:smoke",
        f"--config.dataset.path={frames}",
        "--config.dataset.intrinsics=learned",
        "--config.train.num_steps=2",
        f"--workdir={workdir}",
    )
    done = _train(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "train drive" in done.stdout
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["train_drive/reconstruction/colour_error"] > 0
    assert cv2.imread(str(workdir / "panel.png")).shape[0] > 100

    # The same command again has nothing left to train but shows the result again.
    again = _train(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Resumed from step 2" in again.stderr


def test_mistakes_get_one_line_that_says_what_to_do(tmp_path):
    done = _train(
        "--config=configs/video.py:smoke",
        "--config.dataset.path=/nowhere/at/all",
        f"--workdir={tmp_path}",
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: /nowhere/at/all does not exist")

    unknown = _train(
        "--config=configs/video.py:smoke",
        "--config.optimizer.learning_rat=1",
        f"--workdir={tmp_path}",
    )
    assert unknown.returncode != 0
    assert "learning_rat" in unknown.stderr


def test_sizes_and_old_names_of_settings_are_understood_and_explained():
    done = _train(
        "--config=configs/synthetic.py:instance_motion",
        "--config.dataset.size=32x96",
        "--config.networks.object_pose=none",
        "--explain",
    )
    assert done.returncode == 0, done.stderr
    assert "dataset.size = (32, 96)    (default (128, 416))" in done.stdout
    assert "instance_motion.object_pose = none    (default conv)" in done.stdout
    assert "object_pose is called --config.instance_motion.object_pose" in done.stderr
