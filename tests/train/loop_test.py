"""The whole run: resume is exact, workdirs are guarded, results are written."""

import json

import jax
import numpy as np
import pytest

from mdm_jax.input_pipeline.recording import Recording
from mdm_jax.train import checkpoint, data, loop


@pytest.fixture
def run(tiny_config, tiny_recordings, monkeypatch):
    """Runs the loop on two tiny drives in memory."""
    monkeypatch.setattr(
        data,
        "open_data",
        lambda config, workdir: data.Data(tiny_recordings, tiny_recordings[:1], "test"),
    )
    tiny_config.train.batch_size = 8
    tiny_config.train.num_steps = 4
    tiny_config.train.log_every = 2
    tiny_config.train.checkpoint_every = 2

    def run(workdir, **changes):
        config = tiny_config.copy_and_resolve_references()
        config.update_from_flattened_dict(changes)
        return loop.train_and_evaluate(config, str(workdir))

    return run


class Interrupted(Exception):
    pass


def _final_state(workdir):
    manager = checkpoint.ocp.CheckpointManager(workdir / "checkpoints")
    step = manager.latest_step()
    state = manager.restore(
        step,
        args=checkpoint.ocp.args.Composite(state=checkpoint.ocp.args.StandardRestore()),
    )["state"]
    manager.close()
    return step, state


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_interrupted_and_resumed_equals_uninterrupted(run, tmp_path, monkeypatch):
    straight = run(tmp_path / "straight")

    from mdm_jax.train import reporting

    advance = reporting.Reporter.advance

    def interrupting(self, step, *args):
        if step == 3:
            raise Interrupted
        return advance(self, step, *args)

    with monkeypatch.context() as patch:
        patch.setattr(reporting.Reporter, "advance", interrupting)
        with pytest.raises(Interrupted):
            run(tmp_path / "broken")
    resumed = run(tmp_path / "broken")

    for key in straight:
        if key != "train/seconds":
            np.testing.assert_array_equal(straight[key], resumed[key], err_msg=key)
    step_a, a = _final_state(tmp_path / "straight")
    step_b, b = _final_state(tmp_path / "broken")
    assert step_a == step_b == 4
    jax.tree.map(np.testing.assert_array_equal, a, b)
    lines = [
        json.loads(line)
        for line in (tmp_path / "broken" / "metrics.jsonl").read_text().splitlines()
    ]
    steps = [line["step"] for line in lines if "loss/total" in line]
    assert steps == [2, 4]


def test_a_run_leaves_metrics_a_panel_and_its_config(run, tmp_path):
    final = run(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for drive in ("train_drive", "test_drive"):
        for name in (
            *(f"depth/{m}" for m in ("abs_rel", "sq_rel", "rmse", "rmse_log")),
            *("depth/a1", "depth/a2", "depth/a3"),
            *("moving/abs_rel", "static/abs_rel"),
            *("baseline/abs_rel", "baseline/moving_abs_rel"),
            *("egomotion/translation_error", "egomotion/constant_velocity_error"),
            *("egomotion/direction_deg", "egomotion/rotation_deg"),
            *("motion/iou", "motion/iou_all_moving"),
        ):
            assert metrics[f"{drive}/{name}"] == final[f"{drive}/{name}"]
    assert metrics["train/seconds"] > 0
    assert (tmp_path / "panel.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0


def test_a_workdir_of_another_config_is_refused(run, tmp_path):
    run(tmp_path, **{"train.num_steps": 2})
    with pytest.raises(
        ValueError, match=r"optimizer.learning_rate: 0.0\d+ there, 0.5 now"
    ):
        run(tmp_path, **{"optimizer.learning_rate": 0.5})
    # How often to log is nobody's business.
    run(tmp_path, **{"train.num_steps": 2, "train.log_every": 1})


def test_a_workdir_that_cannot_be_written_is_refused(tiny_config, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"--workdir=.*file.*cannot be written"):
        checkpoint.prepare_workdir(blocked / "run", tiny_config)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(
    run, tmp_path, tiny_recordings
):
    broken = np.array(tiny_recordings[0].intrinsics)
    broken[0, 0] = 1e-30
    object.__setattr__(tiny_recordings[0], "intrinsics", broken)
    object.__setattr__(tiny_recordings[1], "intrinsics", broken * np.float32(np.nan))
    with pytest.raises(FloatingPointError, match="not finite at step 0: .*loss/"):
        run(tmp_path)
    kept = np.load(tmp_path / "non_finite_batch_0.npz")
    assert kept["frames"].shape == (8, 2, 32, 40, 3)


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    run(tmp_path, **{"train.num_steps": 2})
    for path in (tmp_path / "checkpoints" / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match="checkpoints/2 cannot be restored"):
        run(tmp_path, **{"train.num_steps": 2})


def test_recordings_without_truth_train_and_are_drawn(
    tiny_config, tiny_recordings, tmp_path, monkeypatch
):
    bare = [Recording("bare", tiny_recordings[0].frames)]
    monkeypatch.setattr(
        data, "open_data", lambda config, workdir: data.Data(bare, [], "test")
    )
    tiny_config.motion_field.intrinsics = "video"
    tiny_config.train.batch_size = 8
    tiny_config.train.num_steps = 1
    final = loop.train_and_evaluate(tiny_config, str(tmp_path))
    assert np.isfinite(final["train_drive/reconstruction/colour_error"])
    assert (tmp_path / "panel.png").exists()
