"""Tests of the reader of three-frame strips."""

import numpy as np
import pytest

from mdm_jax import sources
from mdm_jax.files import image_file
from mdm_jax.geometry import view as view_lib


def test_a_strip_is_cut_into_its_frames_and_labels(tiny, tmp_path):
    (drive,) = sources.open_sources("struct2depth", tiny.struct2depth(tmp_path))
    for index in range(3):
        np.testing.assert_array_equal(drive.image(index), tiny.image(index))
    expected = np.zeros((3, tiny.HEIGHT, tiny.WIDTH))
    expected[0, 2:5, 3:7], expected[1, 2:5, 4:8] = 1, 2
    np.testing.assert_array_equal([drive.labels(i) for i in range(3)], expected)
    np.testing.assert_array_equal(
        drive.intrinsics, [[30, 0, 17], [0, 31, 9.5], [0, 0, 1]]
    )


def test_a_list_file_chooses_and_orders_the_strips(tiny, tmp_path):
    root = tiny.struct2depth(tmp_path)
    folder = root / "drive"
    for name in (".png", "_cam.txt"):
        tiny.write(folder / f"7{name}", (folder / f"0000000002{name}").read_bytes())
    assert len(sources.open_sources("struct2depth", root)) == 2
    tiny.write(root / "some.txt", "drive 7\n\ndrive 0000000002\n")
    drives = sources.open_sources("struct2depth", root, list_file="some.txt")
    assert [drive.name for drive in drives] == ["drive/7", "drive/0000000002"]
    assert drives[0].labels(0) is None  # no -fseg.png
    tiny.write(root / "some.txt", "drive 7\ndrive\n")
    with pytest.raises(
        sources.DataError, match="some.txt: line 2: expected 'folder id'"
    ):
        sources.open_sources("struct2depth", root, list_file="some.txt")


def test_a_width_that_is_not_three_frames_is_refused(tiny, tmp_path):
    root = tiny.struct2depth(tmp_path)
    tiny.write(root / "drive/0000000002.png", tiny.encoded(tiny.image(0, 20, 40)))
    with pytest.raises(sources.DataError, match="3 frames side by side, got 40"):
        sources.open_sources("struct2depth", root)


def test_the_genuine_strips_read_as_published(sample_data):
    root = sample_data / "struct2depth_example"
    drives = sources.open_sources("struct2depth", root, list_file="train.txt")
    assert [drive.name for drive in drives] == [
        f"aachen_000003/00000000{number:02d}" for number in (2, 6, 10, 14)
    ]
    for drive in drives:
        assert (len(drive), drive.size) == (3, (128, 416))
        fx, fy, cx, cy = drive.intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
        np.testing.assert_allclose(
            [fx, fy, cx, cy], [565.63, 566.325, 226.245, 64.284], rtol=1e-5
        )
        for index in range(3):
            values = np.unique(drive.labels(index))
            assert values[0] == 0
            assert 5 < len(values) <= values[-1] + 1 < 20
    (drive,) = sources.open_sources("struct2depth", root, list_file="train_erfurt.txt")
    assert drive.labels(1) is None
    assert drive.intrinsics[0, 2] == 222.8240625


def test_a_genuine_strip_holds_the_frames_it_was_cut_from(sample_data):
    root = sample_data / "struct2depth_example"
    drive = sources.open_sources("struct2depth", root, list_file="train.txt")[1]

    folder = sample_data / "cityscapes_sequence/leftImg8bit_sequence/train/aachen"
    for index, number in enumerate((4, 5, 6)):
        path = folder / f"aachen_000003_{number:06d}_leftImg8bit.jpg"
        small = view_lib.resize_image(image_file.read(path), (256, 512))
        error = np.abs(small[64:192, 48:464].astype(int) - drive.image(index))
        assert error.mean() < 2
