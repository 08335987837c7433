"""A run on drives: each pair is predicted once, and what is known is measured."""

import dataclasses

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.evaluation import drives, protocols
from mdm_jax.evaluation.report import tables

EVALUATION = config_lib.base_config().evaluation
PLAIN = protocols.get("synthetic")


def _without_objects(recordings):
    return [
        dataclasses.replace(one, instance_labels=None, world_from_object=None)
        for one in recordings
    ]


def test_the_truth_in_another_unit_is_perfect_in_every_metric(
    true_pairs, tiny_recordings
):
    pairs = true_pairs(tiny_recordings)
    result = drives.measure(PLAIN, pairs, EVALUATION)
    assert pairs.calls == [4, 4, 4]
    for key, value in {
        "depth/abs_rel": 0,
        "depth/a1": 1,
        "depth/num_images": 10,
        "depth/scale": 5,
        "moving/abs_rel": 0,
        "static/abs_rel": 0,
        "moving/hole_rate": 0,
        "egomotion/translation_error": 0,
        "egomotion/direction_deg": 0,
        "motion/iou": 1,
        "motion/f1": 1,
        "objects/direction_deg": 0,
        "objects/magnitude_error": 0,
        "scene_flow/epe_m": 0,
        "optical_flow/epe": 0,
        "reconstruction/colour_error": 0,
    }.items():
        assert result.metrics[key] == pytest.approx(value, abs=2e-2), key
    assert [row["name"] for row in result.depth.rows][:2] == [
        "first, frame 0",
        "first, frame 1",
    ]
    labels = [row[0] for row in tables.drives_table(result.metrics)]
    assert {"motion F1", "object direction [deg]", "motion IoU"} < set(labels)


def test_depth_is_measured_as_the_protocol_says(true_pairs, tiny_recordings):
    def drifting(recording, index, maps):
        maps["depth"] = maps["depth"] * (1 + 0.1 * index)

    pairs = true_pairs(tiny_recordings, change=drifting)
    errors = {
        scaling: drives.measure(
            dataclasses.replace(PLAIN, scaling=scaling), pairs, EVALUATION
        ).metrics["depth/abs_rel"]
        for scaling in protocols.SCALINGS
    }
    factors = 1 + 0.1 * np.tile(np.arange(5), 2)
    common = np.mean(np.abs(factors / np.median(factors) - 1))
    assert errors["per_image"] == pytest.approx(0, abs=1e-6)
    assert errors["global"] == pytest.approx(common, rel=1e-3)
    assert errors["none"] == pytest.approx(np.mean(1 - 0.2 * factors), rel=1e-5)


def test_only_what_is_known_is_measured(true_pairs, tiny_recordings):
    pairs = true_pairs(_without_objects(tiny_recordings))
    result = drives.measure(PLAIN, pairs, EVALUATION)
    parts = {key.split("/")[0] for key in result.metrics}
    assert {"depth", "egomotion", "reconstruction"} <= parts
    assert not parts & {"motion", "moving", "objects", "optical_flow", "scene_flow"}
    assert result.by_threshold == []


def test_pairs_can_be_read_again_in_any_order(true_pairs, tiny_recordings):
    pairs = true_pairs(tiny_recordings)
    assert len(list(pairs)) == len(pairs) == 10
    for i in (9, 0, 1):
        recording, index = tiny_recordings[i // 5], i % 5
        pair = pairs[i]
        assert (pair.recording, pair.index) == (recording, index)
        got = drives.depth_inputs(pairs).predictions.read(i)
        np.testing.assert_allclose(got, 0.2 * recording.depth[index], rtol=1e-6)
        images = drives.maps_of(pairs, lambda pair: pair.recording.frames[pair.index])
        np.testing.assert_array_equal(images.read(i), recording.frames[index])
    assert pairs.calls == [4, 4, 4, 4]
    with pytest.raises(IndexError):
        pairs[10]


def test_baselines_are_measured_alike(true_pairs, tiny_recordings):
    maps = {"flat": np.full((32, 40), 9.0)}
    result = drives.measure(
        PLAIN, true_pairs(tiny_recordings), EVALUATION, baselines=maps
    )
    assert result.metrics["baseline/abs_rel"] > 0.1
