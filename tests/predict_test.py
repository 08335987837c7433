"""The command: from a run's folder and a video to results, or to one clear error."""

import pathlib

import cv2
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from absl import logging

from mdm_jax import config as config_lib
from mdm_jax import methods, presets, settings
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.methods.base import Method
from mdm_jax.run import loading
from mdm_jax.run.run import Run
from mdm_jax.structs import Pairs, Pose, Prediction
from mdm_jax.training import startup

SIZE = (32, 40)


def _predict(variables, batch, *, step=None, train=False, rngs=None):
    """A method whose depth is brightness, and whose camera drives ahead."""
    del train, rngs
    depth = variables["scale"] * (1 + jnp.mean(batch.frames, axis=-1))
    if batch.frames.shape[1] == 1:
        return Prediction(depth, batch.intrinsics), {}
    b, _, h, w = depth.shape
    ego = Pose(
        jnp.broadcast_to(jnp.eye(3), (b, 2, 3, 3)),
        jnp.broadcast_to(jnp.array([0, 0, -0.1]), (b, 2, 3)),
    )
    residual = jnp.zeros((b, 2, h, w, 3))
    motion = motion_lib.total(ego, residual)
    pairs = Pairs(ego, motion, residual, (0, 1), (1, 0))
    return Prediction(depth, batch.intrinsics, pairs), {}


@pytest.fixture
def command(monkeypatch, import_command):
    """Returns a function that runs the command with flags."""
    for name in ("configure_jax", "quiet_libraries"):
        monkeypatch.setattr(startup, name, lambda *_: None)

    def run(**options):
        predict, values = import_command("predict")
        values(["predict", *(f"--{key}={value}" for key, value in options.items())])
        verbosity = logging.get_verbosity()
        try:
            predict.main(["predict"])
        finally:
            logging.set_verbosity(verbosity)

    return run


@pytest.fixture
def trained(monkeypatch):
    """A run of a method that needs no training."""
    config = config_lib.base_config()
    config.dataset.size = SIZE
    method = Method(init=None, predict=_predict, loss_terms=None)  # pyright: ignore
    run = Run(config, method, {"scale": jnp.ones(())}, 5, pathlib.Path("run"))
    monkeypatch.setattr(loading, "load", lambda workdir, step=None: run)


def _video(path, count):
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    for i in range(count):
        film.write(np.roll(noise, i, axis=1))
    film.release()
    return path


def test_videos_of_a_folder_get_a_folder_each(command, trained, tmp_path, capsys):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a", "b"):
        _video(videos / f"{name}.avi", 3)
    output = tmp_path / "out"
    command(workdir="run", input=str(videos), output=str(output), intrinsics="fov:60")
    for name in ("a", "b"):
        assert (output / name / "prediction.json").exists()
        assert len(list((output / name / "depth").glob("*.png"))) == 3
    assert "a: 3 frames" in (printed := capsys.readouterr().out)
    assert "relative" in printed


def test_a_video_that_breaks_keeps_its_frames_and_says_so(
    command, trained, tmp_path, capsys
):
    path = _video(tmp_path / "torn.avi", 12)
    content = path.read_bytes()
    # The index at the end is lost, and half of the frames.
    path.write_bytes(content[: len(content) // 2])
    output = tmp_path / "out"
    command(workdir="run", input=str(path), output=str(output), intrinsics="fov:60")
    kept = len(list((output / "depth").glob("*.png")))
    assert 3 <= kept < 12
    printed = capsys.readouterr().out
    assert f"torn: {kept} frames" in printed and "ended early" in printed
    film = cv2.VideoCapture(str(output / "video.webm"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == kept


def _error(command, **options):
    with pytest.raises(SystemExit) as error:
        command(**options)
    return str(error.value)


def test_flags_that_are_missing_or_wrong_are_named(command, trained, tmp_path):
    given = {"workdir": "run", "input": str(tmp_path), "output": str(tmp_path / "out")}
    for name in given:
        rest = {key: value for key, value in given.items() if key != name}
        assert f"--{name} is missing" in _error(command, **rest)
    assert "no images" in _error(command, **given)
    assert "sound" in _error(command, **given, save="sound")
    assert not (tmp_path / "out").exists()


def test_what_is_no_usable_run_is_an_error_that_leaves_nothing(command, tmp_path):
    image = tmp_path / "a.png"
    cv2.imwrite(str(image), np.zeros((64, 96, 3), np.uint8))
    workdir = tmp_path / "run"
    given = {
        "workdir": str(workdir),
        "input": str(image),
        "output": str(tmp_path / "o"),
    }
    assert "no such folder" in _error(command, **given)
    workdir.mkdir()
    assert "no run was trained" in _error(command, **given)
    config = config_lib.base_config()
    config.dataset.size = SIZE
    config.networks.width_multiplier = 0.0625
    (workdir / "config.json").write_text(settings.to_json(config))
    assert "has no checkpoint" in _error(command, **given)
    # A checkpoint of something else.
    state = workdir / "checkpoints" / "7" / "state"
    tree = {"params": {"other_net": np.zeros(3)}, "model_state": {}}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(state, tree)
    assert "does not fit the networks" in _error(command, **given)
    for file in state.rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    assert "is damaged" in _error(command, **given)
    assert not (tmp_path / "o").exists()


def test_no_object_is_left_out_by_the_budget_of_training():
    config = presets.use_instance_motion(config_lib.base_config())
    config.instance_motion.instance_budget = 1
    for_inference = methods.create(config).for_inference(config)
    assert for_inference.instance_motion.instance_budget == 0
    assert config.instance_motion.instance_budget == 1
