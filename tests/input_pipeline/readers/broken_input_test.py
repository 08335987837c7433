"""Tests that broken files end in the one error that names them, never in another."""

import importlib.util
import random
import time

import pytest

from mdm_jax.input_pipeline import readers
from mdm_jax.input_pipeline.readers import errors

_ROUNDS = 80  # for each data set
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
            except readers.DataError as error:
                found.append(error)
    return found


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
        for _ in range(_ROUNDS):
            path = rng.choice(kinds[rng.choice(sorted(kinds))])
            content = path.read_bytes()
            path.write_bytes(_mutated(content, rng))
            rounds += 1
            met = []
            try:
                met += _read(readers.open_drives(name, root))
            except readers.DataError as error:
                met.append(error)
            problems = errors.Problems("skip")
            try:
                met += _read(readers.open_drives(name, root, problems=problems))
            except readers.DataError as error:
                met.append(error)
            met += problems.errors
            for error in met:
                assert str(root) in str(error)
            errors_met += bool(met)
            path.write_bytes(content)
        assert not _read(readers.open_drives(name, root))
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
            met = _read(readers.open_drives(name, root))
        except readers.DataError as error:
            met = [error]
        for error in met:
            assert str(root) in str(error)
        path.write_bytes(content)


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
    with pytest.raises(readers.DataError, match=rf"{file}: no such file"):
        readers.open_drives(name, root)


def test_skipping_leaves_out_what_is_broken_and_keeps_the_rest(tiny, tmp_path):
    root = tiny.kitti_odometry(tmp_path)
    other = root / "sequences" / "08"
    for path in sorted((root / "sequences" / "07").rglob("*.*")):
        tiny.write(other / path.relative_to(root / "sequences/07"), path.read_bytes())
    (other / "calib.txt").write_text("P0: 1 2 3")
    problems = errors.Problems("skip")
    drives = readers.open_drives("kitti_odometry", root, problems=problems)
    assert [drive.name for drive in drives] == ["07"]
    assert problems.errors[0].path == str(other / "calib.txt")


def test_the_reason_is_told_where_nothing_is_left(tiny, tmp_path):
    root = tiny.struct2depth(tmp_path)
    (root / "drive/0000000002_cam.txt").write_text("")
    with pytest.raises(
        readers.DataError, match=r"(?s)no drives .*_cam.txt: the file is emp"
    ):
        problems = errors.Problems("skip")
        readers.open_drives("struct2depth", root, problems=problems)


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
            met = _read(readers.open_drives("waymo_v1", tmp_path))
        except readers.DataError as error:
            met = [error]
        for error in met:
            assert str(path) in str(error)
