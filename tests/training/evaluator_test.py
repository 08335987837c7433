"""What a run shows of itself: the right layout, step, pairs and table rows."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import methods
from mdm_jax.structs import batch_from_arrays
from mdm_jax.training import data, optimizer, sharding
from mdm_jax.training import evaluator as evaluator_lib
from mdm_jax.training import state as state_lib


@pytest.fixture
def make_evaluator(toy_config, tiny_recordings, tmp_path):
    """Returns an evaluator of the toy method and its fresh state."""

    def make(**changes):
        toy_config.update_from_flattened_dict(changes)
        method = methods.create(toy_config)
        batch = batch_from_arrays(
            {"frames": np.zeros((1, 2, 32, 40, 3)), "intrinsics": np.eye(3)[None]}
        )
        state = state_lib.create(method, optimizer.create(toy_config), batch, 0)
        recordings = data.Data(tiny_recordings, tiny_recordings[:1], "test")
        mesh = sharding.make_mesh()
        evaluator = evaluator_lib.Evaluator(
            method, recordings, toy_config, mesh, str(tmp_path)
        )
        return evaluator, jax.device_put(state, sharding.replicated(mesh))

    return make


@pytest.mark.parametrize(("batch_size", "num_clips"), [(16, 2), (12, 12)])
def test_evaluation_batches_are_split_over_the_devices_where_they_can_be(
    make_evaluator, monkeypatch, batch_size, num_clips
):
    put, shards = jax.device_put, []

    def device_put(arrays, device):
        placed = put(arrays, device)
        if isinstance(arrays, dict):
            frames = placed["frames"].addressable_shards
            shards.append((len(frames), frames[0].data.shape[0]))
        return placed

    monkeypatch.setattr(evaluator_lib.jax, "device_put", device_put)
    evaluator, state = make_evaluator(**{"evaluation.batch_size": batch_size})
    metrics = evaluator(state, seconds=1.0)
    monkeypatch.undo()
    assert set(shards) == {(8, num_clips)}
    assert metrics["train_drive/depth/num_images"] == 8


def test_object_motion_of_an_evaluation_is_as_far_as_burnin_has_come(make_evaluator):
    evaluator, state = make_evaluator(**{"motion_field.burnin_steps": 100})
    # The toy predicts motion everywhere, once it is switched on.
    for step, everywhere in ((0, False), (100, True)):
        metrics = evaluator(
            state.replace(step=jnp.full((), step, jnp.int32)), seconds=1.0
        )
        want = metrics["test_drive/motion/iou_all_moving"] if everywhere else 0.0
        assert metrics["test_drive/motion/iou"] == pytest.approx(want)


def test_evaluation_follows_the_frame_stride_of_training(make_evaluator):
    evaluator, state = make_evaluator(
        **{"dataset.frame_stride": 4, "evaluation.max_frames": 0}
    )
    metrics = evaluator(state, seconds=1.0)
    assert metrics["train_drive/depth/num_images"] == 4
    assert metrics["test_drive/depth/num_images"] == 2


def test_a_held_out_drive_has_the_mean_camera_of_those_trained_on(make_evaluator):
    evaluator, state = make_evaluator(
        **{
            "camera.intrinsics": "video",
            "camera.num_videos": 2,
            "evaluation.max_frames": 0,
        }
    )
    state.params["focal"] = jnp.array([20.0, 50.0])
    metrics = evaluator(state, seconds=1.0)
    assert metrics["train_drive/intrinsics/fx"] == pytest.approx(35)
    assert metrics["test_drive/intrinsics/fx"] == pytest.approx(35)
    # True: 30, and fy is right.
    error = metrics["train_drive/intrinsics/focal_relative_error"]
    assert error == pytest.approx((10 / 30 + 20 / 30) / 4)
    error = metrics["test_drive/intrinsics/focal_relative_error"]
    assert error == pytest.approx(5 / 30 / 2)


def test_learned_intrinsics_are_logged_and_have_table_rows(make_evaluator, monkeypatch):
    lines = []
    monkeypatch.setattr(
        evaluator_lib.logging, "info", lambda text, *values: lines.append(text % values)
    )
    evaluator, state = make_evaluator(**{"camera.intrinsics": "video"})
    metrics = evaluator(state, seconds=1.0)
    assert lines == [
        f"{drive} drive: learned intrinsics fx 40.0, fy 30.0, cx 19.5, cy 15.5 pixels"
        for drive in ("train", "test")
    ]
    printed = []
    reporter = types.SimpleNamespace(table=lambda *table: printed.append(table))
    evaluator_lib.print_tables(metrics, reporter)
    assert [title for title, _ in printed] == ["train drive", "test drive"]
    labels = [row[0] for row in printed[1][1]]
    assert "learned fx [pixels]" in labels
    assert "focal length, relative error" in labels

    evaluator, state = make_evaluator(**{"camera.intrinsics": "given"})
    metrics = evaluator(state, seconds=1.0)
    assert not any("intrinsics" in name for name in metrics)


def test_only_the_pairs_of_the_panel_are_kept(make_evaluator, monkeypatch):
    shown = []
    monkeypatch.setattr(
        evaluator_lib,
        "panel_row",
        lambda pair, config: (
            shown.append(pair.index)
            or {"frame": (pair.recording.frames[pair.index], "image")}
        ),
    )
    monkeypatch.setattr(evaluator_lib, "PANEL_ROWS", 2)
    evaluator, state = make_evaluator(**{"evaluation.max_frames": 0})
    evaluator(state, seconds=1.0)
    # Of the pairs 0 to 4 of the only held-out drive.
    assert shown == [1, 3]


def test_a_frame_without_depth_is_drawn_all_the_same(make_evaluator, tiny_recordings):
    tiny_recordings[0].depth[:] = 0.0
    evaluator, state = make_evaluator()
    evaluator(state, seconds=1.0)
    assert evaluator.images["panel"].ndim == 3


def test_each_set_of_drives_is_measured_by_what_is_known_of_it(
    make_evaluator, tiny_recordings
):
    # Of the first, which is held out as well, depth alone; of the second, poses alone.
    unknown = dict.fromkeys(("world_from_object", "instance_labels"))
    tiny_recordings[:] = [
        dataclasses.replace(tiny_recordings[0], **unknown, world_from_camera=None),
        dataclasses.replace(tiny_recordings[1], **unknown, depth=None),
    ]
    evaluator, state = make_evaluator(**{"evaluation.max_frames": 0})
    metrics = evaluator(state, seconds=1.0)
    assert metrics["train_drive/depth/num_images"] == 5
    assert metrics["train_drive/baseline/abs_rel"] > 0
    assert metrics["train_drive/egomotion/direction_deg"] >= 0
    assert metrics["test_drive/depth/num_images"] == 5
    assert not any(key.startswith("test_drive/egomotion") for key in metrics)
    assert not any("/motion/" in key or "/moving/" in key for key in metrics)
    printed = []
    reporter = types.SimpleNamespace(table=lambda *table: printed.append(table))
    evaluator_lib.print_tables(metrics, reporter)
    labels = [row[0] for row in printed[1][1]]
    assert labels[1:3] == ["depth Abs Rel", "depth Sq Rel"]
    assert evaluator.images["panel"].ndim == 3


def test_depth_travels_through_the_loader_only_where_it_is_trained_on(
    tiny_config, tiny_recordings
):
    for weight, expected in ((0.0, False), (0.1, True)):
        tiny_config.loss_weights.depth_supervision = weight
        iterator = iter(data.make_loader(tiny_recordings, tiny_config))
        batch = next(iterator)
        iterator.close()
        assert ("depth" in batch) == expected
        assert "world_from_camera" in batch


def test_evaluation_while_training_predicts_as_a_loaded_run_does(
    make_evaluator, monkeypatch
):
    # Burn-in stands for whatever a method leaves out to save time in training.
    toy = methods.METHODS["toy"]
    as_trained = toy.create

    def for_inference(config):
        config = config.copy_and_resolve_references()
        config.motion_field.burnin_steps = 0
        return config

    def create(config):
        return as_trained(config)._replace(for_inference=for_inference)

    monkeypatch.setattr(toy, "create", create)
    evaluator, state = make_evaluator(**{"motion_field.burnin_steps": 100})
    metrics = evaluator(state.replace(step=jnp.ones((), jnp.int32)), seconds=1.0)
    want = metrics["test_drive/motion/iou_all_moving"]
    assert metrics["test_drive/motion/iou"] == pytest.approx(want)
