"""Tests of encoded images: complete, or an error that names the file."""

import cv2
import numpy as np
import pytest

from mdm_jax.files import image_file
from mdm_jax.files.errors import DataError


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_cut_of_an_image_is_noticed(tiny, tmp_path, suffix):
    content = tiny.encoded(tiny.image(), suffix)
    for length in range(0, len(content) - 1, 41):
        path = tiny.write(tmp_path / f"frame{suffix}", content[:length])
        with pytest.raises(DataError, match=f"frame{suffix}"):
            image_file.read(path)
    path = tiny.write(tmp_path / f"frame{suffix}", content)
    assert image_file.read(path).shape == (tiny.HEIGHT, tiny.WIDTH, 3)


def test_every_changed_bit_of_a_png_is_noticed(tiny, tmp_path):
    content = bytearray(tiny.encoded(tiny.image(0, 3, 4)))
    for place in range(len(content)):
        changed = content.copy()
        changed[place] ^= 1 << place % 8
        path = tiny.write(tmp_path / "frame.png", bytes(changed))
        with pytest.raises(DataError):
            image_file.read(path)


def test_grey_deep_and_transparent_images_become_rgb(tmp_path):
    grey = np.full((4, 5), 100, np.uint8)
    for image in (grey, np.dstack([grey] * 4), grey.astype(np.uint16) * 256):
        cv2.imwrite(str(tmp_path / "a.png"), image)
        expected = np.full((4, 5, 3), 100)
        np.testing.assert_array_equal(image_file.read(tmp_path / "a.png"), expected)


def test_the_size_is_read_from_the_first_good_header(tiny, tmp_path):
    paths = [tmp_path / "absent.png"]
    paths.append(tiny.write(tmp_path / "bad.png", b"hello"))
    for suffix in (".jpg", ".png"):
        content = tiny.encoded(tiny.image(0, 7, 9), suffix)
        paths.append(tiny.write(tmp_path / f"good{suffix}", content))
    assert image_file.size_of(paths) == (7, 9)
    assert image_file.size_of(paths[3:]) == (7, 9)
    with pytest.raises(DataError, match=r"absent.png: no such file"):
        image_file.size_of(paths[:2])


def test_a_header_that_claims_terabytes_is_refused_before_decoding(tiny, tmp_path):
    content = bytearray(tiny.encoded(tiny.image(), ".jpg"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(DataError, match="claims 65535x65535"):
        image_file.read(tiny.write(tmp_path / "a.jpg", bytes(content)))


def test_another_size_is_named(tiny, tmp_path):
    path = tiny.write(tmp_path / "a.png", tiny.encoded(tiny.image()))
    with pytest.raises(DataError, match="expected an image of 8x9 .* got 20x36"):
        image_file.read(path, size=(8, 9))
