"""Objects keep their labels from frame to frame, and files their numbers."""

import pathlib

import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib
from mdm_jax.masks import instances, mask_files
from mdm_jax.prediction import inputs, object_labels

VIEW = view_lib.stretched((2, 300), (2, 300))


def _labels(of_frame):
    """Returns labels of frames that show objects, each one pixel wide, by their ids."""

    def read(index):
        ids = np.asarray(of_frame[index], np.int64)
        found = np.zeros((len(ids), 2, 300), bool)
        found[np.arange(len(ids)), :, np.arange(len(ids))] = True
        ones = np.ones(len(ids))
        return instances.Instances(found, ids, -ids, ones.astype(np.float32))

    path = pathlib.Path("masks.json")
    files = mask_files.MaskFiles(
        files=(path,), file_of_frame=(path,) * len(of_frame), tracked=True, read=read
    )
    return object_labels.FrameLabels(files, VIEW)


def test_an_object_keeps_its_label_and_is_known_by_its_number():
    labels = _labels([[26001, 3, 9], [9, 26001], [3, 9]])
    first, second, third = (labels(i) for i in range(3))
    by_id = {
        number: first.labels[0, column] for column, number in enumerate([26001, 3, 9])
    }
    assert len(set(by_id.values())) == 3 and 0 not in by_id.values()
    assert [second.labels[0, 0], second.labels[0, 1]] == [by_id[9], by_id[26001]]
    assert [third.labels[0, 0], third.labels[0, 1]] == [by_id[3], by_id[9]]
    assert third.ids[by_id[3]] == 3 and first.ids[by_id[26001]] == 26001
    assert first.labels[0, 3] == 0


def test_labels_that_run_out_go_to_new_objects_and_not_to_those_seen():
    always = 7000
    frames = [[always, *range(100 * i, 100 * i + 100)] for i in range(1, 8)]
    labels = _labels(frames)
    results = [labels(i) for i in range(len(frames))]
    assert len({int(one.labels[0, 0]) for one in results}) == 1
    for one, ids in zip(results, frames, strict=True):
        seen = one.labels[0, : len(ids)]
        assert len(set(seen.tolist())) == len(ids) and 0 not in seen
        np.testing.assert_array_equal(one.ids[seen], ids)


def test_missing_masks_are_an_error(write_frames):
    (source,) = inputs.open_sources(str(write_frames(2)))
    with pytest.raises(ValueError, match="no such folder or file of instance masks"):
        object_labels.open_labels("nowhere", source, VIEW)
