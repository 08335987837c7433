"""Tests of list files in every published form."""

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.input_pipeline import list_file

SCENE = "2011_09_26_drive_0002_sync"


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (f"2011_09_26/{SCENE} 0000000069 l", (SCENE, 69, "l")),
        (f"2011_09_26/{SCENE} 69 r", (SCENE, 69, "r")),
        (f"2011_09_26/{SCENE}/image_02/data/0000000069.png", (SCENE, 69, "l")),
        (f"/raw/2011_09_26/{SCENE}/image_03/data/69.jpg", (SCENE, 69, "r")),
        (f"2011_09_26 {SCENE} 0000000069", (SCENE, 69, "")),
        (f"2011_09_26/{SCENE} 69", (SCENE, 69, "")),
        ("9 1570 l", ("09", 1570, "l")),
        ("10 0 r", ("10", 0, "r")),
        ("image 7", ("image", 7, "")),
        ("2011_09_26_drive_0002", (SCENE, None, "")),
        (SCENE, (SCENE, None, "")),
        ("scene-0103", ("scene-0103", None, "")),
    ],
)
def test_every_form_of_line_is_read(tmp_path, line, entry):
    path = tmp_path / "list.txt"
    path.write_text(f"\n{line}\n\n")
    assert list_file.read_list(path) == [list_file.Entry(*entry)]


@pytest.mark.parametrize(
    "line",
    ["a b", "a b c d", "a/b.png", "2011_09_26/x -3 l", "x 1.5", "x 3 m", "x ² l"],
)
def test_another_form_names_the_line(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"9 0 l\n{line}\n")
    with pytest.raises(sources.DataError, match=r"list.txt: line 2: expected a frame"):
        list_file.read_list(path)


def test_a_missing_or_empty_list_is_named(tmp_path):
    with pytest.raises(sources.DataError, match=r"absent.txt: no such file"):
        list_file.read_list(tmp_path / "absent.txt")
    (tmp_path / "blank.txt").write_text("\n \n")
    with pytest.raises(sources.DataError, match=r"blank.txt: expected a list"):
        list_file.read_list(tmp_path / "blank.txt")


def test_indices_are_checked_against_their_list(tmp_path):
    path = tmp_path / "ids.npy"
    np.save(path, np.array([0, 2, 5]))
    np.testing.assert_array_equal(list_file.read_indices(path, count=6), [0, 2, 5])
    with pytest.raises(sources.DataError, match="list of 5 lines, got 0 to 5"):
        list_file.read_indices(path, count=5)
    np.save(path, np.array([0.5]))
    with pytest.raises(sources.DataError, match="expected a row of integers"):
        list_file.read_indices(path, count=6)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(sources.DataError, match=r"ids.npy: expected a NumPy .npy"):
        list_file.read_indices(path, count=6)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("monodepth2/eigen/test_files.txt", 697),
        ("monodepth2/eigen_benchmark/test_files.txt", 652),
        ("monodepth2/eigen_zhou/val_files.txt", 4424),
        ("monodepth2/odom/test_files_09.txt", 1590),
        ("monodepth2/odom/val_files.txt", 4075),
        ("monodepth2/benchmark/test_files.txt", 500),
        ("sfmlearner/test_files_eigen.txt", 697),
        ("sfmlearner/test_scenes_eigen.txt", 28),
        ("sfmlearner/static_frames.txt", 8044),
    ],
)
def test_published_lists_have_their_published_lengths(sample_data, name, count):
    assert len(list_file.read_list(sample_data / "kitti_splits" / name)) == count


def test_forms_of_one_list_name_the_same_frames(sample_data):
    folder = sample_data / "kitti_splits"
    padded = list_file.read_list(folder / "monodepth2/eigen/test_files.txt")
    as_files = list_file.read_list(folder / "sfmlearner/test_files_eigen.txt")
    assert padded == as_files
    benchmark = list_file.read_list(
        folder / "monodepth2/eigen_benchmark/test_files.txt"
    )
    ids = list_file.read_indices(
        folder / "monodepth2/benchmark/eigen_to_benchmark_ids.npy", count=len(padded)
    )
    assert [padded[index] for index in ids] == benchmark
