"""Tests that broken files end in the one error that names them, never in another."""

import importlib.util
import json
import pathlib
import random
import time

import pytest

from mdm_jax import config as config_lib
from mdm_jax import sources
from mdm_jax.files import errors
from mdm_jax.input_pipeline import raw_data

_ROUNDS = 64  # for each data set
_TRAINED = 8  # of these, every so many are opened as training does, with caches
_SECONDS = 15.0  # for all of them together


def _read(drives):
    """Reads everything; returns the errors that frames and drives give."""
    found = []
    for drive in drives:
        reads = [drive.world_from_camera, drive.timestamps]
        for index in range(len(drive)):
            for method in (drive.image, drive.points, drive.labels):
                reads.append(lambda method=method, index=index: method(index))
        for read in reads:
            try:
                read()
            except sources.DataError as error:
                found.append(error)
    return found


def _open_as_training_does(name, root, cache, on_error):
    """Returns the recordings and the error that leaves, of which one may be None."""
    dataset = config_lib.base_config().dataset
    dataset.update({"name": name, "path": str(root), "cache_dir": str(cache)})
    dataset.update({"size": (32, 48), "on_error": on_error})
    try:
        return raw_data.open_recordings(dataset), None
    except ValueError as error:
        return None, error


def _mutated(content, rng):
    """Returns content cut, emptied, overwritten, shifted, or with numbers exchanged."""
    content = bytearray(content)
    place = rng.randrange(len(content))
    kind = rng.randrange(8)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return b""
    if kind == 2:  # another magic number
        content[:8] = rng.randbytes(8)
    elif kind == 3:
        for _ in range(rng.randrange(1, 9)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 4:
        content[place : place + rng.randrange(1, 40)] = bytes(rng.randrange(1, 40))
    elif kind == 5:
        content[place:place] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 6:
        words = bytes(content).split(b" ")
        word = rng.choice(
            [b"nan", b"-1", b"1e308", b"inf", b"", b"\xff", b"null", b"[]"]
        )
        words[rng.randrange(len(words))] = word
        return b" ".join(words)
    else:
        lines = bytes(content).split(b"\n")
        del lines[rng.randrange(len(lines))]
        return b"\n".join(lines)
    return bytes(content)


def test_mutated_files_give_the_documented_error_or_none(tiny, tmp_path):
    started = time.process_time()
    rounds = errors_met = 0
    for name, build in sorted(tiny.BUILDERS.items()):
        rng = random.Random(name)
        if name == "waymo_v2" and not importlib.util.find_spec("pyarrow"):
            continue
        root = build(tmp_path / name)
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        # Tables and calibrations as often as images, however few they are.
        kinds = {}
        for path in paths:
            kinds.setdefault(
                (path.suffix, path.name if path.suffix in _TEXT else ""), []
            )
            kinds[path.suffix, path.name if path.suffix in _TEXT else ""].append(path)
        for number in range(_ROUNDS):
            path = rng.choice(kinds[rng.choice(sorted(kinds))])
            content = path.read_bytes()
            path.write_bytes(_mutated(content, rng))
            rounds += 1
            met = []
            try:
                met += _read(sources.open_sources(name, root))
            except sources.DataError as error:
                met.append(error)
            problems = errors.Problems("skip")
            try:
                met += _read(sources.open_sources(name, root, problems=problems))
            except sources.DataError as error:
                met.append(error)
            met += problems.errors
            for error in met:
                assert str(root) in str(error)
            errors_met += bool(met)
            if number % _TRAINED == 0:
                for on_error in errors.ON_ERROR:
                    made, error = _open_as_training_does(
                        name, root, tmp_path / "cache", on_error
                    )
                    assert (made is None) == (error is not None)
                    if error is not None:
                        assert str(root) in str(error)
                        assert "on_error=skip" in str(error) or on_error == "skip"
            path.write_bytes(content)
        assert not _read(sources.open_sources(name, root))
    assert rounds >= 500
    assert errors_met > rounds / 2
    assert time.process_time() - started < _SECONDS


_TEXT = (".txt", ".json")


def test_missing_files_give_the_documented_error_or_none(tiny_set):
    name, root = tiny_set
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        try:
            met = _read(sources.open_sources(name, root))
        except sources.DataError as error:
            met = [error]
        for error in met:
            assert str(root) in str(error)
        path.write_bytes(content)


_KITTI_DRIVE = "2011_09_26/2011_09_26_drive_0001_sync"


def _cut(path):
    path.write_bytes(path.read_bytes()[:-9])


def _empty(path):
    path.write_bytes(b"")


def _other_magic(path):
    path.write_bytes(b"GIF89a" + path.read_bytes()[6:])


def _forbid(path):
    path.chmod(0)


def _words(position, word, line=1):
    """Returns what writes a word in place of one of a line."""

    def change(path):
        lines = [text.split(" ") for text in path.read_text().splitlines()]
        lines[min(line, len(lines) - 1)][position] = word
        path.write_text("\n".join(" ".join(words) for words in lines))

    return change


def _values(change):
    """Returns what changes the value of a JSON file."""

    def rewrite(path):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    return rewrite


def _swap_records(path):
    """Exchanges two records of one length, or makes them so."""
    from mdm_jax.sources import tfrecord

    content = path.read_bytes()
    (first, second), _ = tfrecord.index(path)
    middle = second.offset - 12
    assert first.offset == 12
    path.write_bytes(content[middle:] + content[:middle])


@pytest.mark.parametrize("on_error", errors.ON_ERROR)
@pytest.mark.parametrize(
    ("name", "file", "damage"),
    [
        ("kitti_raw", f"{_KITTI_DRIVE}/image_02/data/0000000001.png", _cut),
        ("kitti_raw", f"{_KITTI_DRIVE}/image_03/data/0000000000.png", _other_magic),
        ("kitti_raw", f"{_KITTI_DRIVE}/image_02/data/0000000002.png", _empty),
        ("kitti_raw", f"{_KITTI_DRIVE}/image_02/data/0000000002.png", _forbid),
        ("kitti_raw", f"{_KITTI_DRIVE}/velodyne_points/data/0000000001.bin", _cut),
        ("kitti_raw", f"{_KITTI_DRIVE}/oxts/data/0000000001.txt", _words(0, "nan")),
        (
            "kitti_raw",
            f"{_KITTI_DRIVE}/image_02/timestamps.txt",
            _words(1, "13:02:20.0", line=2),
        ),
        ("kitti_odometry", "sequences/07/velodyne/000002.bin", _empty),
        ("kitti_odometry", "sequences/07/velodyne/000002.bin", _forbid),
        ("kitti_odometry", "poses/07.txt", _words(3, "nan")),
        ("kitti_odometry", "sequences/07/times.txt", _words(0, "0.0")),
        (
            "cityscapes",
            "disparity/train/bremen/bremen_000001_000019_disparity.png",
            _cut,
        ),
        ("struct2depth", "drive/0000000002-fseg.png", _cut),
        ("nuscenes", "samples/CAM_FRONT/CAM_FRONT1.jpg", _cut),
        ("nuscenes", "samples/LIDAR_TOP/LIDAR_TOP0.bin", _cut),
        (
            "nuscenes",
            "v1.0-mini/ego_pose.json",
            _values(lambda rows: rows[0].update(rotation=[float("nan"), 0, 0, 1])),
        ),
        (
            "nuscenes",
            "v1.0-mini/sample_data.json",
            _values(lambda rows: [row.update(timestamp=10**15) for row in rows]),
        ),
        ("ddad", "000000/point_cloud/LIDAR/0.npz", _cut),
        ("ddad", "000000/rgb/CAMERA_01/1.png", _empty),
        (
            "ddad",
            "000000/scene_ab.json",
            _values(
                lambda scene: scene["data"][0]["datum"]["image"]["pose"][
                    "translation"
                ].update(x=float("nan"))
            ),
        ),
        ("waymo_v1", "segment.tfrecord", _cut),
        ("waymo_v1", "segment.tfrecord", _other_magic),
        ("waymo_v1", "segment.tfrecord", _swap_records),
        ("waymo_v1", "segment.tfrecord", _empty),
        ("waymo_v2", "camera_image/segment.parquet", _cut),
        ("waymo_v2", "lidar/segment.parquet", _other_magic),
        ("waymo_v2", "camera_segmentation/segment.parquet", _empty),
    ],
)
def test_training_stops_with_an_instruction_or_skips_and_counts(
    tiny, tmp_path, monkeypatch, name, file, damage, on_error
):
    # Names with spaces and any letters are no obstacle.
    root = tiny.BUILDERS[name](tmp_path / "Größe 道路 a")
    path = root / file
    _deny_without_permission(monkeypatch)
    damage(path)
    warnings = []
    for module in (raw_data, errors):
        monkeypatch.setattr(
            module.logging,
            "warning",
            lambda text, *values: warnings.append(text % values),
        )
    made, error = _open_as_training_does(name, root, tmp_path / "cache", on_error)
    place = str(path)
    if name == "nuscenes" and file.endswith("pose.json"):
        place = str(path.parent)
    if on_error == "raise":
        assert place in str(error)
        assert "--config.dataset.on_error=skip" in str(error)
        return
    told = str(error) if made is None else "\n".join(warnings)
    assert place in told
    assert "skipped for broken files" in told


def _deny_without_permission(monkeypatch):
    """Makes files of mode 0 unreadable for the superuser too, as they are for others."""
    genuine = pathlib.Path.open

    def opened(self, *args, **kwargs):
        if self.is_file() and self.stat().st_mode & 0o777 == 0:
            raise PermissionError(13, "Permission denied", str(self))
        return genuine(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", opened)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("kitti_raw", "2011_09_26/calib_cam_to_cam.txt"),
        ("kitti_raw", "2011_09_26/calib_velo_to_cam.txt"),
        ("kitti_odometry", "sequences/07/calib.txt"),
        ("struct2depth", "drive/0000000002_cam.txt"),
        ("nuscenes", "v1.0-mini/calibrated_sensor.json"),
        ("ddad", "000000/calibration/k.json"),
    ],
)
def test_a_missing_calibration_is_named(tiny, tmp_path, name, file):
    root = tiny.BUILDERS[name](tmp_path)
    (root / file).unlink()
    with pytest.raises(sources.DataError, match=rf"{file}: no such file"):
        sources.open_sources(name, root)


def test_skipping_leaves_out_what_is_broken_and_keeps_the_rest(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    other = root / "sequences" / "08"
    for path in sorted((root / "sequences" / "07").rglob("*.*")):
        tiny.write(other / path.relative_to(root / "sequences/07"), path.read_bytes())
    (other / "calib.txt").write_text("P0: 1 2 3")
    problems = errors.Problems("skip")
    drives = sources.open_sources("kitti_odometry", root, problems=problems)
    assert [drive.name for drive in drives] == ["07"]
    assert problems.errors[0].path == str(other / "calib.txt")


def test_the_reason_is_told_where_nothing_is_left(tiny, tmp_path):
    root = tiny.struct2depth(tmp_path)
    (root / "drive/0000000002_cam.txt").write_text("")
    with pytest.raises(
        sources.DataError, match=r"(?s)no drives .*_cam.txt: the file is emp"
    ):
        problems = errors.Problems("skip")
        sources.open_sources("struct2depth", root, problems=problems)


def test_damaged_messages_under_right_check_sums_give_the_documented_error(
    tiny, tmp_path
):
    rng = random.Random(0)
    frames = [tiny.waymo_frame(0), tiny.waymo_frame(1)]
    path = tmp_path / "segment.tfrecord"
    for _ in range(_ROUNDS):
        records = [frames[0], bytes(_mutated(frames[1], rng))]
        rng.shuffle(records)
        tiny.write(path, tiny.tfrecord(records))
        try:
            met = _read(sources.open_sources("waymo_v1", tmp_path))
        except sources.DataError as error:
            met = [error]
        for error in met:
            assert str(path) in str(error)
