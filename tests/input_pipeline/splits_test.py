"""Tests of splits: what is on disk, what is cut out, rules."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.input_pipeline import list_file, splits
from mdm_jax.sources.source import Source

SCENE = "2011_09_26_drive_0002_sync"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Numbers(Source):
    """Frames that hold their own number."""

    def image(self, index):
        return np.full((*self.size, 3), self.numbers[index], np.uint8)

    def points(self, index):
        return np.full((1, 3), self.numbers[index], np.float32)

    def labels(self, index):
        return np.full(self.size, self.numbers[index], np.uint8)

    def world_from_camera(self):
        poses = np.tile(np.eye(4), (len(self), 1, 1))
        poses[:, 0, 3] = self.numbers
        return poses

    def timestamps(self):
        return 0.1 * np.array(self.numbers)


def _drive(sequence, numbers, side="", folder=pathlib.Path("/nowhere")):
    return _Numbers(
        name=f"{sequence}{side}",
        files=tuple(folder / f"{sequence}{side}{number}" for number in numbers),
        size=(4, 6),
        intrinsics=np.array([[5.0, 0, 3], [0, 5, 2], [0, 0, 1]]),
        sequence=sequence,
        side=side,
        numbers=tuple(numbers),
    )


def test_listed_frames_are_found_or_reported_missing(tmp_path):
    left = _drive("a", range(3, 6), "l", tmp_path)
    right = _drive("a", range(3, 6), "r", tmp_path)
    mono = _drive("b", [0, 1], folder=tmp_path)
    for path in (*left.files, *right.files, *mono.files[:1]):
        path.touch()
    entries = [
        list_file.Entry("a", 4, "r"),
        list_file.Entry("a", 5, ""),
        list_file.Entry("b", 0, "l"),
        list_file.Entry("b", 1, ""),  # listed by the drive, but not on disk
        list_file.Entry("a", 9, "l"),
        list_file.Entry("c", 0, "l"),
    ]
    located = splits.locate(entries, [left, right, mono])
    assert located.places == [(1, 1), (0, 2), (2, 0), None, None, None]
    assert located.missing == entries[3:]
    report = located.report()
    assert report.startswith("3 of 6 listed frames found; 3 missing, of 3 recordings")
    assert "a: 1 frames (9l)" in report
    complete = splits.locate(entries[:3], [left, right, mono])
    assert complete.report() == "3 of 3 listed frames found"


def test_a_report_stays_short():
    entries = [list_file.Entry(f"s{i}", j, "") for i in range(99) for j in range(99)]
    report = splits.locate(entries, []).report()
    assert len(report) < 500
    assert "s4: 99 frames (0, 1, 2, 3, 4, ...)" in report
    assert "and 94 more recordings" in report


def test_a_whole_recording_is_no_frame():
    with pytest.raises(ValueError, match="names the whole recording x"):
        splits.locate([list_file.Entry("x", None, "")], [])


def test_static_frames_are_cut_out_and_nothing_is_bridged():
    drives = [_drive("a", range(10, 20), "l"), _drive("b", range(4))]
    static = [list_file.Entry("a", number, "") for number in (12, 13, 15, 99)]
    made = splits.without(drives, static)
    # 14 alone shows no motion.
    assert [part.numbers for part in made] == [(10, 11), (16, 17, 18, 19), (0, 1, 2, 3)]
    assert made[2] is drives[1]
    part = made[1]
    assert (part.name, part.sequence, part.side) == ("al/16", "a", "l")
    assert [path.name for path in part.files] == ["al16", "al17", "al18", "al19"]
    for index, number in enumerate(part.numbers):
        assert part.image(index)[0, 0, 0] == number
        assert part.points(index)[0, 2] == number
        assert part.labels(index)[0, 0] == number
        assert part.world_from_camera()[index, 0, 3] == number
        assert part.timestamps()[index] == 0.1 * number


def test_a_listed_side_leaves_the_other_alone():
    drives = [_drive("a", range(4), "l"), _drive("a", range(4), "r")]
    made = splits.without(drives, [list_file.Entry("a", 3, "r")])
    assert [(part.side, len(part)) for part in made] == [("l", 4), ("r", 3)]


def test_a_whole_recording_can_be_cut_out():
    drives = [_drive("a", range(4)), _drive("b", range(4))]
    made = splits.without(drives, [list_file.Entry("a", None, "")])
    assert [part.sequence for part in made] == ["b"]


def test_targets_come_with_their_neighbours():
    (drive,) = [_drive("a", range(20))]
    targets = [list_file.Entry("a", number, "l") for number in (3, 10, 11, 19)]
    made = splits.around([drive], targets, before=1, after=2)
    assert [part.numbers for part in made] == [
        (2, 3, 4, 5),
        (9, 10, 11, 12, 13),
        (18, 19),
    ]


def test_a_part_of_a_part_is_a_part():
    drive = _drive("a", range(10))
    (part,) = drive.take([3, 4, 5, 6])
    (smaller,) = part.take([1, 2])
    assert smaller.numbers == (4, 5)
    assert smaller.image(1)[0, 0, 0] == 5
    assert drive.take([]) == []


def test_eigen_holds_out_scenes_whatever_the_camera():
    drives = [
        _drive("2011_09_26_drive_0001_sync", [0, 1], "l"),
        _drive(SCENE, [0, 1], "l"),
        _drive(SCENE, [0, 1], "r"),
        _drive("2011_09_28_drive_0001_sync", [0, 1], "l"),
    ]
    split = splits.eigen(drives)
    assert split.test == drives[1:3]
    assert split.train == [drives[0], drives[3]]
    assert len(splits.eigen_test_scenes()) == 28


def test_odometry_trains_on_nine_sequences_and_tests_on_two():
    drives = [_drive(f"{number:02d}", [0, 1]) for number in range(22)]
    split = splits.odometry(drives)
    assert [drive.sequence for drive in split.train] == [f"0{i}" for i in range(9)]
    assert [drive.sequence for drive in split.test] == ["09", "10"]


def test_eigen_scenes_are_those_published_and_hold_the_test_frames(sample_data):
    folder = sample_data / "kitti_splits" / "sfmlearner"
    scenes = {f"{scene}_sync" for scene in splits.eigen_test_scenes()}
    published = list_file.read_list(folder / "test_scenes_eigen.txt")
    assert set(list_file.names(published)) == scenes
    frames = list_file.read_list(folder / "test_files_eigen.txt")
    assert set(list_file.names(frames)) == scenes


def test_genuine_lists_are_checked_against_the_disk(sample_data, tmp_path):
    # The sample drive under the name of a test scene, its frames from number 69 on.
    source = sample_data / "kitti_raw_snippet" / "2011_09_26"
    date = tmp_path / "2011_09_26"
    images = date / SCENE / "image_02" / "data"
    images.mkdir(parents=True)
    for path in source.glob("calib_*.txt"):
        os.symlink(path, date / path.name)
    for frame in range(3):
        os.symlink(
            source / "2011_09_26_drive_0001_sync/image_02/data" / f"{frame:010d}.png",
            images / f"{69 + frame:010d}.png",
        )
    drives = sources.open_sources("kitti_raw", tmp_path)
    assert splits.eigen(drives).test == drives
    entries = list_file.read_list(
        sample_data / "kitti_splits" / "monodepth2/eigen/test_files.txt"
    )
    located = splits.locate(entries, drives)
    assert [place for place in located.places if place] == [(0, 0)]
    assert located.report().startswith(
        "1 of 697 listed frames found; 696 missing, of 28 recordings:"
    )


def test_only_labelled_frames_with_labelled_neighbours_are_kept(monkeypatch):
    drive = _drive("a", range(7))
    known = [True, False, True, True, False, True, True]
    monkeypatch.setattr(_Numbers, "labelled", lambda self: known, raising=False)
    assert [part.numbers for part in splits.labelled(drive)] == [(2, 3), (5, 6)]
    (part,) = drive.take([1, 2, 3])
    assert part.labelled() == [False, True, True]
    monkeypatch.undo()
    assert splits.labelled(drive) == []
