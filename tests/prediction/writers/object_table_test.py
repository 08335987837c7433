"""Every object of every frame gets its own row, in both kinds of method."""

import csv
import json

import numpy as np
import pytest
from scipy.spatial import transform

from mdm_jax.prediction import predicted
from mdm_jax.prediction.writers import object_table

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
    (row,) = object_table.rows(_field(), scale=2.0, seconds=0.5)
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
    (row,) = object_table.rows(maps, scale=1.0, seconds=1.0)
    assert (row["object"], row["x"], row["speed"]) == (26004, 3.0, 5.0)


def test_without_masks_or_motion_there_are_no_rows():
    maps = _field()
    for name in ("labels", "object_motion"):
        fewer = {key: value for key, value in maps.items() if key != name}
        assert not list(object_table.rows(fewer, scale=1.0, seconds=1.0))


def _recording(rate):
    return predicted.Predicted(
        *[None] * 5, frame_stride=2, frames_per_second=rate, scale=3.0
    )


@pytest.mark.parametrize("rate", [None, 10.0])
def test_both_tables_say_the_same(tmp_path, rate):
    with object_table.Table(tmp_path, _recording(rate)) as table:
        for index in range(3):
            table.add(index, f"f{index}", _field())
        assert table.num_rows == 3
    as_json = json.loads((tmp_path / "objects.json").read_text())
    with (tmp_path / "objects.csv").open(newline="") as file:
        as_csv = list(csv.DictReader(file))
    assert [row["frame"] for row in as_json] == [0, 1, 2]
    times = [None] * 3 if rate is None else [0, 0.1, 0.2]
    assert [row["time_s"] for row in as_json] == times
    assert as_csv[1]["time_s"] == ("" if rate is None else "0.1")
    # 0.5 a pair, in another unit, two frames apart.
    assert as_json[0]["speed"] == pytest.approx(1.5 if rate is None else 7.5)
    for name in ("x", "dz", "speed"):
        assert float(as_csv[2][name]) == pytest.approx(as_json[2][name], rel=1e-5)


def test_without_rows_and_after_errors_there_are_no_tables(tmp_path):
    with object_table.Table(tmp_path, _recording(None)) as table:
        table.add(0, "f0", {})
    with pytest.raises(KeyError), object_table.Table(tmp_path, _recording(None)) as t:
        t.add(0, "f0", _field())
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_objects_count_in_frames_that_have_a_next_one():
    labels = np.array([[0, 3, 3], [0, 5, 0]], np.uint8)
    assert (
        object_table.count({"labels": labels, "object_motion": np.zeros((2, 3, 3))})
        == 2
    )
    assert object_table.count({"labels": labels}) == 0
    assert object_table.count({"object_motion": np.zeros((2, 3, 3))}) == 0
