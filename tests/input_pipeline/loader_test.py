"""Tests of the loader: batches are a function of the seed and their number alone."""

import json
import sys

import cloudpickle
import grain
import numpy as np
import pytest
from etils import epath

from mdm_jax import structs
from mdm_jax.input_pipeline import augment, loader
from mdm_jax.recording.arrays import Recording

HEIGHT, WIDTH = 12, 20
INTRINSICS = np.array([[21.0, 0, 9.3], [0, 22.0, 5.6], [0, 0, 1]], np.float32)
AUGMENT = {"flip_probability": 0.5, "min_crop_scale": 0.7, "color_probability": 0.8}


def _recordings(counts=(8, 6)):
    """Frame i of all recordings together has i as the level of its first pixel."""
    recordings, start = [], 0
    for number, count in enumerate(counts):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3)).astype(np.uint8)
        frames[:, 0, 0, 0] = start + np.arange(count)
        start += count
        recordings.append(
            Recording(name=f"drive {number}", frames=frames, intrinsics=INTRINSICS)
        )
    return recordings


def _loader(**options):
    defaults = {"clip_length": 2, "batch_size": 3, "seed": 5, "num_threads": 1}
    return loader.make_loader(_recordings(), **{**defaults, **options})


def _take(iterator, count):
    return [next(iterator) for _ in range(count)]


def _assert_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def _clips(batches):
    """Returns the number of the first frame of each clip."""
    return [int(n) for batch in batches for n in batch["frames"][:, 0, 0, 0, 0]]


NUM_CLIPS = 7 + 5


def test_batches_have_the_keys_and_axes_of_batch():
    batch = next(iter(_loader(augment=AUGMENT)))
    assert batch["frames"].shape == (3, 2, HEIGHT, WIDTH, 3)
    assert batch["frames"].dtype == np.uint8
    assert batch["intrinsics"].shape == (3, 3, 3)
    assert batch["intrinsics"].dtype == np.float32
    assert batch["video_index"].shape == (3,)
    assert isinstance(structs.batch_from_arrays(batch), structs.Batch)


def test_an_epoch_holds_every_clip_once_in_a_new_order_each_time():
    clips = _clips(_take(iter(_loader()), 2 * NUM_CLIPS // 3))
    one, two = clips[:NUM_CLIPS], clips[NUM_CLIPS:]
    assert sorted(one) == sorted(two) == sorted([*range(7), *range(8, 13)])
    assert one != two
    assert sorted(one) != one


def test_without_shuffling_clips_come_in_the_order_of_the_recordings():
    batches = list(_loader(shuffle=False, num_epochs=1))
    assert _clips(batches) == [*range(7), *range(8, 13)]


def test_the_seed_decides_order_and_augmentation():
    one, same, other = (
        _take(iter(_loader(seed=seed, augment=AUGMENT)), 3) for seed in (5, 5, 6)
    )
    _assert_equal(one, same)
    assert not np.array_equal(one[0]["frames"], other[0]["frames"])


def test_neighbouring_seeds_do_not_share_epochs():
    one = _clips(_take(iter(_loader(seed=5)), 8))
    other = _clips(_take(iter(_loader(seed=6)), 8))
    assert one[NUM_CLIPS:] != other[:NUM_CLIPS]


def test_threads_do_not_change_the_batches():
    expected = _take(iter(_loader(augment=AUGMENT, num_threads=0)), 9)
    _assert_equal(_take(iter(_loader(augment=AUGMENT, num_threads=4)), 9), expected)


def test_a_resumed_iterator_gives_the_exact_same_next_batches():
    data = _loader(augment=AUGMENT, num_threads=2)
    iterator = iter(data)
    _take(iterator, 5)  # into the second epoch
    state = json.loads(json.dumps(iterator.get_state()))
    expected = _take(iterator, 6)
    resumed = iter(_loader(augment=AUGMENT, num_threads=2))
    resumed.set_state(state)
    assert resumed.get_state() == state
    _assert_equal(_take(resumed, 6), expected)
    # Also an iterator that already runs goes back.
    iterator.set_state(state)
    _assert_equal(_take(iterator, 6), expected)


def test_grain_checkpoints_save_and_restore_an_iterator(tmp_path):
    iterator = iter(_loader(augment=AUGMENT))
    _take(iterator, 2)
    handler = grain.checkpoint.CheckpointHandler()
    handler.save(epath.Path(tmp_path), item=iterator)
    expected = _take(iterator, 3)
    restored = handler.restore(
        epath.Path(tmp_path), item=iter(_loader(augment=AUGMENT))
    )
    _assert_equal(_take(restored, 3), expected)


def test_shards_are_disjoint_and_together_the_unsharded_batches():
    whole = _take(iter(_loader(augment=AUGMENT, batch_size=4)), 9)
    shards = [
        _take(
            iter(_loader(augment=AUGMENT, batch_size=2, shard_index=i, shard_count=2)),
            9,
        )
        for i in range(2)
    ]
    for number, batch in enumerate(whole):
        for key in batch:
            np.testing.assert_array_equal(batch[key][0::2], shards[0][number][key])
            np.testing.assert_array_equal(batch[key][1::2], shards[1][number][key])


def test_shards_of_an_epoch_cover_all_clips_once():
    clips = []
    for shard in range(2):
        options = {
            "batch_size": 2,
            "num_epochs": 1,
            "shard_index": shard,
            "shard_count": 2,
        }
        clips += _clips(_loader(**options))
    assert sorted(clips) == [*range(7), *range(8, 13)]


def test_a_last_batch_that_is_not_full_is_dropped():
    assert len(list(_loader(batch_size=5, num_epochs=1))) == NUM_CLIPS // 5


def test_no_full_batch_is_an_error():
    with pytest.raises(ValueError, match="12 clips in 1 epochs for 2 shards.*of 7"):
        _loader(batch_size=7, num_epochs=1, shard_count=2)
    # Without end, a batch may hold a clip twice.
    assert next(iter(_loader(batch_size=30)))["frames"].shape[0] == 30


def test_options_out_of_range_are_errors():
    with pytest.raises(ValueError, match="got 0, 0 and 1"):
        _loader(batch_size=0)
    with pytest.raises(ValueError, match="got 3, 2 and 2"):
        _loader(shard_index=2, shard_count=2)


def test_a_closed_iterator_says_so():
    iterator = iter(_loader())
    next(iterator)
    iterator.close()
    with pytest.raises(ValueError, match="closed"):
        next(iterator)


class _NoDevices(augment.Augment):
    """Fails where JAX has started a device, and passes all else on."""

    def random_map(self, element, rng):
        xla_bridge = sys.modules.get("jax._src.xla_bridge")
        if xla_bridge is not None and xla_bridge.backends_are_initialized():
            raise RuntimeError("a data worker started a device")
        return super().random_map(element, rng)


def test_workers_give_the_same_batches_and_touch_no_devices(monkeypatch):
    expected = _take(iter(_loader(augment=AUGMENT)), 6)
    # The workers cannot import this file, so it travels by value.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(augment, "Augment", _NoDevices)
    iterator = iter(_loader(augment=AUGMENT, num_workers=2))
    try:
        batches = _take(iterator, 3)
        state = iterator.get_state()
    finally:
        iterator.close()
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    _assert_equal(batches, expected[:3])
    assert all(type(value) is np.ndarray for value in batches[0].values())
    monkeypatch.undo()
    resumed = iter(_loader(augment=AUGMENT))
    resumed.set_state(state)
    _assert_equal(_take(resumed, 3), expected[3:])
