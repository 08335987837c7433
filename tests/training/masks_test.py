"""Tests of masks in a run: what is missing is said before any frame is decoded."""

import cv2
import jax
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import presets, sources
from mdm_jax.recording import arrays
from mdm_jax.training import data, preflight


def _check(config):
    preflight.check(config, jax.make_mesh((1,), ("data",), devices=jax.devices()[:1]))


@pytest.fixture
def config():
    config = presets.use_instance_motion(config_lib.base_config())
    config.dataset.name = "video"
    config.dataset.path = "frames"
    config.dataset.size = (32, 96)
    return config


def test_method_b_without_masks_names_the_field_and_the_command(config):
    with pytest.raises(ValueError, match=r"dataset\.masks.*-m mdm_jax\.annotate"):
        _check(config)


@pytest.mark.parametrize("name", ["kitti_raw", "cityscapes", "waymo_v1"])
def test_masks_of_raw_data_sets_are_read_and_missed_before_decoding(config, name):
    config.dataset.name = name
    if name in sources.LABELLED:
        _check(config)
    else:
        with pytest.raises(ValueError, match=rf"name={name} has none.*dataset\.masks"):
            _check(config)
        config.instance_motion.object_pose = "none"
        _check(config)
        config.instance_motion.object_pose = "conv"
    config.dataset.masks = "masks"
    _check(config)


def test_intrinsics_that_cannot_be_honoured_are_an_error(config):
    config.dataset.name, config.dataset.masks = "kitti_raw", "masks"
    config.dataset.intrinsics = "learned"
    with pytest.raises(ValueError, match="method=instance_motion needs intrinsics"):
        _check(config)
    config.dataset.name, config.dataset.intrinsics = "synthetic", "fov:60"
    with pytest.raises(ValueError, match="'fov:60': synthetic drives have exact"):
        _check(config)


@pytest.mark.parametrize("method", ["motion_field", "instance_motion"])
def test_a_recording_without_labels_is_named_before_the_first_step(config, method):
    if method == "motion_field":
        config = config_lib.base_config()
        config.motion_field.use_mask = True
    frames = np.zeros((3, 32, 96, 3), np.uint8)
    matrix = np.array([[90.0, 0, 47.5], [0, 90, 15.5], [0, 0, 1]])
    labels = np.zeros(frames.shape[:3], np.uint8)
    drives = [
        arrays.Recording("labelled", frames, matrix, instance_labels=labels),
        arrays.Recording("bare", frames, matrix),
    ]
    with pytest.raises(ValueError, match="1 of 2 .* no instance labels.*'bare'"):
        data.settle(config, data.Data(drives, [], "test"))
    data.settle(config, data.Data(drives[:1], [], "test"))


def test_masks_of_synthetic_drives_take_the_place_of_the_true_ones(config, tmp_path):
    config.dataset.name = "synthetic"
    config.dataset.num_drives = config.dataset.num_evaluation_drives = 1
    config.dataset.frames_per_drive = config.dataset.frames_per_evaluation_drive = 2
    folder = tmp_path / "synthetic_train_0" / "instances"
    folder.mkdir(parents=True)
    values = np.zeros((64, 192), np.uint8)
    values[10:30, 40:90] = 77
    for i in range(2):
        cv2.imwrite(str(folder / f"{i:06d}.png"), values)
    config.dataset.masks = str(tmp_path)
    found = data.open_data(config, str(tmp_path))
    labels = found.train[0].instance_labels
    np.testing.assert_array_equal(np.unique(labels), [0, 77])
    assert (labels[:, 5:15, 20:45] == 77).all()
    assert found.held_out[0].world_from_object is not None
