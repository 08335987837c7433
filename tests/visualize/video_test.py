"""Videos hold the pictures that they were given."""

import contextlib

import cv2
import numpy as np
import pytest

from mdm_jax.visualize import video


def test_pictures_stand_side_by_side_under_their_captions():
    red, blue = (np.zeros((31, 50, 3), np.uint8) for _ in range(2))
    red[..., 0], blue[..., 2] = 200, 180
    whole = video.side_by_side({"red": red, "blue": blue[:10, :20]})
    assert whole.shape[1] == 100 and not whole.shape[0] % 2
    assert (whole[-5, 5] == [200, 0, 0]).all() and (whole[-5, 95] == [0, 0, 180]).all()
    assert (whole[:20, :50] < 100).any(), "a caption is written"
    assert video.side_by_side({"a": red}, largest_width=24).shape[1] == 24


def test_frames_of_a_video_come_back(tmp_path):
    path = tmp_path / "a.mp4"
    with contextlib.closing(video.VideoWriter(path, frames_per_second=12)) as film:
        for level in (20, 120, 220):
            film.write(np.full((32, 48, 3), [level, 0, 60], np.uint8))
        with pytest.raises(ValueError, match="one size"):
            film.write(np.zeros((32, 50, 3), np.uint8))
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    means = []
    while (read := capture.read())[0]:
        means.append(read[1][..., ::-1].mean(axis=(0, 1)))
    expected = [[20, 0, 60], [120, 0, 60], [220, 0, 60]]
    np.testing.assert_allclose(means, expected, atol=8)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    film = video.VideoWriter(tmp_path / "no" / "a.mp4", frames_per_second=12)
    with pytest.raises(OSError, match=r"a\.mp4 cannot be written"):
        film.write(np.zeros((32, 48, 3), np.uint8))
