"""Tests of geometry for training: cached, and carried exactly by every transform."""

import dataclasses

import numpy as np
import pytest

from mdm_jax.files import array_cache
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.input_pipeline import clips, transforms
from mdm_jax.recording.arrays import Recording
from mdm_jax.two_view import front_end, training_pairs
from tests.two_view import corridors

FIRST = corridors.pose()
SECOND = corridors.pose(angles=(0, 0.02, 0), position=(0.1, 0, 0.8))


@pytest.fixture(scope="module")
def recording():
    cameras = [
        corridors.pose((0, 0.01 * index, 0), (0, 0, 0.5 * index)) for index in range(5)
    ]
    return Recording(
        "corridor",
        np.stack([corridors.image(camera) for camera in cameras]),
        intrinsics=corridors.INTRINSICS,
        world_from_camera=np.stack(cameras),
    )


def _sample(flow, backward, intrinsics=corridors.INTRINSICS):
    pair = front_end.front_end(flow, backward, intrinsics)
    inverse = [np.where(p.trusted, 1 / np.maximum(p.depth, 1e-6), 0) for p in pair]
    return {
        "frames": np.zeros((2, *flow.shape[:2], 3), np.uint8),
        "intrinsics": np.asarray(intrinsics, np.float32),
        "pair_inverse_depth": np.stack(inverse).astype(np.float32),
        "pair_weight": np.stack([p.weight for p in pair]),
        "pair_rotation": np.stack([p.rotation for p in pair]).astype(np.float32),
        "pair_direction": np.stack([p.pose.direction for p in pair]).astype(np.float32),
    }


def _assert_same_geometry(one, other, share=0.9):
    np.testing.assert_allclose(one["pair_rotation"], other["pair_rotation"], atol=2e-3)
    np.testing.assert_allclose(
        one["pair_direction"], other["pair_direction"], atol=2e-2
    )
    both = (one["pair_weight"] > 0) & (other["pair_weight"] > 0)
    assert both.sum() > share * (other["pair_weight"] > 0).sum()
    ratio = one["pair_inverse_depth"][both] / other["pair_inverse_depth"][both]
    assert np.median(np.abs(ratio - 1)) < 0.02


def test_a_mirrored_sample_is_the_geometry_of_mirrored_images():
    flow, backward, *_ = corridors.pair(FIRST, SECOND)
    flipped = transforms.flip_horizontal(_sample(flow, backward))
    mirrored = (f[:, ::-1] * np.array([-1, 1], np.float32) for f in (flow, backward))
    _assert_same_geometry(flipped, _sample(*mirrored, flipped["intrinsics"]))


def test_a_cropped_sample_is_the_geometry_of_cropped_images():
    flow, backward, *_ = corridors.pair(FIRST, SECOND)
    view = View(7, 5, (50, 90), (50, 90), flow.shape[:2])
    cropped = transforms.see(_sample(flow, backward), view)
    parts = (f[5:55, 7:97] for f in (flow, backward))
    _assert_same_geometry(cropped, _sample(*parts, cropped["intrinsics"]), share=0.8)


@pytest.mark.parametrize("size", [(30, 52), (90, 156)])
def test_a_resized_sample_has_the_depth_of_resized_images(size):
    flow, backward, *_ = corridors.pair(FIRST, SECOND)
    view = view_lib.stretched(flow.shape[:2], size)
    resized = transforms.see(_sample(flow, backward), view)
    depth = view_lib.resize_image(1 / corridors.look(FIRST)[0], size)
    known = resized["pair_weight"][0] > 0
    assert known.mean() > 0.5
    length = np.linalg.norm(corridors.source_from_target(FIRST, SECOND)[:3, 3])
    ratio = resized["pair_inverse_depth"][0][known] / length / depth[known]
    assert np.median(np.abs(ratio - 1)) < 0.02
    assert np.mean(np.abs(ratio - 1) < 0.15) > 0.9


def test_clips_carry_both_directions_of_each_pair(recording):
    (with_pairs,) = training_pairs.attach([recording], stride=1, max_width=640)
    table = clips.clip_table(
        [with_pairs], clip_length=3, frame_stride=1, static_threshold=0
    )
    clip = clips.ClipSource([with_pairs], table)[1]
    assert clip["pair_weight"].shape == (4, corridors.H, corridors.W)
    np.testing.assert_array_equal(clip["pair_rotation"][1], clip["pair_rotation"][0].T)
    poses = recording.world_from_camera
    for index, (target, source) in enumerate(((1, 2), (2, 1), (2, 3), (3, 2))):
        motion = corridors.source_from_target(poses[target], poses[source])
        found = clip["pair_direction"][index]
        assert corridors.angle(found, motion[:3, 3]) < 6
        known = clip["pair_weight"][index] > 0
        assert known.mean() > 0.3
        truth = corridors.look(poses[target])[0][known]
        ratio = clip["pair_inverse_depth"][index][known] * truth / 0.5
        assert np.median(np.abs(ratio - 1)) < 0.1


def test_other_strides_are_pairs_of_frames_further_apart(recording):
    (with_pairs,) = training_pairs.attach([recording], stride=2, max_width=640)
    assert len(with_pairs.pair_maps) == 3
    motion = corridors.source_from_target(*recording.world_from_camera[[0, 2]])
    assert corridors.angle(with_pairs.pair_poses[0, :, :3], motion[:3, :3]) < 0.5


def test_a_recording_shorter_than_the_stride_stays_as_it_is(recording):
    assert training_pairs.attach([recording], stride=5, max_width=640) == [recording]


def test_geometry_is_stored_beside_the_frames_and_read_again(
    recording, tmp_path, monkeypatch
):
    entry = array_cache.Entry(
        tmp_path, "corridor", "frames", "0", recording.frames.shape[1:], np.uint8
    )
    mapped = dataclasses.replace(
        recording, frames=array_cache.cached(entry, recording.frames)
    )
    (first,) = training_pairs.attach([mapped], stride=1, max_width=640)
    num_bytes = first.pair_maps.nbytes / first.pair_maps[:, :, 0].size
    assert num_bytes <= 16
    calls = []
    monkeypatch.setattr(front_end, "front_end", lambda *a, **k: calls.append(1))
    (second,) = training_pairs.attach([mapped], stride=1, max_width=640)
    assert not calls
    np.testing.assert_array_equal(first.pair_maps, second.pair_maps)
    np.testing.assert_array_equal(first.pair_poses, second.pair_poses)
