"""Raw data sets as recordings: split by rule, folder or list; the truth comes along."""

import pathlib

import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import settings, sources
from mdm_jax.evaluation import image_predictions, protocols
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import clips, raw_data
from mdm_jax.methods import renamed_settings
from mdm_jax.training import data

WITH_POSES = ("ddad", "kitti_odometry", "kitti_raw", "nuscenes", "waymo_v1", "waymo_v2")
WITH_LABELS = ("struct2depth", "waymo_v1", "waymo_v2")


def _config(name, path, tmp_path, **options):
    config = config_lib.base_config()
    config.dataset.update(
        {
            "name": name,
            "path": str(path),
            "size": (16, 32),
            "cache_dir": str(tmp_path / "cache"),
            **options,
        }
    )
    return config


def _open(
    name,
    path,
    tmp_path,
    *,
    held_out="test",
    held_out_list="",
    labelled_only=False,
    **options,
):
    config = _config(name, path, tmp_path, held_out=held_out_list, **options)
    return raw_data.open_parts(
        config.dataset, held_out=held_out, labelled_only=labelled_only
    )


def _copy(source, target, **renamed):
    """Copies a folder, the names of files and folders in it changed."""
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        place = str(path.relative_to(source))
        for old, new in renamed.items():
            place = place.replace(old, new)
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        (target / place).write_bytes(path.read_bytes())


def _logged(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(
            raw_data.logging, level, lambda text, *values: lines.append(text % values)
        )
    return lines


def test_every_reader_gives_frames_intrinsics_and_what_else_is_known(
    tiny_set, tmp_path
):
    name, root = tiny_set
    train, held_out = _open(name, root, tmp_path)
    assert not held_out
    for one in train:
        assert one.size == (16, 32)
        assert one.intrinsics is not None
        assert (one.depth is not None) == (name != "struct2depth")
        assert one.depth is None or (np.asarray(one.depth) > 0).any()
        assert (one.world_from_camera is not None) == (name in WITH_POSES)
        assert (one.instance_labels is not None) == (name in WITH_LABELS)
        for known in (one.frames, one.depth, one.instance_labels):
            assert known is None or isinstance(known, np.memmap)
    without = raw_data.open_recordings(
        _config(name, root, tmp_path, with_truth=False).dataset
    )
    for one in without:
        assert one.depth is None
        assert one.world_from_camera is None
        assert (one.instance_labels is not None) == (name in WITH_LABELS)


def test_depth_is_scattered_to_the_nearest_pixel_not_averaged(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    ((one,), _) = _open("kitti_odometry", root, tmp_path)
    (drive,) = sources.open_sources("kitti_odometry", root)
    assert set(np.unique(one.depth[0])) <= {0, *drive.points(0)[:, 2]}
    assert 0 < (one.depth[0] > 0).sum() <= len(drive.points(0))


def test_kitti_test_scenes_are_held_out_seen_by_the_left_camera(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    _copy(root, root, drive_0001="drive_0002")
    train, held_out = _open("kitti_raw", root, tmp_path, split="eigen")
    drive = "2011_09_26_drive_000{}_sync/0{}"
    assert [one.name for one in train] == [drive.format(1, 2), drive.format(1, 3)]
    assert [one.name for one in held_out] == [drive.format(2, 2)]
    assert held_out[0].depth is not None
    train, held_out = _open("kitti_raw", root, tmp_path, split="eigen", held_out="")
    assert (len(train), len(held_out)) == (2, 0)
    with pytest.raises(ValueError, match="'validation'.*'eigen' .* a test part only"):
        _open("kitti_raw", root, tmp_path, split="eigen", held_out="validation")


def test_odometry_is_evaluated_on_sequences_9_and_10(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    for number in ("09", "10", "11"):
        _copy(
            root,
            root,
            **{"sequences/07": f"sequences/{number}", "07.txt": number + ".txt"},
        )
    train, held_out = _open("kitti_odometry", root, tmp_path, split="odometry")
    assert [one.name for one in train] == ["07"]
    assert [one.name for one in held_out] == ["09", "10"]


@pytest.mark.parametrize(
    ("name", "split", "part", "folder"),
    [
        ("cityscapes", "train", "validation", "val"),
        ("cityscapes", "train", "test", "test"),
        ("waymo_v1", "training", "validation", "validation"),
        ("waymo_v2", "training", "validation", "validation"),
        ("waymo_v1", "training", "test", "testing"),
    ],
)
def test_an_official_split_holds_out_its_other_folder(
    tiny, tmp_path, monkeypatch, name, split, part, folder
):
    root = tmp_path / "raw"
    built = tiny.BUILDERS[name](tmp_path / "built")
    if name == "cityscapes":
        _copy(built, root)
    else:
        _copy(built, root / split)
    lines = _logged(monkeypatch)
    train, held_out = _open(name, root, tmp_path, split=split, held_out=part)
    assert (len(train), len(held_out)) == (1, 0)
    (line,) = [line for line in lines if "is not in" in line]
    assert f"/{folder} is not in {root}: nothing is held out" in line
    if name == "cityscapes":
        _copy(built, root, train=folder, bremen="ulm")
    else:
        _copy(built, root / folder)
    train, held_out = _open(name, root, tmp_path, split=split, held_out=part)
    assert (len(train), len(held_out)) == (1, 1)
    if name == "cityscapes":
        assert held_out[0].name.startswith("ulm_")


def test_list_files_name_what_to_train_on_and_what_to_hold_out(
    tiny, tmp_path, monkeypatch
):
    root = tiny.kitti_raw(tmp_path / "raw")
    _copy(root, root, drive_0001="drive_0005")
    line = "2011_09_26/2011_09_26_drive_000{}_sync {} l\n"
    targets = tmp_path / "train_files.txt"
    targets.write_text(line.format(1, "0000000001") + line.format(1, 99))
    lines = _logged(monkeypatch)
    train, held_out = _open("kitti_raw", root, tmp_path, split=str(targets))
    assert [(one.name[-2:], len(one)) for one in train] == [("02", 3)]
    assert not held_out
    assert any("1 of 2 listed frames found; 1 missing" in line for line in lines)
    test = tmp_path / "test_files.txt"
    test.write_text(line.format(5, 1))
    train, held_out = _open("kitti_raw", root, tmp_path, held_out_list=str(test))
    # The frame and the next one, onto which it is matched.
    assert [(one.name, len(one)) for one in held_out] == [
        ("2011_09_26_drive_0005_sync/02/1", 2)
    ]
    # Neither they nor the other camera's frames of these moments are trained on, and
    # what remains of that drive is a single frame: also where nobody evaluates.
    for part in ("test", ""):
        train, found = _open(
            "kitti_raw", root, tmp_path, held_out=part, held_out_list=str(test)
        )
        assert [one.name for one in train] == [
            "2011_09_26_drive_0001_sync/02",
            "2011_09_26_drive_0001_sync/03",
        ]
        assert bool(found) == bool(part)
    test.write_text(line.format(1, 1) + line.format(5, 1))
    with pytest.raises(ValueError, match=r"test_files.txt holds out all frames there"):
        _open("kitti_raw", root, tmp_path, held_out_list=str(test))


def test_the_held_out_part_is_named_in_the_run(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    _copy(root, root, **{"sequences/07": "sequences/09", "07.txt": "09.txt"})
    config = _config("kitti_odometry", root, tmp_path, split="odometry")
    found = data.open_data(config, str(tmp_path))
    assert [one.name for one in found.train] == ["07"]
    assert [one.name for one in found.held_out] == ["09"]
    assert found.held_out_name == "test"


def test_method_b_gets_only_the_frames_that_have_labels(tiny, tmp_path):
    pytest.importorskip("pyarrow")
    root = tiny.waymo_v2(tmp_path / "raw" / "training")
    _copy(tiny.waymo_v2(tmp_path / "more"), root, **{"segment.p": "unlabelled.p"})
    (root / "camera_segmentation" / "unlabelled.parquet").unlink()
    options = {"split": "training", "held_out": "validation"}
    everything, _ = _open("waymo_v2", root.parent, tmp_path, **options)
    assert [one.instance_labels is None for one in everything] == [False, True]
    labelled, _ = _open(
        "waymo_v2", root.parent, tmp_path, labelled_only=True, **options
    )
    assert [one.name for one in labelled] == ["segment"]
    assert set(np.unique(labelled[0].instance_labels)) == {0, 1, 2}
    table = clips.clip_table(labelled, clip_length=2, static_threshold=0)
    assert "instance_labels" in clips.ClipSource(labelled, table)[0]
    (root / "camera_segmentation" / "segment.parquet").unlink()
    with pytest.raises(ValueError, match=r"4 frames of waymo_v2 .*dataset\.masks"):
        _open(
            "waymo_v2",
            root.parent,
            tmp_path / "empty",
            labelled_only=True,
            **options,
        )
    assert not (tmp_path / "empty").exists()  # Nothing was decoded.


def test_what_breaks_says_how_to_leave_it_out(tiny, tmp_path):
    root = tiny.ddad(tmp_path / "raw")
    scan = root / "000000/point_cloud/LIDAR/1.npz"
    scan.unlink()
    with pytest.raises(
        sources.DataError, match=r"1.npz: no such file.*--config.dataset.on_error=skip"
    ):
        _open("ddad", root, tmp_path)
    ((one,), _) = _open("ddad", root, tmp_path, on_error="skip")
    assert [(depth > 0).any() for depth in np.asarray(one.depth)] == [True, False]


def test_unknown_split_is_named(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    with pytest.raises(ValueError, match="split of kitti_raw.*'eigen'.*got 'train'"):
        _open("kitti_raw", root, tmp_path, split="train")


def test_missing_path_says_what_to_pass(tmp_path):
    with pytest.raises(ValueError, match="config.dataset.path.*folder of waymo_v1"):
        _open("waymo_v1", "", tmp_path)


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(sources.DataError, match=str(tmp_path)):
        _open("cityscapes", tmp_path, tmp_path)


def test_a_genuine_test_frame_is_held_out_by_its_list(sample_data, tmp_path):
    # The sample drive under the name of a test scene, and the published list.
    source = sample_data / "kitti_raw_snippet" / "2011_09_26"
    date = tmp_path / "raw" / "2011_09_26"
    for path in source.glob("calib_*.txt"):
        _link(path, date / path.name)
    for name, drive, first in (("image_02", 2, 69), ("image_02", 1, 0)):
        for frame in range(3):
            path = source / "2011_09_26_drive_0001_sync" / name / "data"
            _link(
                path / f"{frame:010d}.png",
                date
                / f"2011_09_26_drive_000{drive}_sync"
                / name
                / "data"
                / f"{first + frame:010d}.png",
            )
    published = sample_data / "kitti_splits" / "sfmlearner" / "test_files_eigen.txt"
    train, held_out = _open(
        "kitti_raw",
        tmp_path / "raw",
        tmp_path,
        split="eigen",
        held_out_list=str(published),
    )
    assert [(one.name, len(one)) for one in train] == [
        ("2011_09_26_drive_0001_sync/02", 3)
    ]
    assert [(one.name, len(one)) for one in held_out] == [
        ("2011_09_26_drive_0002_sync/02/69", 2)
    ]


def _link(target: pathlib.Path, place: pathlib.Path):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def test_masks_of_ones_own_take_the_place_of_labels(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    _copy(root, root, **{"sequences/07": "sequences/09", "07.txt": "09.txt"})
    masks = tmp_path / "masks"
    for frame in range(3):
        labels = np.zeros((tiny.HEIGHT, tiny.WIDTH), np.uint16)
        labels[4:12, 6 + frame : 16 + frame] = 1005
        tiny.write(masks / "07" / f"{frame:06d}.png", tiny.encoded(labels))
    options = {"split": "odometry", "masks": str(masks), "labelled_only": True}
    ((one,), held_out) = _open("kitti_odometry", root, tmp_path, **options)
    assert one.instance_labels.shape == (3, 16, 32)
    assert all(set(np.unique(frame)) == {0, 1} for frame in one.instance_labels)
    # Nothing is known of the instances of sequence 09, so it is not held out.
    assert not held_out
    (masks / "07" / "000001.png").unlink()
    with pytest.raises(ValueError, match=r"masks/07: 1 of 3 frames have no masks: 000"):
        _open("kitti_odometry", root, tmp_path, **options)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("cityscapes", "cityscapes"),
        ("ddad", "ddad"),
        ("kitti_raw", "kitti_eigen"),
        ("nuscenes", "nuscenes"),
        ("waymo_v1", "waymo"),
        ("waymo_v2", "waymo"),
    ],
)
def test_a_network_is_trained_on_what_the_published_protocol_shows_it(
    tiny, tmp_path, name, protocol
):
    root = tiny.BUILDERS[name](tmp_path / "raw")
    one = _open(name, root, tmp_path).train[0]
    original = one.source.image(0)
    shown = image_predictions.visible_part(protocols.get(protocol), original)
    np.testing.assert_array_equal(one.frames[0], view_lib.resize_image(shown, one.size))
    # Both begin at the top left, where a pixel's corner, not its centre, stays.
    scale = np.array(one.size[::-1]) / shown.shape[1::-1]
    matrix, known = one.intrinsics, one.source.intrinsics
    np.testing.assert_allclose(np.diag(matrix)[:2], np.diag(known)[:2] * scale, 1e-6)
    np.testing.assert_allclose(
        matrix[:2, 2], (known[:2, 2] + 0.5) * scale - 0.5, rtol=1e-6
    )
    squared = _open(name, root, tmp_path, fit="crop").train[0]
    fx, fy = np.diag(squared.intrinsics)[:2]
    np.testing.assert_allclose(fx / fy, known[0, 0] / known[1, 1], rtol=0.1)
    if one.depth is not None:
        kept = view_lib.stretched(shown.shape[:2], one.size)
        points = one.source.points(0)
        np.testing.assert_array_equal(one.depth[0], kept.depth(points))
    with pytest.raises(ValueError, match="dataset.fit expects crop, stretch"):
        _open(name, root, tmp_path, fit="squeeze")


def test_the_fit_is_kept_with_the_run(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    config = _config("kitti_raw", root, tmp_path)
    settled = data.settle(config, data.open_data(config, str(tmp_path)))
    assert settled.dataset.fit == "stretch"
    # Runs that do not name it were cropped.
    values = settings.flatten(config)
    del values["dataset.fit"]
    assert renamed_settings.translated(values)["dataset.fit"] == "crop"
    values["dataset.name"] = "video"
    assert "dataset.fit" not in renamed_settings.translated(values)


def test_intrinsics_of_ones_own_take_the_place_of_those_of_the_data_set(
    tiny_set, tmp_path
):
    name, root = tiny_set
    truth = _open(name, root, tmp_path).train[0]
    numbers = tmp_path / "camera.txt"
    numbers.write_text("36, 37, 16, 8.5")
    for specification, fx in (
        ("36,37,16,8.5", 36),
        (str(numbers), 36),
        ("fov:90", truth.view.original[1] / 2),
    ):
        one = _open(name, root, tmp_path, intrinsics=specification).train[0]
        original = one.view.original_intrinsics(one.intrinsics)
        assert original[0, 0] == pytest.approx(fx, rel=1e-6)
        # Laser points and disparities belong to the calibration of the data set.
        if truth.depth is not None:
            np.testing.assert_array_equal(one.depth, truth.depth)
    assert _open(name, root, tmp_path, intrinsics="learned").train[0].intrinsics is None
    with pytest.raises(ValueError, match="intrinsics expect pixels of a"):
        _open(name, root, tmp_path / "empty", intrinsics="36,37,999,8.5")
    assert not (tmp_path / "empty").exists()  # Nothing was decoded.


def test_learned_intrinsics_of_a_raw_data_set_are_learned(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    config = _config("kitti_raw", root, tmp_path, intrinsics="learned")
    settled = data.settle(config, data.open_data(config, str(tmp_path)))
    assert settled.camera.intrinsics == "video"
    assert settled.camera.num_videos == 2


def _write_masks(tiny, folder, names):
    labels = np.zeros((tiny.HEIGHT, tiny.WIDTH), np.uint8)
    labels[4:12, 6:16] = 1
    for name in names:
        tiny.write(folder / f"{name}.png", tiny.encoded(labels))


def test_masks_of_all_drives_are_checked_before_any_is_decoded(tiny, tmp_path):
    root = tiny.kitti_raw(tmp_path / "raw")
    _copy(root, root, drive_0001="drive_0002")
    masks, drive = tmp_path / "masks", "2011_09_26_drive_0001_sync"
    options = {"split": "eigen", "masks": str(masks)}
    frames = [f"{frame:010d}" for frame in range(3)]
    _write_masks(tiny, masks / drive / "02", frames)
    with pytest.raises(sources.DataError, match=f"no .* recording '{drive}/03'"):
        _open("kitti_raw", root, tmp_path, **options)
    assert not (tmp_path / "cache").exists()
    with_one, _ = _open("kitti_raw", root, tmp_path, on_error="skip", **options)
    assert [one.name for one in with_one] == [f"{drive}/02"]
    _write_masks(tiny, masks / drive / "03", frames)
    # Drives held out need no masks.
    train, held_out = _open("kitti_raw", root, tmp_path, **options)
    assert [one.instance_labels is None for one in train] == [False, False]
    assert [one.instance_labels is None for one in held_out] == [True]


def test_masks_of_a_whole_drive_serve_its_parts(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path / "raw")
    masks = tmp_path / "masks"
    for frame in range(3):
        labels = np.zeros((tiny.HEIGHT, tiny.WIDTH), np.uint8)
        labels[4:12, 6:16] = frame + 1
        tiny.write(masks / "07" / f"{frame:06d}.png", tiny.encoded(labels))
    targets = tmp_path / "targets.txt"
    targets.write_text("7 2 l\n")
    options = {"split": str(targets), "masks": str(masks), "clip_length": 2}
    ((one,), _) = _open("kitti_odometry", root, tmp_path, **options)
    assert one.name == "07/1"
    assert [frame.max() for frame in one.instance_labels] == [2, 3]
