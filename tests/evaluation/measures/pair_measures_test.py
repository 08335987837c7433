"""Measuring predictions: the truth scores perfectly, the guess by position does not."""

import dataclasses

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.evaluation import baselines, drives
from mdm_jax.evaluation import pairs as pairs_lib
from mdm_jax.evaluation.measures import pair_measures, scene_motion
from mdm_jax.recording import true_motion

EVALUATION = config_lib.base_config().evaluation


def _true_pair(recording, index, stride=1, scale=1.0):
    motion = true_motion.rigid_motion(recording, index, index + stride)
    pose = true_motion.camera_motion(recording, index, index + stride)
    return pairs_lib.FramePair(
        recording,
        index,
        index + stride,
        {
            "depth": np.asarray(recording.depth[index]) * scale,
            "rotation": pose[:3, :3],
            "translation": pose[:3, 3] * scale,
            "object_motion": motion.residual_translation * scale,
            "warped": recording.frames[index] / 255.0,
            "valid": np.ones(recording.size, bool),
            "intrinsics": recording.intrinsics,
        },
    )


def _all_pairs(recordings, stride=1, **options):
    return [
        _true_pair(r, i, stride, **options)
        for r in recordings
        for i in range(len(r) - stride)
    ]


def _result(measure, pairs):
    for pair in pairs:
        measure.add(pair)
    return measure.result()


def _truth(pairs, evaluation=EVALUATION, maps=None):
    """Returns everything measured against the truth."""
    measures = (
        pair_measures.Depth(evaluation, maps),
        pair_measures.Egomotion(),
        scene_motion.Segmentation(evaluation),
    )
    return {k: v for m in measures for k, v in _result(m, pairs).items()}


@pytest.mark.parametrize("stride", [1, 2])
def test_the_truth_in_another_unit_is_perfect(tiny_recordings, stride):
    metrics = _truth(_all_pairs(tiny_recordings, stride, scale=0.2))
    assert metrics["depth/abs_rel"] == pytest.approx(0, abs=1e-6)
    assert metrics["depth/a1"] == 1.0
    assert metrics["depth/scale"] == pytest.approx(5.0, rel=1e-5)
    assert metrics["depth/scale_spread"] == pytest.approx(0, abs=1e-5)
    assert metrics["depth/num_images"] == 2 * (6 - stride)
    assert metrics["egomotion/translation_error"] == pytest.approx(0, abs=1e-6)
    assert metrics["egomotion/rotation_deg"] == pytest.approx(0, abs=1e-4)
    assert metrics["motion/iou"] == 1.0
    share = metrics["motion/iou_all_moving"]
    assert share == pytest.approx(10 * 12 / (32 * 40))
    assert metrics["moving/hole_rate"] == 0


def test_motion_is_measured_in_units_of_the_mean_predicted_step(tiny_recordings):
    pairs = _all_pairs(tiny_recordings)
    for pair, factor in zip(pairs, (0.5, 1.5) * 5, strict=True):
        pair.prediction["translation"][:] *= factor
    # The object moves 0.3 m with each step of 0.4 m on average.
    for share, iou in ((0.74, 1.0), (0.76, 0.0)):
        evaluation = EVALUATION.copy_and_resolve_references()
        evaluation.motion_threshold = share
        assert _truth(pairs, evaluation)["motion/iou"] == iou


def test_a_car_at_infinity_is_counted_as_a_hole(tiny_recordings):
    pairs = _all_pairs(tiny_recordings)
    for pair in pairs:
        moving = true_motion.moving_mask(pair.recording, pair.index, pair.source_index)
        pair.prediction["depth"][moving] *= 10
    metrics = _truth(pairs)
    assert metrics["moving/hole_rate"] == 1.0
    assert metrics["moving/abs_rel"] > 3 * metrics["static/abs_rel"]


def test_an_object_that_is_gone_in_the_other_frame_is_neither_moving_nor_static(
    tiny_recordings,
):
    pairs = _all_pairs(tiny_recordings)
    for pair in pairs:
        car = np.asarray(pair.recording.instance_labels[pair.index]) > 0
        pair.prediction["depth"][car] *= 1.5
    seen = _truth(pairs)
    for one in tiny_recordings:
        one.world_from_object[:] = np.nan
    gone = _truth([dataclasses.replace(pair) for pair in pairs])
    assert gone["depth/abs_rel"] == seen["depth/abs_rel"]
    assert gone["static/abs_rel"] == seen["static/abs_rel"] < seen["moving/abs_rel"]
    assert np.isnan(gone.get("moving/abs_rel", np.nan))


def test_the_best_fixed_map_is_the_baseline(tiny_recordings):
    maps = baselines.image_independent_maps(tiny_recordings, max_depth=80.0)
    metrics = _truth(_all_pairs(tiny_recordings), maps=maps)
    each = [metrics[f"baseline/{name}/depth/abs_rel"] for name in maps]
    assert metrics["baseline/abs_rel"] == min(each)
    assert metrics["baseline/constant/depth/abs_rel"] == max(each)
    assert metrics["baseline/moving_abs_rel"] == min(
        metrics[f"baseline/{name}/moving/abs_rel"] for name in maps
    )


def test_frames_without_depth_still_have_egomotion(tiny_recordings):
    pairs = _all_pairs(tiny_recordings[:1])
    for pair in pairs:
        pair.recording.depth[:] = 0.0
    metrics = _truth(pairs)
    assert metrics["depth/num_images"] == 0
    assert metrics["egomotion/translation_error"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("stride", [1, 3])
def test_reconstruction_compares_warped_and_unwarped_frames(tiny_recordings, stride):
    pairs = _all_pairs(tiny_recordings, stride)
    metrics = _result(pair_measures.Reconstruction(), pairs)
    assert metrics["reconstruction/colour_error"] == pytest.approx(0, abs=1e-7)
    unwarped = np.mean(
        [
            np.abs(r.frames[stride:] / 255.0 - r.frames[:-stride] / 255.0).mean()
            for r in tiny_recordings
        ]
    )
    got = metrics["reconstruction/unwarped_colour_error"]
    assert got == pytest.approx(unwarped, rel=1e-5)


def test_learned_intrinsics_are_means_with_their_error(tiny_recordings):
    pairs = _all_pairs(tiny_recordings)
    for pair, factor in zip(pairs, (1.0, 1.2) * 5, strict=True):
        learned = pair.recording.intrinsics * np.float32(factor)
        pair.prediction["intrinsics"] = learned
    metrics = _result(pair_measures.LearnedIntrinsics(), pairs)
    assert metrics == pytest.approx(
        {
            "intrinsics/fx": 33.0,
            "intrinsics/fy": 33.0,
            "intrinsics/cx": 1.1 * 19.5,
            "intrinsics/cy": 1.1 * 15.5,
            "intrinsics/focal_relative_error": 0.1,
        }
    )


def test_the_memory_of_measures_does_not_grow_by_maps(tiny_recordings):
    maps = baselines.image_independent_maps(tiny_recordings, max_depth=80.0)
    folded = (
        pair_measures.Depth(EVALUATION, maps),
        pair_measures.Egomotion(),
        scene_motion.Segmentation(EVALUATION),
        pair_measures.Reconstruction(),
        pair_measures.LearnedIntrinsics(),
    )

    def num_bytes(value):
        if isinstance(value, np.ndarray):
            return value.nbytes if value.base is None else value.base.nbytes
        if isinstance(value, dict):
            return sum(map(num_bytes, value.values()))
        if isinstance(value, list | tuple):
            return sum(map(num_bytes, value))
        return num_bytes(vars(value)) if hasattr(value, "__dict__") else 0

    before = num_bytes(folded)
    pairs = _all_pairs(tiny_recordings)
    for pair in pairs:
        for measure in folded:
            measure.add(pair)
    assert (num_bytes(folded) - before) / len(pairs) < 2000


def test_only_what_is_known_of_a_recording_is_measured(tiny_recordings):
    pairs = _all_pairs(tiny_recordings[:1], scale=0.5)

    def measured(**unknown):
        changed = dataclasses.replace(
            tiny_recordings[0], **dict.fromkeys(unknown.pop("unknown"))
        )
        return _truth([dataclasses.replace(pair, recording=changed) for pair in pairs])

    whole = _truth(pairs)
    no_objects = measured(unknown=["world_from_object", "instance_labels"])
    kinds = {key.split("/")[0] for key in no_objects}
    assert kinds == {"depth", "egomotion"}
    no_poses = measured(unknown=["world_from_object", "world_from_camera"])
    kinds = {key.split("/")[0] for key in no_poses}
    assert kinds == {"depth", "instances", "background"}
    no_depth = measured(unknown=["world_from_object", "depth"])
    assert no_depth["depth/num_images"] == 0
    assert {key for key in no_depth if not key.startswith("egomotion/")} == {
        "depth/num_images"
    }
    for key in set(whole) & (set(no_objects) | set(no_poses)):
        expected = no_objects.get(key, no_poses.get(key))
        assert whole[key] == pytest.approx(expected), key


def test_instances_and_background_are_measured_apart(tiny_recordings):
    recording = dataclasses.replace(tiny_recordings[0], world_from_object=None)
    pairs = [
        dataclasses.replace(pair, recording=recording)
        for pair in _all_pairs(tiny_recordings[:1])
    ]
    for pair in pairs:
        on_instance = recording.instance_labels[pair.index] > 0
        pair.prediction["depth"][on_instance] *= 1.5
    metrics = _truth(pairs)
    # The median scale s is a little too small; then s and 1.5 s stand before the truth.
    background, instances = (
        metrics[f"{part}/abs_rel"] for part in ("background", "instances")
    )
    assert 0 < background < 0.1
    assert 1 + instances == pytest.approx(1.5 * (1 - background))


def test_a_recording_of_which_nothing_is_known_has_no_truth(tiny_recordings):
    recording = dataclasses.replace(
        tiny_recordings[0], depth=None, world_from_camera=None
    )
    (measure,) = drives.measures([recording], EVALUATION)
    assert isinstance(measure, pair_measures.Reconstruction)
    assert len(drives.measures(tiny_recordings, EVALUATION)) == 5
    assert not pairs_lib.knows_object_motion(recording)
    assert pairs_lib.knows_object_motion(tiny_recordings[0])
