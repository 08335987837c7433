"""Tests of drives becoming recordings: one view for all, one cache, nothing bridged."""

import dataclasses
import pathlib
import pickle
import types

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files import array_cache, errors
from mdm_jax.geometry import view
from mdm_jax.input_pipeline import clips
from mdm_jax.recording import opening
from mdm_jax.sources.source import Source

SIZE = (10, 18)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Dots(Source):
    """A bright dot, with its depth and label where the dot is."""

    x: float
    y: float

    def image(self, index):
        columns, rows = np.meshgrid(np.arange(self.size[1]), np.arange(self.size[0]))
        squares = (columns - self.x) ** 2 + (rows - self.y) ** 2
        dot = 250 * np.exp(-squares / (2 * 6.0**2))
        return np.repeat(dot[..., None], 3, axis=2).astype(np.uint8)

    def points(self, index):
        return np.array([[self.x, self.y, 5.0 + index]], np.float32)

    def labels(self, index):
        return (self.image(index)[..., 0] > 125).astype(np.uint8)

    def labelled(self):
        return [True] * len(self)

    def world_from_camera(self):
        poses = np.tile(np.eye(4), (len(self), 1, 1))
        poses[:, 0, 3] = 1e5 + np.arange(len(self))
        return poses


def _open(drives, tmp_path, **options):
    options = {"size": SIZE, "cache_dir": tmp_path / "cache", **options}
    return opening.open_recordings(drives, **options)


@pytest.mark.parametrize("crop", [(0, 0, 0, 0), (0.1, 0.25, 0.0, 0.2)])
def test_image_intrinsics_points_and_labels_go_through_one_view(tmp_path, crop):
    place = tmp_path / "dots"
    place.touch()
    matrix = np.array([[150.0, 0, 80.2], [0, 155.0, 52.9], [0, 0, 1]])
    point = np.array([0.06, -0.05, 1.0])
    x, y = (matrix @ point)[:2]
    dots = _Dots(
        name="dots", files=(place,) * 2, size=(101, 170), intrinsics=matrix, x=x, y=y
    )
    size = (60, 100)
    (made,) = _open(
        [dots], tmp_path, size=size, crop=crop, with_depth=True, with_labels=True
    )
    expected = (made.intrinsics @ point)[:2]
    columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    for weight in (made.frames[1, ..., 0].astype(float), made.instance_labels[1]):
        found = np.array([(weight * columns).sum(), (weight * rows).sum()])
        np.testing.assert_allclose(found / weight.sum(), expected, atol=0.3)
    (row,), (column,) = np.nonzero(made.depth[1])
    assert np.abs(expected - [column, row]).max() <= 0.5 + 1e-4
    assert made.depth[1, row, column] == 6.0
    # The world begins at the first camera: kilometres do not fit in float32.
    np.testing.assert_array_equal(made.world_from_camera[:, 0, 3], [0, 1])


def test_a_view_that_keeps_all_changes_nothing():
    whole = view.centred((5, 7), (5, 7), (0, 0, 0, 0))
    points = np.array([[1.25, 3.5, 2.0]], np.float32)
    np.testing.assert_allclose(whole.points(points), points)
    labels = np.arange(35).reshape(5, 7)
    np.testing.assert_array_equal(whole.labels(labels), labels)


@pytest.mark.parametrize("crop", [(0.5, 0.5, 0, 0), (0, 0, -0.1, 0), (0, 0, 0)])
def test_a_crop_that_leaves_nothing_is_refused(crop):
    with pytest.raises(ValueError, match="crop holds the fractions"):
        view.centred((5, 7), (5, 7), crop)


def test_every_tiny_set_becomes_clips(tiny_set, tmp_path):
    name, root = tiny_set
    made = _open(
        sources.open_sources(name, root), tmp_path, with_depth=True, with_labels=True
    )
    table = clips.clip_table(made, clip_length=2, static_threshold=0)
    assert len(table.index) >= 1
    clip = clips.ClipSource(made, table)[0]
    assert clip["frames"].shape == (2, *SIZE, 3)


def test_the_cache_is_used_until_a_file_changes(tiny, tmp_path, monkeypatch):
    root = tiny.kitti_odometry(tmp_path / "raw")
    drives = sources.open_sources("kitti_odometry", root)
    (first,) = _open(drives, tmp_path, with_depth=True)
    with monkeypatch.context() as patch:
        patch.setattr(type(drives[0]), "image", None)
        (again,) = _open(drives, tmp_path, with_depth=True)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.depth, again.depth)
    scan = drives[0].truth_files()[1]
    scan.write_bytes(scan.read_bytes()[:16])
    (changed,) = _open(drives, tmp_path, with_depth=True)
    assert (changed.depth[1] > 0).sum() == 1
    assert (first.depth[1] > 0).sum() > 1


def test_another_calibration_lays_depth_out_anew(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    (first,) = _open(
        sources.open_sources("kitti_odometry", root), tmp_path, with_depth=True
    )
    path = root / "sequences" / "07" / "calib.txt"
    lines = path.read_text().splitlines()
    values = [float(word) for word in lines[-1].split()[1:]]
    values[11] += 1.0  # The scanner stands 1 m further back.
    path.write_text("\n".join([*lines[:-1], f"Tr: {tiny.numbers(values)}"]))
    (changed,) = _open(
        sources.open_sources("kitti_odometry", root), tmp_path, with_depth=True
    )
    farthest, now = (np.asarray(one.depth).max() for one in (first, changed))
    assert now == pytest.approx(farthest + 1, abs=1e-3)
    assert first.frames.filename == changed.frames.filename


def test_a_map_that_cannot_be_laid_out_leaves_nothing_behind(
    tiny, tmp_path, monkeypatch
):
    drives = sources.open_sources("kitti_odometry", tiny.kitti_odometry(tmp_path))
    _open(drives, tmp_path)
    before = sorted((tmp_path / "cache").iterdir())
    with monkeypatch.context() as patch:
        point = np.ones((1, 3), np.float32)
        patch.setattr(type(drives[0]), "points", lambda self, index: [point][index])
        with pytest.raises(IndexError):
            _open(drives, tmp_path, with_depth=True)
    assert sorted((tmp_path / "cache").iterdir()) == before
    usage = types.SimpleNamespace(free=100)
    monkeypatch.setattr(array_cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"depth of 07 need .*with_truth=False"):
        _open(drives, tmp_path, with_depth=True)


def test_a_broken_image_splits_a_recording_and_is_counted(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    folder = root / "sequences" / "07"
    for frame in range(3, 7):
        tiny.write(folder / f"image_2/{frame:06d}.png", tiny.encoded(tiny.image(frame)))
        scan = tiny.SCAN.astype("<f4").tobytes()
        tiny.write(folder / f"velodyne/{frame:06d}.bin", scan)
    (folder / "times.txt").write_text("\n".join(str(0.1 * i) for i in range(7)))
    pose = np.eye(4)[:3].ravel().tolist()
    (root / "poses/07.txt").write_text("\n".join([" ".join(map(str, pose))] * 7))
    path = folder / "image_2/000003.png"
    path.write_bytes(path.read_bytes()[:50])
    (folder / "image_2/000005.png").write_bytes(b"GIF89a")
    drives = sources.open_sources("kitti_odometry", root)
    with pytest.raises(sources.DataError, match=r"000003.png: the PNG has no end"):
        _open(drives, tmp_path)
    assert not list((tmp_path / "cache").glob("*.npy"))
    for _ in range(2):  # decoding, then from the cache
        problems = errors.Problems("skip")
        made = _open(drives, tmp_path, with_depth=True, problems=problems)
        assert [recording.name for recording in made] == ["07/0", "07/4", "07/6"]
        assert [len(recording) for recording in made] == [3, 1, 1]
        assert [pathlib.Path(error.path).name for error in problems.errors] == [
            "000003.png",
            "000005.png",
        ]
        np.testing.assert_array_equal(
            made[1].frames[0],
            view.centred((20, 36), SIZE, (0, 0, 0, 0)).image(tiny.image(4)),
        )
    # What was skipped once is not taken for good by who wants to stop.
    with pytest.raises(sources.DataError, match=r"000003.png"):
        _open(drives, tmp_path)
    # A part of a memory map travels as its place, not as its content.
    table = clips.clip_table(made, clip_length=2, static_threshold=0)
    source = clips.ClipSource(made, table)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[1]["frames"], source[1]["frames"])
    np.testing.assert_array_equal(copy[1]["depth"], source[1]["depth"])


def test_a_frame_that_is_black_in_truth_is_kept(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    path = root / "sequences/07/image_2/000001.png"
    path.write_bytes(tiny.encoded(np.zeros((tiny.HEIGHT, tiny.WIDTH, 3), np.uint8)))
    (made,) = _open(sources.open_sources("kitti_odometry", root), tmp_path)
    assert len(made) == 3


def test_a_broken_scan_is_unknown_depth_and_is_counted(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    drives = sources.open_sources("kitti_odometry", root)
    drives[0].truth_files()[0].write_bytes(b"1234567")
    problems = errors.Problems("skip")
    (made,) = _open(drives, tmp_path, with_depth=True, problems=problems)
    assert [(depth > 0).any() for depth in made.depth] == [False, True, True]
    assert "000000.bin" in problems.summary()
    with pytest.raises(sources.DataError, match=r"000000.bin: expected a multiple"):
        _open(drives, tmp_path, with_depth=True)


@pytest.mark.parametrize("file", ["poses/07.txt", "sequences/07/times.txt"])
def test_broken_poses_or_times_leave_out_the_drive(tiny, tmp_path, file):
    root = tiny.kitti_odometry(tmp_path / "raw")
    path = root / file
    lines = path.read_text().splitlines()
    lines[1] = " ".join(["nan"] * len(lines[1].split()))
    path.write_text("\n".join(lines))
    drives = sources.open_sources("kitti_odometry", root)
    with pytest.raises(sources.DataError, match=path.name):
        _open(drives, tmp_path)
    problems = errors.Problems("skip")
    assert _open(drives, tmp_path, problems=problems) == []
    assert problems.errors[0].path == str(path)


def test_broken_poses_do_not_matter_to_who_wants_none(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    (root / "poses/07.txt").write_text("nan")
    drives = sources.open_sources("kitti_odometry", root)
    (made,) = _open(drives, tmp_path, with_poses=False)
    assert made.world_from_camera is None


def test_parts_of_one_file_have_caches_of_their_own(tiny, tmp_path):
    (drive,) = sources.open_sources("struct2depth", tiny.struct2depth(tmp_path / "raw"))
    for indices in ([0, 1, 2], [1, 2], [1], [0, 1]):
        (made,) = _open(drive.take(indices), tmp_path)
        assert len(made) == len(indices)
        shrink = view.centred(drive.size, SIZE, (0, 0, 0, 0))
        for frame, index in zip(made.frames, indices, strict=True):
            np.testing.assert_array_equal(frame, shrink.image(tiny.image(index)))


def test_times_that_do_not_increase_are_an_error(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    path = root / "sequences/07/times.txt"
    path.write_text("0\n0.2\n0.1\n")
    with pytest.raises(sources.DataError, match=r"times.txt: time 2 of 3, 0.1.* order"):
        _open(sources.open_sources("kitti_odometry", root), tmp_path)


def test_missing_images_are_named(tiny, tmp_path):
    root = tiny.ddad(tmp_path / "raw")
    drives = sources.open_sources("ddad", root)
    drives[0].files[1].unlink()
    with pytest.raises(sources.DataError, match=r"1.png: no such file"):
        _open(drives, tmp_path)
    problems = errors.Problems("skip")
    (made,) = _open(drives, tmp_path, problems=problems)
    assert len(made) == 1
    drives[0].files[0].unlink()
    with pytest.raises(sources.DataError, match="none of the 2 images of 000000"):
        _open(drives, tmp_path)
