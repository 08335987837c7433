"""The whole run: resume is exact, workdirs are guarded, results are written."""

import itertools
import json
import types

import jax
import numpy as np
import pytest

from mdm_jax.input_pipeline import loader
from mdm_jax.recording.arrays import Recording
from mdm_jax.training import checkpoint, data, loop, reporting


def _runner(config, recordings, monkeypatch):
    """Returns a function that runs the loop on two tiny drives in memory."""
    monkeypatch.setattr(
        data,
        "open_data",
        lambda config, workdir: data.Data(recordings, recordings[:1], "test"),
    )
    config.train.batch_size = 8
    config.train.num_steps = 4
    # A checkpoint falls between two log lines.
    config.train.log_every = 2
    config.train.checkpoint_every = 3

    def run(workdir, **changes):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(changes)
        return loop.train(changed, str(workdir))

    return run


@pytest.fixture
def run(tiny_config, tiny_recordings, monkeypatch):
    """Trains method A."""
    return _runner(tiny_config, tiny_recordings, monkeypatch)


@pytest.fixture
def toy_run(toy_config, tiny_recordings, monkeypatch):
    """Trains the toy method."""
    return _runner(toy_config, tiny_recordings, monkeypatch)


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


def _lines(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_interrupted_and_resumed_equals_uninterrupted(run, tmp_path, monkeypatch):
    # A clock that ticks once with each look at it, and so at each step.
    monkeypatch.setattr(
        loop, "time", types.SimpleNamespace(monotonic=itertools.count().__next__)
    )
    straight = run(tmp_path / "straight")
    advance = reporting.Reporter.advance

    def interrupting(self, step):
        if step == 4:
            raise Interrupted
        return advance(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(reporting.Reporter, "advance", interrupting)
        with pytest.raises(Interrupted):
            run(tmp_path / "broken")
    resumed = run(tmp_path / "broken")

    assert straight["train/seconds"] == 4
    for key in straight:
        np.testing.assert_array_equal(straight[key], resumed[key], err_msg=key)
    step_a, a = _final_state(tmp_path / "straight")
    step_b, b = _final_state(tmp_path / "broken")
    assert step_a == step_b == 4
    jax.tree.map(np.testing.assert_array_equal, a, b)
    # The means of log lines too, though the run broke in the middle of one.
    lines = [
        [
            {k: v for k, v in line.items() if k not in ("time", "steps_per_second")}
            for line in _lines(tmp_path / name)
        ]
        for name in ("straight", "broken")
    ]
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0] if "loss/total" in line] == [2, 4]


def test_a_complete_run_started_again_keeps_its_time_and_its_lines(toy_run, tmp_path):
    every_other = {"train.evaluate_every": 2}
    first = toy_run(tmp_path, **every_other)
    lines = _lines(tmp_path)
    assert [line["step"] for line in lines if "train/seconds" in line] == [2, 4]
    again = toy_run(tmp_path, **every_other)
    assert again == first
    assert first["train/seconds"] > 0

    def without_time(lines):
        return [{k: v for k, v in line.items() if k != "time"} for line in lines]

    assert without_time(_lines(tmp_path)) == without_time(lines)


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


def test_a_workdir_of_another_config_is_refused(toy_run, tmp_path):
    toy_run(tmp_path, **{"train.num_steps": 2})
    with pytest.raises(ValueError, match=r"optimizer.b1: 0.9 there, 0.5 now"):
        toy_run(tmp_path, **{"optimizer.b1": 0.5})
    # How often to log is nobody's business.
    toy_run(tmp_path, **{"train.num_steps": 2, "train.log_every": 1})


def test_a_workdir_that_cannot_be_written_is_refused(tiny_config, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match=r"--workdir=.*file.*cannot be written"):
        checkpoint.prepare_workdir(blocked / "run", tiny_config)


def test_processes_check_a_workdir_without_meeting(tiny_config, tmp_path, monkeypatch):
    written = []
    write_text = checkpoint.pathlib.Path.write_text

    def recording(path, text, **options):
        written.append(path.name)
        return write_text(path, text, **options)

    monkeypatch.setattr(checkpoint.pathlib.Path, "write_text", recording)
    for process in (0, 3):
        monkeypatch.setattr(checkpoint.jax, "process_index", lambda p=process: p)
        checkpoint.prepare_workdir(tmp_path, tiny_config)
    probe, config, other_probe = written
    assert (probe, other_probe) == (".write_probe_0", ".write_probe_3")
    assert config.startswith(".config-") and config.endswith(".json")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def _break_batch(patch, number):
    """Puts NaN into the intrinsics of the batch of that number, from 0."""
    original = loader.LoaderIterator.__next__

    def broken_next(self):
        batch = original(self)
        if self.get_state()["next_index"] == number + 1:
            batch["intrinsics"] = np.full_like(batch["intrinsics"], np.nan)
        return batch

    patch.setattr(loader.LoaderIterator, "__next__", broken_next)


NEVER = {"train.log_every": 0, "train.checkpoint_every": 0}


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_loss_that_is_not_finite_can_be_resumed_from_with_another_rate(
    toy_run, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        _break_batch(patch, 2)
        # Neither log line nor checkpoint looks: the end of the run does.
        with pytest.raises(FloatingPointError, match="not finite at step 2: .*loss/"):
            toy_run(tmp_path, **NEVER)
    kept = np.load(tmp_path / "non_finite_batch_2_process_0.npz")
    assert kept["frames"].shape == (8, 2, 32, 40, 3)
    assert np.isnan(kept["intrinsics"]).all()
    step, state = _final_state(tmp_path)
    assert step == state["step"] == 2
    assert np.isfinite(state["params"]["log_depth"]).all()

    warnings = []
    monkeypatch.setattr(
        checkpoint.logging,
        "warning",
        lambda text, *values: warnings.append(text % values),
    )
    seen = []
    monkeypatch.setattr(
        loop.sharding,
        "to_devices",
        lambda mesh, arrays, original=loop.sharding.to_devices: (
            seen.append(arrays["frames"]) or original(mesh, arrays)
        ),
    )
    changes = {"optimizer.learning_rate": 1e-4, "optimizer.clip_norm": 0.0}
    final = toy_run(tmp_path, **changes)
    assert np.isfinite(final["train_drive/depth/abs_rel"])
    assert [w for w in warnings if w.startswith("Resuming")] == [
        "Resuming with a change: config.optimizer.clip_norm: 10.0 there, 0.0 now",
        "Resuming with a change: config.optimizer.learning_rate: 0.001 there, 0.0001 now",
    ]
    # The first is the example for shapes; then come the broken batch and the next.
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[1], kept["frames"])


def test_a_loss_that_is_not_finite_is_found_in_time(toy_run, tmp_path, monkeypatch):
    _break_batch(monkeypatch, 0)
    monkeypatch.setattr(loop.failure, "CHECK_EVERY", 2)
    monkeypatch.setattr(loop.evaluator_lib.Evaluator, "__call__", None)
    steps = []
    monkeypatch.setattr(
        reporting.Reporter, "advance", lambda self, step: steps.append(step)
    )
    with pytest.raises(FloatingPointError, match="not finite at step 0"):
        toy_run(tmp_path, **NEVER)
    assert steps == [1, 2]


def test_depth_that_collapses_stops_training_which_may_go_on(
    toy_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop.failure, "FLAT_AFTER", 3)
    # The toy method predicts one depth for all pixels.
    message = r"collapsed at step 4: its standard deviation is 0\.0 % .*=0 disables this check"
    with pytest.raises(loop.failure.CollapseError, match=message):
        toy_run(tmp_path, **{"train.min_depth_variation": 0.05})
    assert all(line["depth_variation"] < 1e-3 for line in _lines(tmp_path))
    final = toy_run(tmp_path, **{"train.min_depth_variation": 0.0})
    assert np.isfinite(final["train_drive/depth/abs_rel"])


def test_a_checkpoint_from_before_a_metric_was_added_can_be_resumed(
    toy_run, tmp_path, monkeypatch
):
    save = checkpoint.Checkpointer.save

    def save_less(self, state, metrics, *rest, **options):
        save(self, state, metrics.only({"loss/total"}), *rest, **options)
        if state.step == 3:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpointer, "save", save_less)
        with pytest.raises(Interrupted):
            toy_run(tmp_path / "old")
    toy_run(tmp_path / "old")
    toy_run(tmp_path / "new")
    old, new = (_lines(tmp_path / name)[1] for name in ("old", "new"))
    assert old["step"] == new["step"] == 4
    assert old["loss/total"] == new["loss/total"]
    assert old.keys() == new.keys()


def test_a_damaged_checkpoint_is_named(toy_run, tmp_path):
    toy_run(tmp_path, **{"train.num_steps": 2})
    for path in (tmp_path / "checkpoints" / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(ValueError, match="checkpoints/2 cannot be restored"):
        toy_run(tmp_path, **{"train.num_steps": 2})


def test_the_rate_logged_is_that_of_the_update_just_made(toy_run, tmp_path):
    changes = {
        "train.num_steps": 2,
        "train.log_every": 1,
        "optimizer.schedule": "cosine",
        "optimizer.learning_rate": 1.0,
    }
    toy_run(tmp_path, **changes)
    rates = [x["learning_rate"] for x in _lines(tmp_path) if "learning_rate" in x]
    assert rates == pytest.approx([1.0, 0.5])


def test_the_iterator_is_closed_at_the_end_and_after_errors(
    toy_run, tmp_path, monkeypatch
):
    made = []
    init = loader.LoaderIterator.__init__
    monkeypatch.setattr(
        loader.LoaderIterator,
        "__init__",
        lambda self, *args: made.append(self) or init(self, *args),
    )
    toy_run(tmp_path / "a", **{"train.num_steps": 1})
    monkeypatch.setattr(loop.reporting, "make_reporter", None)
    with pytest.raises(TypeError):
        toy_run(tmp_path / "b")
    assert len(made) == 2
    for iterator in made:
        with pytest.raises(ValueError, match="closed"):
            next(iterator)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"motion_field.motion_net": "paperr"},
            "config.motion_field.motion_net expects one",
        ),
        ({"optimizer.schedule": "linear"}, "config.optimizer.schedule expects one"),
        ({"augment.hue": 2.0}, r"augment.hue must be in \[0, 0.5\]"),
        ({"dataset.size": (16, 40)}, "config.dataset.size expects .* at least 32"),
        ({"train.batch_size": 12}, "batch_size=12 must be a multiple of 8"),
        ({"loss_weights.rgbb": 1.0}, r"unknown \['rgbb'\]"),
    ],
)
def test_mistakes_in_a_config_are_found_before_data_are_opened(
    tiny_config, tmp_path, monkeypatch, changes, message
):
    monkeypatch.setattr(data, "open_data", None)
    with tiny_config.unlocked():
        tiny_config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        loop.train(tiny_config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_recordings_without_truth_train_and_are_drawn(
    toy_config, tiny_recordings, tmp_path, monkeypatch
):
    bare = [Recording("bare", tiny_recordings[0].frames)]
    monkeypatch.setattr(
        data, "open_data", lambda config, workdir: data.Data(bare, [], "test")
    )
    toy_config.train.batch_size = 8
    toy_config.train.num_steps = 1
    final = loop.train(toy_config, str(tmp_path))
    assert np.isfinite(final["train_drive/reconstruction/colour_error"])
    # Nothing is known of the camera, so that it is learned, and said.
    assert final["train_drive/intrinsics/fx"] == pytest.approx(40, abs=0.1)
    assert "train_drive/intrinsics/focal_relative_error" not in final
    assert (tmp_path / "panel.png").exists()
