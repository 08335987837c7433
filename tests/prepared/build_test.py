"""Tests of building: same recordings as in place, and the same bytes after any end."""

import json
import multiprocessing
import os
import pathlib
import signal

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.input_pipeline import loader, raw_data
from mdm_jax.prepared import layout, plan, reading, shards, verify
from mdm_jax.prepared.options import Options
from tests import tiny_sets
from tests.prepared import killed

NAMES = sorted(tiny_sets.BUILDERS)


def _assert_same(found, expected, *, frames_within=0):
    assert [one.name for one in found] == [one.name for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.frames.shape == other.frames.shape
        difference = np.asarray(one.frames).astype(int) - np.asarray(other.frames)
        assert np.abs(difference).mean() <= frames_within
        for field in ("intrinsics", "depth", "world_from_camera", "instance_labels"):
            values, wanted = getattr(one, field), getattr(other, field)
            assert (values is None) == (wanted is None), field
            if values is not None:
                np.testing.assert_array_equal(values, wanted, err_msg=field)
                assert values.dtype == wanted.dtype


@pytest.mark.parametrize("name", NAMES)
def test_prepared_recordings_are_those_read_in_place(
    name, tiny, prepare, dataset, tmp_path
):
    root = tiny.BUILDERS[name](tmp_path / "raw")
    folder = prepare(name, root)
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    expected = raw_data.open_parts(dataset(name, root, tmp_path), held_out="")
    _assert_same(found.train, expected.train)
    assert not found.held_out


def test_videos_are_prepared_as_they_are_read_in_place(
    video_folder, prepare, dataset, tmp_path
):
    folder = prepare("video", video_folder)
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    expected = raw_data.open_video(dataset("video", video_folder, tmp_path))
    _assert_same(found.train, expected)


def test_a_video_file_gives_the_same_frames_however_it_is_cut(
    sample_data, prepare, dataset, tmp_path
):
    source = sample_data / "video" / "car-turn.mp4"
    for number, size in enumerate((81, 30)):
        folder = prepare(
            "video",
            source,
            intrinsics="learned",
            frames_per_shard=size,
            data_dir=str(number),
        )
        found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
        fields = {"intrinsics": "learned"}
        expected = raw_data.open_video(dataset("video", source, tmp_path, **fields))
        _assert_same(found.train, expected)
    changes = found.train[0].changes[3]
    frames = np.asarray(expected[0].frames) / 255
    assert changes[29] == pytest.approx(np.abs(frames[29] - frames[32]).mean())
    assert np.isinf(changes[-3:]).all() and np.isfinite(changes[:-3]).all()


def _first_batches(recordings, **options):
    defaults = {"clip_length": 3, "batch_size": 1, "seed": 3, "num_threads": 0}
    iterator = iter(loader.make_loader(recordings, **{**defaults, **options}))
    return [next(iterator) for _ in range(3)]


def _cityscapes(sample_data, tmp_path):
    """The sample with its camera file named as the reader wants it."""
    root = tmp_path / "cityscapes"
    root.mkdir()
    sample = sample_data / "cityscapes_sequence"
    (root / "leftImg8bit_sequence").symlink_to(sample / "leftImg8bit_sequence")
    target = root / "camera/train/aachen/aachen_000003_000019_camera.json"
    target.parent.mkdir(parents=True)
    target.symlink_to(sample / "camera/train/aachen/aachen_camera.json")
    return root


@pytest.mark.parametrize(
    ("name", "split"), [("kitti_raw", ""), ("cityscapes", "train")]
)
@pytest.mark.parametrize(("coding", "within"), [("png", 0.0), ("jpeg", 2.5)])
def test_real_batches_are_the_same_up_to_image_coding(
    name, split, coding, within, sample_data, prepare, dataset, tmp_path
):
    if name == "kitti_raw":
        source = sample_data / "kitti_raw_snippet"
    else:
        source = _cityscapes(sample_data, tmp_path)
    size = (64, 128)
    folder = prepare(
        name, source, split=split, size=size, image_format=coding, frames_per_shard=20
    )
    fields = {"size": size, "split": split}
    found = reading.open_parts(
        dataset("prepared", folder, tmp_path, **fields), held_out=""
    )
    expected = raw_data.open_parts(
        dataset(name, source, tmp_path, **fields), held_out=""
    )
    for augment in (None, {}):
        pairs = zip(
            _first_batches(found.train, augment=augment),
            _first_batches(expected.train, augment=augment),
            strict=True,
        )
        for batch, other in pairs:
            assert batch.keys() == other.keys()
            for key in batch:
                if key == "frames":
                    difference = batch[key].astype(int) - other[key]
                    assert np.abs(difference).mean() <= within
                else:
                    np.testing.assert_array_equal(batch[key], other[key])


def test_a_build_killed_anywhere_and_run_again_gives_the_same_bytes(
    tiny, prepare, tree, tmp_path
):
    root = tiny.kitti_raw(tmp_path / "raw")
    expected = tree(prepare("kitti_raw", root, data_dir="whole"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed.__name__])
    survived, moment = False, 0
    while not survived:
        options = {
            "name": "kitti_raw",
            "source": str(root),
            "data_dir": str(tmp_path / str(moment)),
            "size": (32, 48),
            "frames_per_shard": 2,
            "image_format": "png",
        }
        process = context.Process(target=killed.build, args=(options, moment))
        process.start()
        process.join()
        survived = process.exitcode == 0
        assert survived or process.exitcode == -signal.SIGKILL
        folder = prepare("kitti_raw", root, data_dir=str(moment))
        assert tree(folder) == expected, f"killed at moment {moment}"
        moment += 1 + moment // 6
    assert moment > 20  # among records, comparisons, and files of the index


def test_a_broken_file_stops_a_build_and_finished_shards_are_kept(
    tiny, prepare, tmp_path
):
    root = tiny.kitti_raw(tmp_path / "raw")
    broken = max(root.rglob("image_03/data/*.png"))
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(sources.DataError, match=f"{broken.name}.*cut off"):
        prepare("kitti_raw", root)
    (shard,) = (tmp_path / "prepared").rglob("*.array_record-00000-of-*")
    written = shard.stat().st_mtime_ns
    assert not list((tmp_path / "prepared").rglob(".*.part*"))
    with pytest.raises(sources.DataError, match=broken.name):
        prepare("kitti_raw", root)
    assert shard.stat().st_mtime_ns == written
    # With another file there, what is written may not fit any more.
    broken.write_bytes(content)
    with pytest.raises(ValueError, match="another state.*delete that folder"):
        prepare("kitti_raw", root)


def test_skipping_leaves_out_broken_frames_as_reading_in_place_does(
    tiny, prepare, dataset, tmp_path
):
    root = tiny.kitti_raw(tmp_path / "raw")
    broken = sorted(root.rglob("image_02/data/*.png"))[1]
    broken.write_bytes(broken.read_bytes()[:-40])
    options = {"on_error": "skip"}
    folder = prepare("kitti_raw", root, **options)
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    expected = raw_data.open_parts(
        dataset("kitti_raw", root, tmp_path, **options), held_out=""
    )
    _assert_same(found.train, expected.train)
    assert found.train[0].name.endswith("/02/0")  # cut in two
    report = json.loads((folder / layout.REPORT_JSON).read_text())
    assert report["frames"] == report["frames_planned"] - 1
    assert [path for path, _ in report["problems"]].count(str(broken)) == 1
    assert str(broken) in (folder / layout.REPORT_TEXT).read_text()


def test_other_options_in_the_same_folder_are_an_error(tiny, prepare, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    folder = prepare("kitti_raw", root)
    before = (folder / layout.INFO).stat().st_mtime_ns
    assert prepare("kitti_raw", root) == folder
    assert (folder / layout.INFO).stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="image_format='png'.*'jpeg'.*data_dir"):
        prepare("kitti_raw", root, image_format="jpeg")


def test_a_data_set_of_before_there_was_an_option_is_complete(tiny, prepare, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    folder = prepare("kitti_raw", root)
    told = json.loads((folder / layout.BUILD).read_text())
    for name in ("masks", "mask_coding", "annotation"):
        del told["options"][name]
    (folder / layout.BUILD).write_text(json.dumps(told))
    assert prepare("kitti_raw", root) == folder
    with pytest.raises(ValueError, match="was built with mask_coding='auto'"):
        prepare("kitti_raw", root, mask_coding="plain")


def test_two_builds_in_one_folder_are_an_error(tiny, prepare, tmp_path, monkeypatch):
    root = tiny.kitti_raw(tmp_path / "raw")

    def another(*_):
        monkeypatch.undo()
        with pytest.raises(OSError, match="another build is writing"):
            prepare("kitti_raw", root)
        raise RuntimeError("seen")

    monkeypatch.setattr(plan, "make", another)
    with pytest.raises(RuntimeError, match="seen"):
        prepare("kitti_raw", root)


def test_the_held_out_part_of_a_split_is_prepared_too(tiny, prepare, dataset, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    test_drive = root / "2011_09_26/2011_09_26_drive_0002_sync"
    train_drive = root / "2011_09_26/2011_09_26_drive_0001_sync"
    for path in sorted(train_drive.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            tiny.write(test_drive / path.relative_to(train_drive), content)
    folder = prepare("kitti_raw", root, split="eigen", evaluation_split="test")
    assert folder.parent.name == "32x48-eigen"
    fields = {"split": "eigen"}
    found = reading.open_parts(
        dataset("prepared", folder, tmp_path, **fields), held_out="test"
    )
    expected = raw_data.open_parts(
        dataset("kitti_raw", root, tmp_path, **fields), held_out="test"
    )
    assert found.held_out
    _assert_same(found.train, expected.train)
    _assert_same(found.held_out, expected.held_out)
    with pytest.raises(ValueError, match="split='eigen'.*is 'odometry'"):
        reading.open_parts(
            dataset("prepared", folder, tmp_path, split="odometry"), held_out=""
        )
    # Of a part that is broken as a whole nothing is prepared.
    tiny.write(test_drive / "image_02" / "timestamps.txt", b"never\n")
    options = {"split": "eigen", "evaluation_split": "test", "on_error": "skip"}
    folder = prepare("kitti_raw", root, data_dir="broken", **options)
    found = reading.open_parts(
        dataset("prepared", folder, tmp_path, **fields), held_out="test"
    )
    assert found.train
    assert not found.held_out


def test_tfds_opens_what_was_built(tiny, prepare, dataset, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tiny.kitti_raw(tmp_path / "raw")
    folder = prepare("kitti_raw", root)
    builder = tfds.builder_from_directory(str(folder))
    assert builder.info.full_name == "kitti_raw/32x48/1.0.0"
    source = builder.as_data_source(split="train")
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    number = 0
    for one in found.train:
        for index, frame in enumerate(one.frames):
            example = source[number]
            np.testing.assert_array_equal(example["image"], frame)
            np.testing.assert_array_equal(example["intrinsics"], one.intrinsics)
            np.testing.assert_array_equal(example["depth"], one.depth[index])
            np.testing.assert_array_equal(
                example["world_from_camera"], one.world_from_camera[index]
            )
            assert one.name.startswith(example["recording"].decode())
            assert example["frame"] == index
            number += 1
    assert len(source) == number
    stamps = [source[i]["timestamp"] for i in range(len(found.train[0]))]
    assert (np.diff(stamps) > 0).all() and np.median(np.diff(stamps)) < 1


def test_verification_names_a_shard_with_a_changed_byte(tiny, prepare, tmp_path):
    folder = prepare("kitti_raw", tiny.kitti_raw(tmp_path / "raw"))
    assert "are as they were written" in verify.verify(folder)
    shard = folder / layout.read_index(folder).shards[1].file
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(sources.DataError, match=f"{shard.name}.*SHA-256"):
        verify.verify(folder)


def test_a_full_disk_is_named():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    writer = shards.array_record_module.ArrayRecordWriter("/dev/full", "group_size:1")
    with pytest.raises(OSError, match="cannot write to out.*No space left.*goes on"):
        for _ in range(100):
            shards._guarded(pathlib.Path("out"), writer.write, bytes(40_000))
        shards._guarded(pathlib.Path("out"), writer.close)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "kitti"}, "NAME must be one of video, cityscapes.*got 'kitti'"),
        ({"size": (16, 64)}, "size is HEIGHTxWIDTH, at least 32"),
        ({"image_format": "webp"}, "jpeg, png; got 'webp'"),
        ({"frames_per_shard": 0}, "at least 1, got 0"),
        ({"evaluation_split": "val"}, "test, validation, empty; got 'val'"),
        ({"held_out": "list.txt"}, "evaluation_split"),
        ({"source": ""}, "source is missing"),
    ],
)
def test_options_that_cannot_be_are_named(options, message, tmp_path):
    defaults = {"name": "video", "source": "x", "data_dir": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        Options(**{**defaults, **options})
