"""Tests of what holds for every reader, on tiny data sets written for the purpose."""

import pickle

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files import errors


def read_all(drive):
    """Reads everything that a drive gives."""
    drive.world_from_camera()
    drive.timestamps()
    for index in range(len(drive)):
        drive.image(index)
        drive.points(index)
        drive.labels(index)


def test_everything_a_drive_gives_has_the_promised_form(tiny_set):
    name, root = tiny_set
    drives = sources.open_sources(name, root)
    assert len({drive.name for drive in drives}) == len(drives)
    for drive in drives:
        assert len(drive) == len(drive.files) >= 2
        assert drive.intrinsics.dtype == np.float64
        poses, seconds = drive.world_from_camera(), drive.timestamps()
        assert poses is None or poses.shape == (len(drive), 4, 4)
        assert seconds is None or (np.diff(seconds) > 0).all()
        for index in range(len(drive)):
            image = drive.image(index)
            assert image.shape == (*drive.size, 3)
            assert image.dtype == np.uint8
            points, labels = drive.points(index), drive.labels(index)
            if points is not None:
                assert points.shape[1] == 3
                assert points.dtype == np.float32
                assert (points[:, 2] > 0).all()
                assert (points[:, :2] >= -0.5).all()
                assert (points[:, :2] < np.array(drive.size[::-1]) - 0.5).all()
            if labels is not None:
                assert labels.shape == drive.size
                assert labels.dtype == np.uint8


def test_images_are_those_written(tiny_set, tiny):
    name, root = tiny_set
    first = sources.open_sources(name, root)[0]
    seeds = {"kitti_raw": (20, 21, 22), "cityscapes": (17, 18, 19)}.get(name, (0, 1, 2))
    for index, seed in zip(range(len(first)), seeds, strict=False):
        error = np.abs(first.image(index).astype(int) - tiny.image(seed))
        if name.startswith("waymo"):  # moved by the lens, black at the border
            error = error[2:-2, 2:-2]
        assert error.mean() < 4


def test_a_drive_survives_pickling(tiny_set):
    name, root = tiny_set
    drive = sources.open_sources(name, root)[0]
    copy = pickle.loads(pickle.dumps(drive))
    np.testing.assert_array_equal(copy.image(1), drive.image(1))


def test_opening_does_not_decode(tiny_set, monkeypatch):
    name, root = tiny_set
    monkeypatch.setattr("cv2.imdecode", None)
    assert sources.open_sources(name, root)


def test_paths_may_hold_spaces_and_any_letters(tiny_set, tmp_path):
    name, root = tiny_set
    moved = root.rename(tmp_path / "Жизнь im Größten 道路 a")
    for drive in sources.open_sources(name, str(moved)):
        read_all(drive)


def test_an_unknown_reader_is_named_with_those_there_are(tmp_path):
    with pytest.raises(
        ValueError, match="expected one of video, cityscapes, .*, got 'kiti'"
    ):
        sources.open_sources("kiti", tmp_path)


@pytest.mark.parametrize("on_error", errors.ON_ERROR)
@pytest.mark.parametrize("name", sorted(sources.READERS))
def test_a_folder_without_the_data_set_is_named(name, on_error, tmp_path):
    (tmp_path / "some").mkdir()
    for root in (tmp_path, tmp_path / "absent"):
        problems = errors.Problems(on_error)
        with pytest.raises(sources.DataError, match=str(root)):
            sources.open_sources(name, root, problems=problems)


def test_problems_want_one_of_two_words():
    with pytest.raises(ValueError, match="'raise' or 'skip', got 'ignore'"):
        errors.Problems("ignore")


def test_the_summary_counts_and_names_what_was_skipped():
    problems = errors.Problems("skip")
    with problems.caught():
        raise errors.DataError("a/b.png", "it is cut off")
    assert len(problems.errors) == 1
    assert problems.summary().startswith("1 skipped")
    assert "a/b.png: it is cut off" in problems.summary()


def test_an_error_survives_pickling():
    error = errors.DataError("a/b.png", "it is cut off")
    assert str(pickle.loads(pickle.dumps(error))) == "a/b.png: it is cut off"
