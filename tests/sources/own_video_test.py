"""Tests of sources: folders and videos of any size become recordings, or an error."""

import os
import types

import cv2
import numpy as np
import pytest

from mdm_jax.files import array_cache
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import clips, raw_data
from mdm_jax.recording import own_recordings
from mdm_jax.sources import own_video
from mdm_jax.training import data

SIZE = (32, 48)


def _open(path, tmp_path, **options):
    options = {"size": SIZE, "intrinsics": "fov:60", **options}
    return own_recordings.open_video(path, cache_dir=tmp_path / "cache", **options)


def _frames(count, height=40, width=64, seed=0):
    """Smooth frames, one grey level brighter each, that compression keeps."""
    ramp = np.add.outer(np.arange(height), np.arange(width) * 2.0)[..., None]
    colors = ramp * np.array([1.0, 0.7, 0.4])[None, None, :]
    return [np.clip(colors + 20 + 4 * i, 0, 255).astype(np.uint8) for i in range(count)]


def _write_images(folder, frames, pattern="{}.png", start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames, start=start):
        cv2.imwrite(str(folder / pattern.format(i)), frame[..., ::-1])
    return folder


def _write_video(path, frames, codec="MJPG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*codec), 10, (width, height)
    )
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def test_images_come_in_natural_order_as_rgb(tmp_path):
    frames = _frames(12, *SIZE)
    folder = _write_images(tmp_path / "drive", frames)
    (folder / ".hidden.png").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("not an image either")
    (recording,) = _open(folder, tmp_path)
    assert recording.name == "drive"
    assert recording.frames.dtype == np.uint8
    # Order 0 1 2 ... 9 10 11, and nothing to resize: exact.
    np.testing.assert_array_equal(recording.frames, np.stack(frames))


@pytest.mark.parametrize("suffix", own_video.IMAGE_SUFFIXES)
def test_every_image_format_is_read(tmp_path, suffix):
    frames = _frames(2, *SIZE)
    folder = _write_images(tmp_path / "drive", frames, "{}" + suffix.upper())
    (recording,) = _open(folder, tmp_path)
    error = np.abs(recording.frames.astype(int) - np.stack(frames))
    assert error.mean() < 4


def test_grey_transparent_and_deep_images_become_rgb(tmp_path):
    folder = tmp_path / "drive"
    folder.mkdir()
    grey = np.full((40, 64), 100, np.uint8)
    cv2.imwrite(str(folder / "0.png"), grey)
    cv2.imwrite(str(folder / "1.png"), np.dstack([grey] * 4))
    cv2.imwrite(str(folder / "2.png"), grey.astype(np.uint16) * 256)
    (recording,) = _open(folder, tmp_path)
    np.testing.assert_array_equal(recording.frames, np.full((3, *SIZE, 3), 100))


def test_subfolders_and_videos_are_one_recording_each(tmp_path):
    root = tmp_path / "data"
    _write_images(root / "b10", _frames(3))
    _write_images(root / "b9", _frames(2))
    _write_video(root / "c" / "clip.avi", _frames(4))
    (root / "empty").mkdir()
    recordings = _open(root, tmp_path)
    assert [r.name for r in recordings] == ["b9", "b10", "c-clip"]
    assert [len(r.frames) for r in recordings] == [2, 3, 4]


def test_a_video_file_gives_its_frames_in_order(tmp_path):
    frames = _frames(5, *SIZE)
    (recording,) = _open(_write_video(tmp_path / "v.avi", frames), tmp_path)
    assert recording.name == "v"
    error = np.abs(recording.frames.astype(int) - np.stack(frames))
    assert error.mean() < 4
    levels = recording.frames.mean(axis=(1, 2, 3))
    assert (np.diff(levels) > 2).all()


def test_a_point_projects_to_its_colour_after_crop_and_resize(tmp_path):
    height, width = 151, 260
    matrix = np.array([[210.0, 0, 133.2], [0, 215.0, 71.9], [0, 0, 1]])
    point = np.array([0.05, 0.03, 1.0])
    x, y = (matrix @ point)[:2] / point[2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    dot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
    frame = np.repeat(dot[..., None], 3, axis=2).astype(np.uint8)
    folder = _write_images(tmp_path / "drive", [frame, frame])
    for crop in ((0, 0, 0, 0), (0.1, 0.3, 0.05, 0.0)):
        (recording,) = _open(
            folder, tmp_path, crop=crop, intrinsics="210, 215, 133.2, 71.9"
        )
        assert recording.intrinsics.dtype == np.float32
        weight = recording.frames[1, ..., 0].astype(float)
        columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
        found = np.array([(weight * columns).sum(), (weight * rows).sum()])
        expected = (recording.intrinsics @ point)[:2] / point[2]
        np.testing.assert_allclose(found / weight.sum(), expected, atol=0.1)
        # The aspect ratio is kept to the rounding of the crop to pixels.
        fx, fy = recording.intrinsics[0, 0], recording.intrinsics[1, 1]
        np.testing.assert_allclose(fx / fy, 210 / 215, rtol=0.02)


def test_centre_crop_takes_the_same_from_both_sides(tmp_path):
    frame = np.zeros((40, 100, 3), np.uint8)
    frame[:, 20:80] = 200
    folder = _write_images(tmp_path / "drive", [frame, frame])
    (recording,) = _open(folder, tmp_path)
    np.testing.assert_array_equal(recording.frames, np.full((2, *SIZE, 3), 200))


def test_cam_txt_is_found_beside_the_frames_and_nearer_ones_win(tmp_path):
    root = tmp_path / "data"
    _write_images(root / "a", _frames(2))
    _write_images(root / "b", _frames(2))
    (root / "cam.txt").write_text("50 50 31 19\n")
    (root / "b" / "cam.txt").write_text("60, 60, 31, 19")
    one, other = _open(root, tmp_path, intrinsics="")
    np.testing.assert_allclose(other.intrinsics[0, 0] / one.intrinsics[0, 0], 1.2)


def test_learned_intrinsics_are_left_open(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(2))
    (recording,) = _open(folder, tmp_path, intrinsics="learned")
    assert recording.intrinsics is None


def test_second_start_reads_the_cache_and_a_change_renews_it(tmp_path, monkeypatch):
    folder = _write_images(tmp_path / "drive", _frames(4))
    (first,) = _open(folder, tmp_path)
    assert isinstance(first.frames, np.memmap) and not first.frames.flags.writeable
    with monkeypatch.context() as patch:
        patch.setattr(array_cache, "_write", None)  # decoding again would fail
        (second,) = _open(folder, tmp_path)
    np.testing.assert_array_equal(second.frames, first.frames)

    (other_size,) = _open(folder, tmp_path, size=(32, 40))
    assert other_size.frames.shape[1:3] == (32, 40)
    os.utime(folder / "2.png", (1, 1))
    _open(folder, tmp_path)
    _write_images(folder, _frames(1), start=4)
    (longer,) = _open(folder, tmp_path)
    assert len(longer.frames) == 5
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_a_damaged_cache_is_renewed(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(3))
    (recording,) = _open(folder, tmp_path)
    expected = np.array(recording.frames)
    (cache,) = (tmp_path / "cache").iterdir()
    for damaged in (cache.read_bytes()[:1000], b"", b"something else"):
        cache.write_bytes(damaged)
        (again,) = _open(folder, tmp_path)
        np.testing.assert_array_equal(again.frames, expected)


def test_what_a_killed_start_left_behind_is_removed(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("old", "young"):
        (cache / f".{name}.part").touch()
    os.utime(cache / ".old.part", (1, 1))
    _open(_write_images(tmp_path / "drive", _frames(2)), tmp_path)
    names = {path.name for path in cache.iterdir() if path.suffix == ".part"}
    assert names == {".young.part"}


def test_open_recordings_reads_the_config(tmp_path):
    dataset = types.SimpleNamespace(
        path=str(_write_images(tmp_path / "drive", _frames(2))),
        size=SIZE,
        crop=(0.0, 0.0, 0.0, 0.0),
        fit="",
        intrinsics="learned",
        cache_dir=str(tmp_path / "cache"),
        masks="",
        on_error="raise",
    )
    (recording,) = raw_data.open_video(dataset)
    assert recording.frames.shape == (2, *SIZE, 3)
    original = recording.view.original
    assert recording.view == view_lib.centred(original, SIZE)
    dataset.fit = "stretch"
    (recording,) = raw_data.open_video(dataset)
    assert recording.view == view_lib.stretched(original, SIZE)


# Bad input: each error names what is wrong, where, and what to do.


def test_missing_and_empty_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*does not exist; give"):
        _open(tmp_path / "nowhere", tmp_path)
    with pytest.raises(ValueError, match="dataset.path is empty"):
        _open("", tmp_path)
    (tmp_path / "bare").mkdir()
    with pytest.raises(ValueError, match="no images .* and no videos .*bare"):
        _open(tmp_path / "bare", tmp_path)


def test_fewer_than_two_frames(tmp_path):
    folder = _write_images(tmp_path / "one", _frames(1))
    with pytest.raises(ValueError, match="0.png: at least two frames.*read 1; give"):
        _open(folder, tmp_path)
    with pytest.raises(
        ValueError, match="0.png: at least two frames.*or the folder of"
    ):
        _open(folder / "0.png", tmp_path)
    video = _write_video(tmp_path / "v.avi", _frames(1))
    with pytest.raises(ValueError, match="v.avi: at least two frames.*read 1"):
        _open(video, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_frames_of_different_sizes_name_both_files(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(3))
    _write_images(folder, _frames(1, 40, 66), start=3)
    expected = r"3.png: is 40x66 pixels \(height x width\), but .*0.png is 40x64"
    with pytest.raises(ValueError, match=expected):
        _open(folder, tmp_path)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("kept", [0, 20, 1000])
@pytest.mark.parametrize("number", [0, 2])
def test_an_unreadable_image_is_named(tmp_path, kept, number):
    folder = _write_images(tmp_path / "drive", _frames(3))
    path = folder / f"{number}.png"
    content = path.read_bytes()
    assert kept < len(content)
    path.write_bytes(content[:kept])
    with pytest.raises(ValueError, match=f"{number}.png: cannot be read as an image"):
        _open(folder, tmp_path)


def test_small_sides(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(2, 31, 64))
    with pytest.raises(ValueError, match="0.png is 31x64 pixels.*at least 32"):
        _open(folder, tmp_path)
    folder = _write_images(tmp_path / "good", _frames(2))
    with pytest.raises(ValueError, match="at least 32 pixels each, got .16, 48."):
        _open(folder, tmp_path, size=(16, 48))
    with pytest.raises(ValueError, match="leave 16x24 of .* .height x width."):
        _open(folder, tmp_path, crop=(0.3, 0.3, 0, 0))
    with pytest.raises(ValueError, match="fractions to cut away"):
        _open(folder, tmp_path, crop=(0.5, 0.5, 0, 0))


def test_images_beside_videos(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(2))
    _write_video(folder / "v.avi", _frames(2))
    with pytest.raises(ValueError, match=r"both images \(0.png.*videos \(v.avi"):
        _open(folder, tmp_path)


def test_a_video_that_cannot_be_opened(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"no video" * 100)
    with pytest.raises(ValueError, match="broken.mp4 cannot be opened.*ffmpeg"):
        _open(path, tmp_path)


def test_a_video_that_breaks_keeps_its_frames_with_a_warning(tmp_path, caplog):
    path = _write_video(tmp_path / "v.avi", _frames(20))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * 0.6)])
    (recording,) = _open(path, tmp_path)
    assert 5 < len(recording.frames) < 20
    assert "announces 20" in caplog.text


def test_intrinsics_that_cannot_be(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(2))
    with pytest.raises(ValueError, match="drive.*pixels"):
        _open(folder, tmp_path, intrinsics="0.8,1.2,0.5,0.5")
    with pytest.raises(ValueError, match="drive"):
        _open(folder, tmp_path, intrinsics="700,700,320,190")
    with pytest.raises(FileNotFoundError, match="drive.*cam.txt.*'fov:DEGREES'"):
        _open(folder, tmp_path, intrinsics="")
    # Nothing was decoded before the intrinsics were found wrong.
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written(tmp_path):
    folder = _write_images(tmp_path / "drive", _frames(2))
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot write the cache in .*cache_dir"):
        _open(folder, tmp_path)


def test_a_disk_without_room(tmp_path, monkeypatch):
    folder = _write_images(tmp_path / "drive", _frames(2))
    usage = types.SimpleNamespace(free=100)
    monkeypatch.setattr(array_cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match="frames of drive need 0.0 GB"):
        _open(folder, tmp_path)


# Sample data.


def test_cityscapes_sequence(tmp_path, sample_data):
    root = sample_data / "cityscapes_sequence" / "leftImg8bit_sequence"
    if not root.exists():
        pytest.skip("no Cityscapes sequence in the sample data")
    (recording,) = _open(
        root / "train" / "aachen",
        tmp_path,
        size=(64, 208),
        intrinsics="2262.52, 2265.30, 1096.98, 513.137",
    )
    assert recording.frames.shape == (30, 64, 208, 3)
    # Width 2048 -> 208; the crop to 2048 x 630 starts at row (1024 - 630) // 2.
    scale_x, scale_y = 208 / 2048, 64 / 630
    expected = [
        [2262.52 * scale_x, 0, scale_x * (1096.98 + 0.5) - 0.5],
        [0, 2265.30 * scale_y, scale_y * (513.137 - 197 + 0.5) - 0.5],
        [0, 0, 1],
    ]
    np.testing.assert_allclose(recording.intrinsics, expected, rtol=1e-6)


def test_car_turn_video(tmp_path, sample_data):
    path = sample_data / "video" / "car-turn.mp4"
    if not path.exists():
        pytest.skip("no car-turn video in the sample data")
    (recording,) = _open(path, tmp_path, size=(64, 96), intrinsics="learned")
    assert recording.frames.shape == (81, 64, 96, 3)
    assert recording.frames.std() > 20


def test_many_videos_are_one_clip_each_with_a_camera_of_its_own(tmp_path, tiny_config):
    root = tmp_path / "web"
    _write_video(root / "first.avi", _frames(4))
    _write_video(root / "second.avi", _frames(3, height=60, width=80))
    _write_video(root / "third.avi", _frames(5, height=48, width=90))
    tiny_config.dataset.update(
        {"name": "video", "path": str(root), "size": SIZE, "intrinsics": "learned"}
    )
    tiny_config.dataset.static_threshold = 0.0
    opened = data.open_data(tiny_config, str(tmp_path))
    assert [one.name for one in opened.train] == ["first", "second", "third"]
    assert all(one.intrinsics is None for one in opened.train)
    settled = data.settle(tiny_config, opened)
    assert settled.camera.intrinsics == "video"
    assert settled.camera.num_videos == 3
    # What is learned belongs to the frames as they are.
    assert settled.augment.flip_probability == 0
    table = clips.clip_table(opened.train, clip_length=2, static_threshold=0)
    source = clips.ClipSource(opened.train, table)
    videos = [int(source[index]["video_index"]) for index in range(len(source))]
    assert videos == [0] * 3 + [1] * 2 + [2] * 4
