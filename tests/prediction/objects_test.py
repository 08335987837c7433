"""Every object of every frame gets its own row, in both kinds of method."""

import csv
import json

import numpy as np
import pytest
from scipy.spatial import transform

from mdm_jax.prediction import objects

K = np.array([[40.0, 0, 11.5], [0, 40.0, 7.5], [0, 0, 1]])


def _field():
    """Returns maps of a field method: a patch 4 units away that moves sideways."""
    labels = np.zeros((16, 24), np.uint8)
    labels[4:8, 6:12] = 2
    motion = np.zeros((16, 24, 3), np.float32)
    turn = transform.Rotation.from_rotvec([0, 0.3, 0]).as_matrix()
    moved = np.array([0.3, 0, 0.4])
    motion[labels == 2] = turn @ moved
    motion[4, 6] = 50.0  # an outlier
    ids = np.zeros(256, np.int64)
    ids[2] = 26004
    return {
        "labels": labels,
        "ids": ids,
        "depth": np.full((16, 24), 4.0, np.float32),
        "intrinsics": K,
        "rotation": turn,
        "object_motion": motion,
    }


def test_the_median_of_a_field_moves_an_object_in_the_targets_axes():
    (row,) = objects.rows(_field(), scale=2.0, seconds=0.5)
    assert (row["object"], row["pixels"]) == (26004, 24)
    got = [row[name] for name in ("x", "y", "z", "dx", "dy", "dz")]
    center = 8 * np.array([(8.5 - 11.5) / 40, (5.5 - 7.5) / 40, 1])
    np.testing.assert_allclose(got[:3], center, atol=1e-6)
    np.testing.assert_allclose(got[3:], [0.6, 0, 0.8], atol=1e-6)
    assert row["speed"] == pytest.approx(2.0)


def test_a_rigid_object_moves_as_its_slot_says():
    maps = _field() | {
        "object_labels": np.array([0, 2, 7]),
        "object_centers": np.arange(9.0).reshape(3, 3),
        "object_translations": np.tile([0.0, 3, 4], (3, 1)),
    }
    # Slot 0 is empty, and object 7 is not seen in this frame.
    (row,) = objects.rows(maps, scale=1.0, seconds=1.0)
    assert (row["object"], row["x"], row["speed"]) == (26004, 3.0, 5.0)


def test_without_masks_or_motion_there_are_no_rows():
    maps = _field()
    for name in ("labels", "object_motion"):
        fewer = {key: value for key, value in maps.items() if key != name}
        assert not list(objects.rows(fewer, scale=1.0, seconds=1.0))


def test_both_tables_say_the_same(tmp_path):
    paths = tmp_path / "a.csv", tmp_path / "a.json"
    (row,) = objects.rows(_field(), scale=1.0, seconds=1.0)
    with objects.Table(*paths) as table:
        for frame in range(3):
            time = None if frame else 0.5
            table.add({"frame": frame, "name": f"f{frame}", "time_s": time, **row})
        assert table.count == 3
    as_json = json.loads(paths[1].read_text())
    with paths[0].open(newline="") as file:
        as_csv = list(csv.DictReader(file))
    assert [one["frame"] for one in as_json] == [0, 1, 2]
    assert as_csv[1]["time_s"] == "" and as_json[1]["time_s"] is None
    for name in ("x", "dz", "speed"):
        assert float(as_csv[2][name]) == pytest.approx(as_json[2][name], rel=1e-5)


def test_objects_count_in_frames_that_have_a_next_one():
    labels = np.array([[0, 3, 3], [0, 5, 0]], np.uint8)
    assert objects.count({"labels": labels, "object_motion": np.zeros((2, 3, 3))}) == 2
    assert objects.count({"labels": labels}) == 0
    assert objects.count({"object_motion": np.zeros((2, 3, 3))}) == 0
