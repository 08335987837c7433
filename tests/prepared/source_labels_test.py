"""Tests of masks in prepared data: they are those read in place, tracked if need be."""

import functools
import multiprocessing
import pickle
import shutil
import signal

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files.errors import DataError
from mdm_jax.input_pipeline import raw_data
from mdm_jax.prepared import build_sources, reading
from mdm_jax.prepared.options import Options
from tests.prepared import killed


def _write_masks(tiny, folder, names, size):
    """Two objects that step right; ids hold in one frame only."""
    for index, name in enumerate(names):
        labels = np.zeros(size, np.uint16)
        labels[2:11, 4 + index : 15 + index] = 300 + 7 * index
        labels[12:18, 20 + index : 27 + index] = 900 - 5 * index
        tiny.write(folder / f"{name}.png", tiny.encoded(labels))
    return folder.parent


@pytest.fixture
def odometry(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    names = [f"{frame:06d}" for frame in range(3)]
    masks = _write_masks(tiny, tmp_path / "masks/07", names, (tiny.HEIGHT, tiny.WIDTH))
    return root, masks


def _compare(found, expected):
    assert [one.name for one in found] == [one.name for one in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.instance_labels, other.instance_labels)
        assert len(np.unique(one.instance_labels)) > 2


@pytest.mark.parametrize("size", [(32, 48), (40, 64)])
def test_masks_of_a_drive_are_those_read_in_place(
    size, odometry, prepare, dataset, tmp_path
):
    root, masks = odometry
    fields = {"size": size, "masks": str(masks)}
    folder = prepare("kitti_odometry", root, num_processes=2, **fields)
    config = dataset("prepared", folder, tmp_path, size=size)
    found = reading.open_parts(config, held_out="", labelled_only=True)
    config = dataset("kitti_odometry", root, tmp_path, **fields)
    expected = raw_data.open_parts(config, held_out="", labelled_only=True)
    _compare(found.train, expected.train)


def test_masks_of_videos_are_those_read_in_place(
    tiny, video_folder, prepare, dataset, tmp_path
):
    for name, count in (("first", 5), ("second", 3)):
        _write_masks(tiny, tmp_path / "masks" / name, range(count), (40, 50))
    fields = {"masks": str(tmp_path / "masks"), "mask_coding": "plain"}
    folder = prepare("video", video_folder, **fields)
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    expected = raw_data.open_video(dataset("video", video_folder, tmp_path, **fields))
    _compare(found.train, expected)
    with pytest.raises(ValueError, match="was built with masks='.*masks'.*data_dir"):
        prepare("video", video_folder)


@pytest.fixture
def both_eyes(tiny, tmp_path):
    """Two drives of one recording, whose names have a folder in them."""
    root = tiny.kitti_raw(tmp_path / "raw")
    for drive in sources.open_sources("kitti_raw", root):
        frames = [f"{frame:010d}" for frame in range(3)]
        folder = tmp_path / "masks" / drive.name
        _write_masks(tiny, folder, frames, (tiny.HEIGHT, tiny.WIDTH))
    return root, tmp_path / "masks"


def test_a_broken_mask_stops_or_leaves_out_its_drive(
    both_eyes, prepare, dataset, tmp_path
):
    root, masks = both_eyes
    names = [drive.name for drive in sources.open_sources("kitti_raw", root)]
    (masks / names[-1] / "0000000001.png").write_bytes(b"broken")
    fields = {"masks": str(masks)}
    with pytest.raises(DataError, match=f"{names[-1]}/0000000001.png"):
        prepare("kitti_raw", root, data_dir="raised", **fields)
    fields["on_error"] = "skip"
    folder = prepare("kitti_raw", root, **fields)
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    expected = raw_data.open_parts(
        dataset("kitti_raw", root, tmp_path, **fields), held_out=""
    )
    assert [one.name for one in found.train] == names[:-1]
    _compare(found.train, expected.train)
    assert (folder / "report.txt").read_text().count("0000000001.png") == 1


def test_tracks_made_on_the_way_are_those_of_annotate_and_survive_an_end(
    odometry, prepare, dataset, tree, tmp_path
):
    root, masks = odometry
    fields = {"masks": str(masks), "annotation": {}}
    folder = prepare(
        "kitti_odometry",
        root,
        data_dir="whole",
        annotator=killed.annotator(masks),
        **fields,
    )
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    made = tmp_path / "whole/kitti_odometry/annotated"
    config = dataset("kitti_odometry", root, tmp_path, masks=str(made))
    _compare(found.train, raw_data.open_parts(config, held_out="").train)
    for frame in found.train[0].instance_labels:
        assert set(np.unique(frame)) == {0, 1, 2}  # and not another id in each
    expected, tracks = tree(folder), tree(made)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([killed.__name__])
    for moment in (0, 1, 3, 6):
        options = {
            "name": "kitti_odometry",
            "source": str(root),
            "data_dir": str(tmp_path / str(moment)),
            "size": (32, 48),
            "frames_per_shard": 2,
            "image_format": "png",
            **fields,
        }
        process = context.Process(
            target=killed.build, args=(options, moment), kwargs={"masks": str(masks)}
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        folder = prepare(
            "kitti_odometry",
            root,
            data_dir=str(moment),
            annotator=killed.annotator(masks),
            **fields,
        )
        assert tree(folder) == expected, f"killed at moment {moment}"
        assert tree(tmp_path / str(moment) / "kitti_odometry/annotated") == tracks


def test_tracks_go_around_a_broken_image_that_is_skipped(
    both_eyes, prepare, dataset, tmp_path
):
    root, masks = both_eyes
    broken = min(root.rglob("image_02/data/*.png"))
    broken.write_bytes(broken.read_bytes()[:-40])
    annotator = functools.partial(killed.annotator(masks), on_error="skip")
    folder = prepare(
        "kitti_raw",
        root,
        masks=str(masks),
        annotation={},
        annotator=annotator,
        on_error="skip",
    )
    found = reading.open_parts(dataset("prepared", folder, tmp_path), held_out="")
    assert [len(one) for one in found.train] == [2, 3]
    made = tmp_path / "prepared/kitti_raw/annotated"
    config = dataset("kitti_raw", root, tmp_path, masks=str(made), on_error="skip")
    _compare(found.train, raw_data.open_parts(config, held_out="").train)


def _add_drive(root):
    """Adds a drive 09, which the split `odometry` holds out."""
    shutil.copytree(root / "sequences/07", root / "sequences/09")
    shutil.copy(root / "poses/07.txt", root / "poses/09.txt")


@pytest.mark.parametrize("annotated", [False, True])
def test_a_held_out_drive_without_masks_is_prepared_without_labels(
    annotated, odometry, prepare, dataset, tmp_path
):
    root, masks = odometry
    _add_drive(root)
    fields = {"split": "odometry", "masks": str(masks)}
    if annotated:
        fields |= {"annotation": {}, "annotator": killed.annotator(masks)}
    folder = prepare("kitti_odometry", root, evaluation_split="test", **fields)
    config = dataset("prepared", folder, tmp_path, split="odometry")
    found = reading.open_parts(config, held_out="test")
    assert found.held_out[0].instance_labels is None
    assert not reading.open_parts(config, held_out="test", labelled_only=True).held_out


def test_tracks_of_one_drive_alone_are_kept_when_there_are_more(
    tiny, odometry, prepare
):
    root, masks = odometry
    fields = {"annotation": {}, "annotator": killed.annotator(masks)}
    fields["masks"] = str(masks)
    _add_drive(root)
    names = [f"{frame:06d}" for frame in range(3)]
    _write_masks(tiny, masks / "09", names, (tiny.HEIGHT, tiny.WIDTH))
    for split in ("odometry", ""):
        prepare("kitti_odometry", root, split=split, **fields)


def test_clips_travel_to_other_processes(both_eyes, tmp_path):
    root, _ = both_eyes
    options = Options(name="kitti_raw", source=str(root), data_dir=str(tmp_path))
    clips = build_sources.to_annotate(options)
    copied = pickle.loads(pickle.dumps(clips))
    assert [len(clip.frame_names()) for clip in copied] == [3, 3]
    for clip, other in zip(clips, copied, strict=True):
        for image, same in zip(clip.images(), other.images(), strict=True):
            np.testing.assert_array_equal(image, same)


def test_annotation_without_masks_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="name these with masks"):
        Options(name="video", source="x", data_dir=str(tmp_path), annotation={})
