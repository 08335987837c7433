"""Raw data sets as training data: opened by name, split by rule, errors named."""

import pytest

from mdm_jax import config as config_lib
from mdm_jax.input_pipeline import raw_data, readers


def _dataset(name, path, tmp_path, **options):
    dataset = config_lib.base_config().dataset
    dataset.name, dataset.path = name, str(path)
    dataset.size, dataset.cache_dir = (16, 32), str(tmp_path / "cache")
    for key, value in options.items():
        dataset[key] = value
    return dataset


def test_every_reader_gives_training_recordings(tiny_set, tmp_path):
    name, root = tiny_set
    recordings = raw_data.open_recordings(_dataset(name, root, tmp_path))
    assert recordings
    for one in recordings:
        assert one.size == (16, 32)
        assert one.intrinsics is not None


def test_kitti_without_its_test_scenes_leaves_training_drives(tiny, tmp_path):
    root = tiny.BUILDERS["kitti_raw"](tmp_path / "raw")
    every = raw_data.open_recordings(_dataset("kitti_raw", root, tmp_path))
    kept = raw_data.open_recordings(
        _dataset("kitti_raw", root, tmp_path, split="eigen")
    )
    assert {one.name for one in kept} <= {one.name for one in every}


def test_unknown_split_is_named(tiny, tmp_path):
    root = tiny.BUILDERS["kitti_raw"](tmp_path / "raw")
    with pytest.raises(ValueError, match="split of kitti_raw.*'eigen'.*got 'train'"):
        raw_data.open_recordings(_dataset("kitti_raw", root, tmp_path, split="train"))


def test_missing_path_says_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match="config.dataset.path.*folder of waymo_v1"):
        raw_data.open_recordings(_dataset("waymo_v1", "", tmp_path))


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(readers.DataError, match=str(tmp_path)):
        raw_data.open_recordings(_dataset("cityscapes", tmp_path, tmp_path))
