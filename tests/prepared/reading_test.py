"""Tests of reading: a stored array is like a memory map, and errors name the file."""

import dataclasses
import pickle
import sys

import cloudpickle
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import sources
from mdm_jax.input_pipeline import augment, clips, loader, raw_data
from mdm_jax.prepared import layout, reading
from mdm_jax.training import data

AUGMENT = {"min_crop_scale": 0.7, "color_probability": 0.8}


@pytest.fixture
def folder(video_folder, prepare):
    """Prepared frames: 5 of one recording and 3 of another, in shards of two."""
    return prepare("video", video_folder)


@pytest.fixture
def recordings(folder, dataset, tmp_path):
    return reading.open_parts(dataset("prepared", folder, tmp_path), held_out="").train


@pytest.mark.parametrize(
    "key",
    [0, 4, -1, np.int64(3), slice(1, 4), slice(None), slice(4, 0, -2), [3, 0], [-2]],
)
def test_indexing_is_that_of_the_decoded_array(key, recordings):
    stored = recordings[0].frames
    whole = np.asarray(stored)
    assert whole.shape == stored.shape == (5, 32, 48, 3)
    found = stored[key]
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, whole[key])


def test_iteration_ends_and_indices_beyond_are_errors(recordings):
    stored = recordings[1].frames
    np.testing.assert_array_equal(np.stack(list(stored)), stored[:])
    assert len(stored) == 3 and stored.ndim == 4
    for key in (3, -4, [3]):
        with pytest.raises(IndexError):
            stored[key]


def test_what_travels_to_a_worker_holds_no_frames(recordings):
    recordings[0].frames[0]  # also when files are open
    source = clips.ClipSource(recordings, clips.clip_table(recordings, clip_length=2))
    content = pickle.dumps(source)
    assert len(content) < recordings[0].frames[0].nbytes
    copied = pickle.loads(content)
    for index in range(len(source)):
        for key, value in source[index].items():
            np.testing.assert_array_equal(copied[index][key], value)


def test_stored_changes_give_the_clips_that_the_frames_give(recordings):
    for stride in (1, 2, 3):
        for one in recordings:
            frames = np.asarray(one.frames)
            computed = [
                clips.change(frames[i], frames[i + stride])
                for i in range(len(frames) - stride)
            ]
            stored = one.changes[stride]
            np.testing.assert_array_equal(stored[: len(computed)], computed)
            assert np.isinf(stored[len(computed) :]).all()


def _take(recordings, count, state=None, **options):
    defaults = {"clip_length": 2, "batch_size": 2, "seed": 5, "num_threads": 1}
    batches = loader.make_loader(recordings, augment=AUGMENT, **{**defaults, **options})
    iterator = iter(batches)
    if state is not None:
        iterator.set_state(state)
    taken = [next(iterator) for _ in range(count)]
    state = iterator.get_state()
    iterator.close()
    return taken, state


def _assert_equal(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def test_a_resumed_loader_gives_the_exact_same_order(recordings):
    expected, _ = _take(recordings, 9)
    first, state = _take(recordings, 4, num_threads=0)
    second, _ = _take(recordings, 5, state, num_threads=3)
    _assert_equal([*first, *second], expected)


class _NoDevices(augment.Augment):
    """Fails where JAX has started a device, and passes all else on."""

    def random_map(self, element, rng):
        xla_bridge = sys.modules.get("jax._src.xla_bridge")
        if xla_bridge is not None and xla_bridge.backends_are_initialized():
            raise RuntimeError("a data worker started a device")
        if "tensorflow" in sys.modules or "tensorflow_datasets" in sys.modules:
            raise RuntimeError("a data worker imported TensorFlow or TFDS")
        return super().random_map(element, rng)


def test_workers_give_the_same_batches_and_touch_no_devices(recordings, monkeypatch):
    expected, _ = _take(recordings, 4)
    # The workers cannot import this file, so it travels by value.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(augment, "Augment", _NoDevices)
    try:
        found, _ = _take(recordings, 4, num_workers=2)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    _assert_equal(found, expected)


def test_a_folder_above_is_enough_if_it_holds_one_data_set(
    folder, prepare, video_folder
):
    for above in (folder, folder.parent, folder.parents[2]):
        assert layout.find(above) == folder
    prepare("video", video_folder, size=(32, 32))
    with pytest.raises(sources.DataError, match="2 data sets.*32x32.*32x48"):
        layout.find(folder.parents[2])


def test_what_is_no_finished_data_set_is_named(folder, tmp_path):
    with pytest.raises(sources.DataError, match="no such folder"):
        layout.find(tmp_path / "none")
    with pytest.raises(sources.DataError, match="got a file"):
        layout.find(folder / layout.INFO)
    with pytest.raises(sources.DataError, match=r"raw.*mdm-prepare"):
        layout.find((tmp_path / "raw").mkdir() or tmp_path / "raw")
    (folder / layout.INFO).unlink()
    with pytest.raises(sources.DataError, match="not finished.*same.*command again"):
        layout.find(folder)
    (folder / layout.BUILD).unlink()
    (folder / layout.INFO).write_text("{}")
    with pytest.raises(sources.DataError, match=r"TFDS.*not one made by mdm-prepare"):
        layout.find(folder)


@pytest.mark.parametrize("name", [layout.RECORDINGS, layout.FRAMES])
def test_a_cut_off_index_is_named(name, folder, dataset, tmp_path):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(sources.DataError, match=name):
        reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")


def test_missing_and_cut_off_shards_are_named(folder, dataset, tmp_path):
    shard = folder / layout.read_index(folder).shards[2].file
    content = shard.read_bytes()
    shard.write_bytes(content[:-7])
    with pytest.raises(sources.DataError, match=f"{shard.name}.*cut off"):
        reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    shard.unlink()
    with pytest.raises(sources.DataError, match=f"{shard.name}.*no such file"):
        reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")


def test_a_damaged_record_is_named(folder, recordings):
    shard = folder / layout.read_index(folder).shards[1].file
    shard.write_bytes(bytes(shard.stat().st_size))
    recordings[0].frames[1]
    with pytest.raises(sources.DataError, match=f"{shard.name}: record 0"):
        recordings[0].frames[2]


def test_another_size_than_was_built_is_an_error(folder, dataset, tmp_path):
    asked = dataset("prepared", folder, tmp_path)
    asked.size = (64, 96)
    with pytest.raises(ValueError, match=r"size=\(32, 48\).*size is \(64, 96\)"):
        reading.open_parts(asked, held_out="")
    with pytest.raises(ValueError, match="config.dataset.path"):
        reading.open_parts(dataset("prepared", "", tmp_path), held_out="")


def test_training_opens_prepared_data_by_name(folder, tiny_config, tmp_path):
    tiny_config.dataset.update(name="prepared", path=str(folder), size=(32, 48))
    found = data.open_data(tiny_config, str(tmp_path / "run"))
    assert [len(one) for one in found.train] == [5, 3]
    assert not (tmp_path / "run").exists()  # nothing is decoded into a cache
    batch = next(iter(data.make_loader(found.train, tiny_config)))
    assert batch["frames"].shape == (8, 2, 32, 48, 3)


def test_training_on_labels_takes_runs_of_frames_that_have_them(folder):
    index = layout.read_index(folder)
    labelled = np.array([0, 1, 1, 0, 1, 1, 1, 1], bool)  # 5 frames, then 3
    index = dataclasses.replace(index, labelled=labelled)
    kept = reading._labelled(index, index.entries)
    found = [(one.name, one.start, one.num_frames) for one in kept]
    assert found == [("first/1", 1, 2), ("second", 5, 3)]


def test_training_on_labels_where_there_are_none_says_what_to_do(
    folder, dataset, tmp_path
):
    config = dataset("prepared", folder, tmp_path)
    with pytest.raises(ValueError, match="no two .* have instance labels.*--masks"):
        reading.open_parts(config, held_out="test", labelled_only=True)


def test_intrinsics_of_a_prepared_set_are_those_of_its_build_or_learned(
    tiny, prepare, dataset, tmp_path
):
    root = tiny.kitti_odometry(tmp_path / "raw")
    folder = prepare("kitti_odometry", root, intrinsics="fov:90")
    (one,) = reading.open_parts(
        dataset("prepared", folder, tmp_path), held_out=""
    ).train
    config = dataset("kitti_odometry", root, tmp_path, intrinsics="fov:90")
    (expected,) = raw_data.open_parts(config, held_out="").train
    np.testing.assert_array_equal(one.intrinsics, expected.intrinsics)
    config = dataset("prepared", folder, tmp_path, intrinsics="learned")
    assert reading.open_parts(config, held_out="").train[0].intrinsics is None
    config = dataset("prepared", folder, tmp_path, intrinsics="fov:80")
    with pytest.raises(ValueError, match="dataset.intrinsics.* of its build"):
        reading.open_parts(config, held_out="")


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_prepared_set_is_fitted_as_it_was_built(
    tiny, prepare, dataset, tmp_path, fit
):
    root = tiny.kitti_odometry(tmp_path / "raw")
    # `stretch` is usual for a raw data set.
    folder = prepare("kitti_odometry", root, fit="" if fit == "stretch" else fit)
    config = config_lib.base_config()
    config.dataset = dataset("prepared", folder, tmp_path)
    found = data.open_data(config, str(tmp_path))
    assert data.settle(config, found).dataset.fit == fit
    place = dataset("kitti_odometry", root, tmp_path, fit=fit)
    (expected,) = raw_data.open_parts(place, held_out="").train
    np.testing.assert_array_equal(found.train[0].frames[0], expected.frames[0])
    np.testing.assert_array_equal(found.train[0].intrinsics, expected.intrinsics)
    config.dataset.fit = "crop" if fit == "stretch" else "stretch"
    with pytest.raises(ValueError, match=f"built with fit='{fit}'"):
        data.open_data(config, str(tmp_path))


def test_other_masks_than_were_prepared_are_an_error(folder, dataset, tmp_path):
    with pytest.raises(ValueError, match="config.dataset.masks.*read the raw"):
        reading.open_parts(
            dataset("prepared", folder, tmp_path, masks="x"), held_out=""
        )
