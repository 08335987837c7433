"""Motion of pixels: the truth has no error in any unit, a slow loop agrees on the rest."""

import math

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.evaluation.measures import scene_motion
from mdm_jax.recording import true_motion

EVALUATION = config_lib.base_config().evaluation


def _result(measure, pairs):
    for pair in pairs:
        measure.add(pair)
    return measure.result()


@pytest.mark.parametrize("stride", [1, 2])
def test_true_motion_in_another_unit_has_no_error(true_pairs, tiny_recordings, stride):
    pairs = true_pairs(tiny_recordings, scale=0.2, stride=stride)
    flow = _result(scene_motion.Flow(EVALUATION), pairs)
    for part in ("", "moving_", "static_"):
        assert flow[f"optical_flow/{part}epe"] == pytest.approx(0, abs=1e-4)
        assert flow[f"scene_flow/{part}epe_m"] == pytest.approx(0, abs=1e-5)
        assert flow[f"optical_flow/{part}outlier_rate"] == 0
        assert flow[f"scene_flow/{part}outlier_rate"] == 0
    assert flow["optical_flow/behind_rate"] == 0
    motion = _result(scene_motion.Segmentation(EVALUATION, detailed=True), pairs)
    assert motion["motion/f1"] == motion["motion/best_iou"] == 1


def test_scores_over_thresholds_are_in_units_of_the_mean_step(
    true_pairs, tiny_recordings
):
    segmentation = scene_motion.Segmentation(EVALUATION, detailed=True)
    flat = _result(segmentation, true_pairs(tiny_recordings))
    assert (flat["motion_at_0.5/f1"], flat["motion_at_1/f1"]) == (1, 0)
    # The object moves 0.3 m with each step of 0.4 m; nothing is found above that.
    for row in segmentation.by_threshold():
        right = 1.0 if row["threshold"] < 0.75 else 0.0
        assert row["iou"] == row["f1"] == right


def _change(recording, index, maps):
    rng = np.random.default_rng(index)
    maps["depth"] = maps["depth"] * rng.uniform(0.7, 1.4, maps["depth"].shape)
    maps["translation"] = maps["translation"] + rng.normal(0, 0.05, 3)
    maps["object_motion"] = maps["object_motion"] + rng.normal(
        0, 0.02, maps["object_motion"].shape
    )
    maps["intrinsics"] = maps["intrinsics"] * np.array([[1.1], [0.9], [1.0]])


def test_flow_errors_equal_a_slow_loop(true_pairs, tiny_recordings):
    pairs = true_pairs(tiny_recordings[:1], change=_change)
    got = _result(scene_motion.Flow(EVALUATION), pairs)
    image, space, image_outliers, space_outliers = [], [], [], []
    for pair in pairs:
        recording, maps = pair.recording, pair.prediction
        true = true_motion.rigid_motion(recording, pair.index, pair.source_index)
        scale = np.median(recording.depth[pair.index]) / np.median(maps["depth"])
        k_true, k = recording.intrinsics.astype(float), maps["intrinsics"]
        for y in range(32):
            for x in range(40):
                pixel = np.array([x, y, 1.0])
                a = recording.depth[pair.index, y, x] * np.linalg.solve(k_true, pixel)
                b = true.points_source[y, x]
                p = maps["depth"][y, x] * np.linalg.solve(k, pixel)
                q = (
                    maps["rotation"] @ p
                    + maps["translation"]
                    + maps["object_motion"][y, x]
                )
                error = math.dist(scale * (q - p), b - a)
                space.append(error)
                far = error > 0.05 * np.linalg.norm(b - a)
                space_outliers.append(error > 0.05 and far)
                flow = [
                    (m @ v)[:2] / v[2] - pixel[:2] for m, v in ((k, q), (k_true, b))
                ]
                image.append(math.dist(*flow))
                far = image[-1] > 0.05 * np.linalg.norm(flow[1])
                image_outliers.append(image[-1] > 3 and far)
    assert got["scene_flow/epe_m"] == pytest.approx(np.mean(space), rel=1e-5)
    assert got["optical_flow/epe"] == pytest.approx(np.mean(image), rel=1e-5)
    assert got["scene_flow/outlier_rate"] == pytest.approx(np.mean(space_outliers))
    assert got["optical_flow/outlier_rate"] == pytest.approx(np.mean(image_outliers))
    assert 0 < np.mean(image_outliers) < np.mean(space_outliers)


def test_what_is_predicted_behind_the_camera_is_off_by_the_diagonal(
    true_pairs, tiny_recordings
):
    def backwards(recording, index, maps):
        maps["object_motion"][3:5, 7, 2] = -1000.0

    pairs = true_pairs(tiny_recordings, change=backwards)
    got = _result(scene_motion.Flow(EVALUATION), pairs)
    share = 2 / (32 * 40)
    assert got["optical_flow/behind_rate"] == pytest.approx(share)
    assert got["optical_flow/epe"] == pytest.approx(
        share * math.hypot(32, 40), abs=1e-4
    )


def test_frames_without_depth_have_no_flow(true_pairs, tiny_recordings):
    pairs = true_pairs(tiny_recordings[:1])
    truth = [pairs[i] for i in range(len(pairs))]
    tiny_recordings[0].depth[:] = 0.0
    assert _result(scene_motion.Flow(EVALUATION), truth) == {}


def test_the_best_threshold_is_the_best_of_those_measured(true_pairs, tiny_recordings):
    def slower(recording, index, maps):
        maps["object_motion"] = maps["object_motion"] * (0.2 + 0.2 * index)

    segmentation = scene_motion.Segmentation(EVALUATION, detailed=True)
    result = _result(segmentation, true_pairs(tiny_recordings, change=slower))
    rows = segmentation.by_threshold()
    for name in ("iou", "f1"):
        best = max(row[name] for row in rows)
        at = {row["threshold"] for row in rows if row[name] == best}
        assert result[f"motion/best_{name}"] == best
        assert result[f"motion/best_{name}_threshold"] in at
    assert len({row["iou"] for row in rows}) > 2
