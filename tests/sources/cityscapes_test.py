"""Tests of the Cityscapes reader."""

import json
import os

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.recording import opening


def test_disparity_becomes_depth_by_the_published_formula(tiny, tmp_path):
    (drive,) = sources.open_sources("cityscapes", tiny.cityscapes(tmp_path))
    # Value 1 + 256 * 2 is disparity 2; value 1 is disparity 0, 0 is unknown.
    np.testing.assert_allclose(drive.points(2), [[5, 3, 0.2 * 40 / 2]])
    assert len(drive.points(0)) == 0  # not annotated


def test_a_disparity_for_every_frame_is_preferred(tiny, tmp_path):
    root = tiny.cityscapes(tmp_path)
    path = "train/bremen/bremen_000001_000017_disparity.png"
    content = np.full((tiny.HEIGHT, tiny.WIDTH), 1 + 256, np.uint16)
    tiny.write(root / "disparity_sequence" / path, tiny.encoded(content))
    (drive,) = sources.open_sources("cityscapes", root)
    assert len(drive.points(0)) == tiny.HEIGHT * tiny.WIDTH
    assert (drive.points(0)[:, 2] == 8).all()


def test_without_disparity_there_is_no_depth(tiny, tmp_path):
    root = tiny.cityscapes(tmp_path)
    (drive,) = sources.open_sources("cityscapes", root)
    drive.truth_files()[2].unlink()
    assert drive.points(2) is None


def test_the_camera_nearest_to_a_snippet_is_taken(tiny, tmp_path):
    root = tiny.cityscapes(tmp_path)
    images = root / "leftImg8bit_sequence/train/bremen"
    for path in sorted(images.iterdir()):
        later = path.name.replace("_00001", "_01001")
        tiny.write(images / later, path.read_bytes())
    cameras = root / "camera/train/bremen"
    record = json.loads(next(cameras.iterdir()).read_text())
    record["intrinsic"]["fx"] = 44.0
    tiny.write(cameras / "bremen_000001_010019_camera.json", json.dumps(record))
    first, second = sources.open_sources("cityscapes", root)
    assert (first.name, second.name) == ("bremen_000001_000017", "bremen_000001_010017")
    assert (first.intrinsics[0, 0], second.intrinsics[0, 0]) == (40.0, 44.0)


def test_a_split_is_its_folder(tiny, tmp_path):
    root = tiny.cityscapes(tmp_path)
    assert len(sources.open_sources("cityscapes", root, split="train")) == 1
    with pytest.raises(sources.DataError, match="val"):
        sources.open_sources("cityscapes", root, split="val")


def test_a_missing_camera_file_is_named_with_its_archive(tiny, tmp_path):
    root = tiny.cityscapes(tmp_path)
    next((root / "camera/train/bremen").iterdir()).unlink()
    message = r"bremen: expected a file bremen_000001_\*_camera.json; unpack camera_"
    with pytest.raises(sources.DataError, match=message):
        sources.open_sources("cityscapes", root)


def test_the_genuine_sample_reads_as_published(sample_data, tmp_path):
    folder = sample_data / "cityscapes_sequence"
    root = tmp_path / "raw"
    (root / "camera/train/aachen").mkdir(parents=True)
    os.symlink(folder / "leftImg8bit_sequence", root / "leftImg8bit_sequence")
    os.symlink(
        folder / "camera/train/aachen/aachen_camera.json",
        root / "camera/train/aachen/aachen_000003_000019_camera.json",
    )
    (drive,) = sources.open_sources("cityscapes", root)
    assert (drive.name, len(drive)) == ("aachen_000003_000000", 30)
    assert drive.size == (1024, 2048)
    fx, fy, cx, cy = drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    np.testing.assert_allclose(
        [fx, fy, cx, cy], [2262.52, 2265.3018, 1096.98, 513.137], rtol=1e-7
    )
    np.testing.assert_allclose(np.diff(drive.timestamps()), 1 / 17)
    # The bonnet goes, and what remains becomes 128 x 416.
    drive = drive.__class__(
        **{**drive.__dict__, "files": drive.files[:2], "numbers": drive.numbers[:2]}
    )
    (made,) = opening.open_recordings(
        [drive], size=(128, 416), cache_dir=tmp_path / "cache"
    )
    assert made.frames.shape == (2, 128, 416, 3)
    # Rows 0 to 767 are kept, of these the middle 630 at the full width.
    scale = 128 / 630
    y0 = (768 - 630) // 2
    assert abs(made.intrinsics[1, 2] - ((513.137 - y0 + 0.5) * scale - 0.5)) < 1e-4
    assert abs(made.intrinsics[0, 0] - 2262.52 * 416 / 2048) < 1e-4
