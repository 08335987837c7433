"""Tests of augmentation: random, but the same for a clip and for a generator."""

import ml_collections
import numpy as np
import pytest

from mdm_jax.input_pipeline import augment

HEIGHT, WIDTH = 36, 50
INTRINSICS = np.array([[41.0, 0, 22.3], [0, 43.0, 19.6], [0, 0, 1]], np.float32)
OFF = {
    "flip_probability": 0.0,
    "min_crop_scale": 1.0,
    "color_probability": 0.0,
}


def _config(**options):
    return augment.make_config({**OFF, **options})


def _sample(seed=0, num_frames=3):
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return {"frames": np.stack([frame] * num_frames), "intrinsics": INTRINSICS}


def _apply(config, sample, seed=0):
    return augment.Augment(config).random_map(sample, np.random.default_rng(seed))


def test_all_off_changes_nothing():
    sample = _sample()
    changed = _apply(_config(), sample)
    np.testing.assert_array_equal(changed["frames"], sample["frames"])
    np.testing.assert_array_equal(changed["intrinsics"], INTRINSICS)


def test_same_generator_gives_same_clip_and_another_gives_another():
    config = _config(flip_probability=0.5, min_crop_scale=0.7, color_probability=0.9)
    one, same, other = (_apply(config, _sample(), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one["frames"], same["frames"])
    np.testing.assert_array_equal(one["intrinsics"], same["intrinsics"])
    assert not np.array_equal(one["frames"], other["frames"])


def test_all_frames_of_a_clip_change_alike():
    config = _config(flip_probability=0.5, min_crop_scale=0.7, color_probability=1.0)
    for seed in range(5):
        frames = _apply(config, _sample(), seed)["frames"]
        np.testing.assert_array_equal(frames[0], frames[1])
        np.testing.assert_array_equal(frames[0], frames[2])


def test_a_dot_stays_at_the_projection_of_its_point():
    config = _config(flip_probability=0.5, min_crop_scale=0.7)
    point = np.array([0.05, -0.04, 1.3])
    x, y = (INTRINSICS @ point)[:2] / point[2]
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2)) * 255
    frames = np.broadcast_to(dot[None, ..., None], (2, HEIGHT, WIDTH, 3))
    sample = {
        "frames": frames.astype(np.uint8),
        "intrinsics": INTRINSICS,
        "depth": np.full((2, HEIGHT, WIDTH), 1.3, np.float32),
        "world_from_camera": np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
    }
    # The flip shows in the camera's motion, so give it one to the right.
    sample["world_from_camera"][1, 0, 3] = 1
    scales, flips = set(), 0
    for seed in range(20):
        changed = _apply(config, sample, seed)
        assert changed["frames"].shape == sample["frames"].shape
        matrix = changed["intrinsics"]
        side = changed["world_from_camera"][1, 0, 3]
        expected = (matrix @ (point * np.array([side, 1, 1])))[:2] / point[2]
        weight = changed["frames"][0, ..., 0].astype(np.float64)
        found = np.array([(weight * columns).sum(), (weight * rows).sum()])
        np.testing.assert_allclose(found / weight.sum(), expected, atol=0.6)
        scale = matrix[0, 0] / INTRINSICS[0, 0]
        assert 1 <= scale <= 1 / 0.7 + 0.02
        scales.add(round(float(scale), 3))
        flips += side < 0
    assert len(scales) > 10
    assert 4 <= flips <= 16


def test_flip_probability_one_always_flips():
    sample = _sample()
    changed = _apply(_config(flip_probability=1.0), sample)
    np.testing.assert_array_equal(changed["frames"], sample["frames"][:, :, ::-1])


def test_colour_strengths_of_zero_change_nothing():
    sample = _sample()
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    changed = _apply(_config(color_probability=1.0, **none), sample)
    np.testing.assert_array_equal(changed["frames"], sample["frames"])


def test_saturation_and_hue_keep_grey_and_luma():
    config = _config(brightness=0.0, contrast=0.0, saturation=0.8, hue=0.5)
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(5):
        rng = np.random.default_rng(seed)
        matrix = augment.random_color_matrix(rng, config, _sample()["frames"])
        np.testing.assert_allclose(matrix[:, :3].sum(axis=1), np.ones(3), atol=1e-9)
        np.testing.assert_allclose(luma @ matrix[:, :3], luma, atol=1e-9)
        np.testing.assert_allclose(matrix[:, 3], np.zeros(3), atol=1e-9)


def test_brightness_scales_and_contrast_keeps_the_mean_grey():
    sample = _sample()
    frames = sample["frames"]
    rng = np.random.default_rng(1)
    config = _config(brightness=0.4, contrast=0.0, saturation=0.0, hue=0.0)
    matrix = augment.random_color_matrix(rng, config, frames)
    np.testing.assert_allclose(matrix[:, :3], np.eye(3) * matrix[0, 0], atol=1e-9)
    assert 0.6 <= matrix[0, 0] <= 1.4
    config = _config(brightness=0.0, contrast=0.4, saturation=0.0, hue=0.0)
    matrix = augment.random_color_matrix(rng, config, frames)
    luma = np.array([0.299, 0.587, 0.114])
    mean = luma @ frames.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(
        matrix @ np.append(np.full(3, mean), 1), np.full(3, mean)
    )
    assert not np.allclose(matrix[0, 0], 1)


def test_config_comes_from_a_config_dict_and_rejects_what_it_does_not_know():
    options = ml_collections.ConfigDict({"flip_probability": 0.25, "hue": 0.1})
    assert augment.make_config(options) == augment.AugmentConfig(
        flip_probability=0.25, hue=0.1
    )
    with pytest.raises(ValueError, match=r"unknown augment fields \['flip'\]"):
        augment.make_config({"flip": 1.0})
    with pytest.raises(ValueError, match=r"augment.hue must be in \[0, 0.5\], got 2"):
        augment.make_config({"hue": 2})
