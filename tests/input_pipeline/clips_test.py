"""Tests of clips: which exist, which are dropped, and what they hold."""

import pickle

import cloudpickle
import numpy as np
import pytest

from mdm_jax.files import array_cache
from mdm_jax.input_pipeline import clips
from mdm_jax.recording.arrays import Recording

HEIGHT, WIDTH = 5, 7
INTRINSICS = np.array([[6.0, 0, 3.1], [0, 6.5, 2.2], [0, 0, 1]], np.float32)


def _recording(levels, name="drive", **fields):
    """Frames of one grey level each, so that differences are known."""
    frames = np.zeros((len(levels), HEIGHT, WIDTH, 3), np.uint8)
    frames += np.array(levels, np.uint8)[:, None, None, None]
    return Recording(name=name, frames=frames, **{"intrinsics": INTRINSICS, **fields})


def _table(recordings, **options):
    return clips.clip_table(recordings, **{"clip_length": 2, **options})


def test_a_clip_starts_at_every_frame_that_leaves_room_for_it():
    recordings = [_recording(range(0, 80, 10)), _recording(range(0, 50, 10))]
    table = _table(recordings, clip_length=3, frame_stride=2)
    assert table.index.dtype == np.int32
    expected = [[0, 0], [0, 1], [0, 2], [0, 3], [1, 0]]
    np.testing.assert_array_equal(table.index, expected)
    assert (table.num_static, table.num_short) == (0, 0)


def test_static_clips_are_found_like_by_a_slow_loop():
    rng = np.random.default_rng(0)
    levels = np.cumsum(rng.choice([0, 2, 3, 9], 40))
    stride, length, threshold = 2, 3, 0.01
    kept = []
    for first in range(40 - (length - 1) * stride):
        steps = [levels[first + stride * i] for i in range(length)]
        if min(abs(np.diff(steps))) / 255 >= threshold:
            kept.append([0, first])
    table = _table(
        [_recording(levels)],
        clip_length=length,
        frame_stride=stride,
        static_threshold=threshold,
    )
    np.testing.assert_array_equal(table.index, kept)
    assert 0 < table.num_static == 40 - 4 - len(kept)


def test_change_is_the_mean_absolute_difference_of_colours():
    frames = np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)
    frames[1, 0, 0, 0] = 255
    frames[0, 1, 1, 2] = 255  # the sign must not cancel
    change = 2 / (HEIGHT * WIDTH * 3)
    recording = Recording(name="two", frames=frames, intrinsics=INTRINSICS)
    assert len(_table([recording], static_threshold=change * 0.999).index) == 1
    with pytest.raises(ValueError, match="static"):
        _table([recording], static_threshold=change * 1.001)


def test_threshold_of_zero_keeps_standing_frames():
    table = _table([_recording([7, 7, 7])], static_threshold=0.0)
    assert len(table.index) == 2


def test_all_static_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="all 2 clips of drive are static.*stride"):
        _table([_recording([7, 7, 7])])


def test_too_few_frames_is_an_error_and_one_short_recording_is_not():
    short, long = _recording([0, 9, 18], "short"), _recording(range(0, 90, 9), "long")
    with pytest.raises(ValueError, match="spans 4 frames.*short, has 3"):
        _table([short], clip_length=4)
    table = _table([short, long], clip_length=4)
    assert table.num_short == 1
    assert set(table.index[:, 0]) == {1}


def test_recordings_of_different_sizes_are_an_error_naming_both():
    one = _recording([0, 9], "one")
    other = Recording(name="other", frames=np.zeros((2, 4, 7, 3), np.uint8))
    with pytest.raises(ValueError, match=r"one has \(5, 7\) and other \(4, 7\)"):
        clips.ClipSource([one, other], _table([one]))


def test_source_gives_the_frames_of_the_table_with_all_that_is_known():
    count = 6
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = np.arange(count)
    recording = _recording(
        range(0, 10 * count, 10),
        depth=np.full((count, HEIGHT, WIDTH), 3.0, np.float32),
        instance_labels=np.ones((count, HEIGHT, WIDTH), np.uint8),
        world_from_camera=poses,
    )
    recordings = [_recording([0, 9]), recording]
    table = _table(recordings, frame_stride=1)
    source = clips.ClipSource(recordings, table)
    clip = source[3]
    # The first recording knows less; a batch needs the same keys from all.
    assert set(clip) == {"frames", "intrinsics", "video_index"}
    assert clip["video_index"] == 1 and clip["video_index"].dtype == np.int32

    table = _table([recording], clip_length=3, frame_stride=2)
    clip = clips.ClipSource([recording], table)[1]
    assert clip["frames"].shape == (3, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(clip["frames"][:, 0, 0, 0], [10, 30, 50])
    np.testing.assert_array_equal(clip["world_from_camera"][:, 2, 3], [1, 3, 5])
    types = {key: value.dtype for key, value in clip.items()}
    assert types == {
        "frames": np.uint8,
        "intrinsics": np.float32,
        "video_index": np.int32,
        "depth": np.float32,
        "instance_labels": np.uint8,
        "world_from_camera": np.float32,
    }


def test_intrinsics_to_be_learned_start_at_the_mean_side_and_the_centre():
    recording = _recording([0, 9], intrinsics=None)
    clip = clips.ClipSource([recording], _table([recording]))[0]
    expected = [[6, 0, 3], [0, 6, 2], [0, 0, 1]]
    np.testing.assert_array_equal(clip["intrinsics"], np.array(expected, np.float32))


def test_a_clip_is_a_copy_that_may_be_changed():
    recording = _recording([0, 9, 18])
    source = clips.ClipSource([recording], _table([recording]))
    source[0]["frames"][:] = 200
    np.testing.assert_array_equal(source[0]["frames"][1], recording.frames[1])


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_pickle_of_a_memory_mapped_source_is_small_and_reads_the_same(
    tmp_path, pickler
):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (300, 16, 24, 3)).astype(np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    recording = Recording(name="mapped", frames=mapped, intrinsics=None)
    source = clips.ClipSource([recording], _table([recording]))
    data = pickler.dumps(source)
    assert len(data) < 20_000 < frames.nbytes
    again = pickle.loads(data)
    for number in (0, 298):
        np.testing.assert_array_equal(again[number]["frames"], source[number]["frames"])


def test_a_view_of_a_memory_map_is_not_taken_for_the_whole_file(tmp_path):
    np.save(tmp_path / "values.npy", np.arange(20, dtype=np.uint8))
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    for array in (mapped, mapped[3:9], mapped[::2], mapped[::-1]):
        place = pickle.loads(pickle.dumps(array_cache.detach(array)))
        np.testing.assert_array_equal(array_cache.attach(place), array)
    assert isinstance(array_cache.detach(mapped), array_cache.MappedFile)
