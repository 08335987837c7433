"""Which pairs are predicted, with what they are predicted, and image-independent maps."""

import dataclasses

import numpy as np
import pytest

from mdm_jax.evaluation import baselines
from mdm_jax.evaluation import pairs as pairs_lib
from mdm_jax.recording import arrays as recording_lib


@pytest.fixture
def predict():
    """Predicts the red channel of both frames; remembers what it was given."""

    def predict(arrays):
        predict.calls.append(arrays)
        frames = arrays["frames"][..., 0].astype(np.float32)
        return {"depth": frames[:, 0], "source": frames[:, 1]}

    predict.calls = []
    return predict


def test_pairs_are_spread_evenly_and_batches_filled(tiny_recordings, predict):
    chosen = pairs_lib.frame_pairs(tiny_recordings, max_frames=5)
    assert chosen == [(0, 0), (0, 2), (0, 4), (1, 2), (1, 4)]
    pairs = list(
        pairs_lib.PredictedPairs(predict, tiny_recordings, chosen, batch_size=4)
    )
    assert [(p.recording.name, p.index, p.source_index) for p in pairs] == [
        ("first", 0, 1),
        ("first", 2, 3),
        ("first", 4, 5),
        ("second", 2, 3),
        ("second", 4, 5),
    ]
    assert [call["frames"].shape for call in predict.calls] == [(4, 2, 32, 40, 3)] * 2
    np.testing.assert_array_equal(
        pairs[3].prediction["depth"], tiny_recordings[1].frames[2, ..., 0]
    )


def test_pairs_are_a_frame_stride_apart(tiny_recordings, predict):
    chosen = pairs_lib.frame_pairs(tiny_recordings[:1], frame_stride=3)
    assert chosen == [(0, 0), (0, 1), (0, 2)]
    pairs = list(
        pairs_lib.PredictedPairs(
            predict, tiny_recordings[:1], chosen, batch_size=2, frame_stride=3
        )
    )
    assert [(p.index, p.source_index) for p in pairs] == [(0, 3), (1, 4), (2, 5)]
    for pair in pairs:
        np.testing.assert_array_equal(
            pair.prediction["source"], pair.recording.frames[pair.source_index, ..., 0]
        )
    assert predict.calls[0]["instance_labels"].shape == (2, 2, 32, 40)


def test_a_recording_without_labels_leaves_those_of_the_others(
    tiny_recordings, predict
):
    first, second = tiny_recordings[:2]
    labels = np.full((len(first), *first.size), 7, np.uint8)
    first = dataclasses.replace(first, instance_labels=labels)
    second = dataclasses.replace(second, instance_labels=None)
    list(
        pairs_lib.PredictedPairs(
            predict, [first, second], [(0, 0), (1, 0)], batch_size=2
        )
    )
    seen = predict.calls[0]["instance_labels"]
    assert [np.unique(one).tolist() for one in seen] == [[7], [0]]


@pytest.mark.parametrize(("held_out", "index"), [(False, [0, 1]), (True, [-1, -1])])
def test_held_out_recordings_are_none_of_those_trained_on(
    tiny_recordings, predict, held_out, index
):
    pairs = [(0, 0), (1, 0)]
    list(
        pairs_lib.PredictedPairs(
            predict, tiny_recordings, pairs, batch_size=2, held_out=held_out
        )
    )
    assert predict.calls[0]["video_index"].tolist() == index


def test_fixed_maps_are_medians_and_means_of_the_training_drives(tiny_recordings):
    maps = baselines.image_independent_maps(tiny_recordings, max_depth=80.0)
    assert set(maps) == {"constant", "median", "log_mean"}
    stacked = np.concatenate([r.depth for r in tiny_recordings])
    np.testing.assert_allclose(maps["median"], np.median(stacked, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        maps["log_mean"], np.exp(np.log(stacked).mean(axis=0)), rtol=1e-5
    )


def test_unknown_and_far_depth_is_left_out_of_the_fixed_maps(tiny_recordings):
    depth = [np.array(r.depth) for r in tiny_recordings]
    for one in depth:
        one[:, 0, 0] = 0.0
        one[:, 0, 1] = 1000.0  # the sky, always
        one[0, 0, 2] = 1000.0  # and once
    recordings = [
        recording_lib.Recording(r.name, r.frames, depth=d)
        for r, d in zip(tiny_recordings, depth, strict=True)
    ]
    maps = baselines.image_independent_maps(recordings, max_depth=80.0)
    seen = np.concatenate(depth)
    overall = np.median(seen[(seen > 0) & (seen < 80)])
    for map_ in maps.values():
        np.testing.assert_allclose(map_[0, :2], overall, rtol=1e-6)
    rest = np.concatenate([d[1:, 0, 2] for d in depth])
    assert maps["median"][0, 2] == pytest.approx(np.median(rest), rel=1e-6)
    assert maps["log_mean"][0, 2] == pytest.approx(
        np.exp(np.log(rest).mean()), rel=1e-5
    )
    assert baselines.image_independent_maps(recordings, max_depth=1e-3) == {}


def test_drives_without_depth_are_passed_over_by_the_fixed_maps(tiny_recordings):
    first, second = tiny_recordings
    unknown = dataclasses.replace(second, depth=None)
    maps = baselines.image_independent_maps([unknown, first], max_depth=80.0)
    np.testing.assert_allclose(
        maps["median"], np.median(first.depth, axis=0), rtol=1e-6
    )
    assert baselines.image_independent_maps([unknown], max_depth=80.0) == {}


def test_of_very_many_frames_a_share_makes_the_fixed_maps(tiny_recordings, monkeypatch):
    first, _ = tiny_recordings
    monkeypatch.setattr(baselines, "_MAX_VALUES", 2 * first.depth[0].size)
    maps = baselines.image_independent_maps([first], max_depth=80.0)
    share = np.median(first.depth[[0, 3]], axis=0)
    np.testing.assert_allclose(maps["median"], share, rtol=1e-6)
