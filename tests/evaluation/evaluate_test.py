"""Measuring predictions: the truth scores perfectly, the guess by position does not."""

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.evaluation import baselines, evaluate
from mdm_jax.input_pipeline import recording as recording_lib

EVALUATION = config_lib.base_config().evaluation


def _true_pair(recording, index, scale=1.0):
    motion = recording_lib.rigid_motion(recording, index, index + 1)
    pose = recording_lib.camera_motion(recording, index, index + 1)
    return evaluate.FramePair(
        recording,
        index,
        {
            "depth": np.asarray(recording.depth[index]) * scale,
            "rotation": pose[:3, :3],
            "translation": pose[:3, 3] * scale,
            "residual": motion.residual_translation * scale,
            "warped": recording.frames[index] / 255.0,
            "valid": np.ones(recording.size, bool),
        },
    )


def _all_pairs(recordings, **options):
    return [_true_pair(r, i, **options) for r in recordings for i in range(len(r) - 1)]


def test_the_truth_in_another_unit_is_perfect(tiny_recordings):
    metrics = evaluate.measure(
        _all_pairs(tiny_recordings, scale=0.2), evaluation=EVALUATION
    )
    assert metrics["depth/abs_rel"] == pytest.approx(0, abs=1e-6)
    assert metrics["depth/a1"] == 1.0
    assert metrics["depth/scale"] == pytest.approx(5.0, rel=1e-5)
    assert metrics["depth/scale_spread"] == pytest.approx(0, abs=1e-5)
    assert metrics["depth/num_images"] == 10
    assert metrics["egomotion/translation_error"] == pytest.approx(0, abs=1e-6)
    assert metrics["egomotion/rotation_deg"] == pytest.approx(0, abs=1e-4)
    assert metrics["motion/iou"] == 1.0
    share = metrics["motion/iou_all_moving"]
    assert share == pytest.approx(10 * 12 / (32 * 40))
    assert metrics["moving/hole_rate"] == 0


def test_a_car_at_infinity_is_counted_as_a_hole(tiny_recordings):
    pairs = _all_pairs(tiny_recordings)
    for pair in pairs:
        moving = recording_lib.moving_mask(
            pair.recording, pair.index, pair.source_index
        )
        pair.prediction["depth"][moving] *= 10
    metrics = evaluate.measure(pairs, evaluation=EVALUATION)
    assert metrics["moving/hole_rate"] == 1.0
    assert metrics["moving/abs_rel"] > 3 * metrics["static/abs_rel"]


def test_the_best_fixed_map_is_the_baseline(tiny_recordings):
    maps = baselines.image_independent_maps(tiny_recordings, max_depth=80.0)
    assert set(maps) == {"constant", "median", "log_mean"}
    stacked = np.concatenate([r.depth for r in tiny_recordings])
    np.testing.assert_allclose(maps["median"], np.median(stacked, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        maps["log_mean"], np.exp(np.log(stacked).mean(axis=0)), rtol=1e-5
    )
    metrics = evaluate.measure(
        _all_pairs(tiny_recordings), evaluation=EVALUATION, baselines=maps
    )
    each = [metrics[f"baseline/{name}/depth/abs_rel"] for name in maps]
    assert metrics["baseline/abs_rel"] == min(each)
    assert metrics["baseline/constant/depth/abs_rel"] == max(each)
    assert metrics["baseline/moving_abs_rel"] == min(
        metrics[f"baseline/{name}/moving/abs_rel"] for name in maps
    )


def test_pixels_without_depth_are_left_out_of_the_baselines(tiny_recordings):
    first = np.array(tiny_recordings[0].depth)
    first[:, 0, 0] = 0.0
    second = np.array(tiny_recordings[1].depth)
    second[:, 0, 0] = 0.0
    recordings = [
        recording_lib.Recording(
            "a", tiny_recordings[0].frames, depth=first.astype(np.float32)
        ),
        recording_lib.Recording(
            "b", tiny_recordings[1].frames, depth=second.astype(np.float32)
        ),
    ]
    maps = baselines.image_independent_maps(recordings, max_depth=80.0)
    assert all(np.isfinite(map_).all() and (map_ > 0).all() for map_ in maps.values())


def test_reconstruction_compares_warped_and_unwarped_frames(tiny_recordings):
    pairs = _all_pairs(tiny_recordings)
    metrics = evaluate.measure_reconstruction(pairs)
    assert metrics["reconstruction/colour_error"] == 0
    assert metrics["reconstruction/unwarped_colour_error"] > 0.1


def test_pairs_are_spread_evenly_and_batches_filled(tiny_recordings):
    calls = []

    def predict(variables, arrays):
        calls.append(arrays["frames"].shape)
        return {"depth": arrays["frames"][:, 0, ..., 0].astype(np.float32)}

    pairs = list(
        evaluate.predict_pairs(
            predict, None, tiny_recordings, batch_size=4, max_frames=5
        )
    )
    assert [(p.recording.name, p.index) for p in pairs] == [
        ("first", 0),
        ("first", 2),
        ("first", 4),
        ("second", 2),
        ("second", 4),
    ]
    assert calls == [(4, 2, 32, 40, 3)] * 2
    np.testing.assert_array_equal(
        pairs[3].prediction["depth"], tiny_recordings[1].frames[2, ..., 0]
    )
