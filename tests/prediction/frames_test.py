"""Frames go to the network and results come back by the same geometry."""

import cv2
import numpy as np
import pytest

from mdm_jax.prediction import frames

K = np.array([[50.0, 0, 30], [0, 52.0, 22], [0, 0, 1]])


@pytest.mark.parametrize("fit", frames.FITS)
def test_depth_of_a_plane_comes_back_exactly(fit):
    original, size = (66, 120), (33, 48)
    view = frames.make_view(original, size, fit=fit, crop=(0, 0.1, 0.05, 0))

    def plane(matrix, height, width):
        x = (np.arange(width)[None, :] - matrix[0, 2]) / matrix[0, 0]
        y = (np.arange(height)[:, None] - matrix[1, 2]) / matrix[1, 1]
        return (1 / (0.2 + 0.03 * x + 0.1 * y)).astype(np.float32)

    seen = plane(view.intrinsics(K), *size)
    back = frames.original_depth(view, seen, original)
    truth = plane(K, *original)
    inner = np.zeros(original, bool)
    # Half a network pixel from the border there is nothing to interpolate.
    inner[view.y0 + 2 : view.y0 + view.box[0] - 2, view.x0 + 2 :] = True
    inner[:, view.x0 + view.box[1] - 2 :] = False
    np.testing.assert_allclose(back[inner], truth[inner], rtol=1e-4)
    outside = np.ones(original, bool)
    outside[view.y0 : view.y0 + view.box[0], view.x0 : view.x0 + view.box[1]] = False
    assert (back[outside] == 0).all() and (back[~outside] > 0).all()
    assert outside.any() == (fit == "crop")


def test_intrinsics_come_back_as_they_went():
    view = frames.make_view((70, 130), (32, 48), crop=(0.1, 0.2, 0, 0.1))
    back = frames.original_intrinsics(view, view.intrinsics(K))
    np.testing.assert_allclose(back, K, rtol=1e-12)


def test_masks_and_motion_are_not_mixed():
    view = frames.make_view((64, 96), (32, 40))
    values = np.random.default_rng(0).choice([0.0, 1.0], (32, 40, 3))
    back = frames.original_nearest(view, values, (64, 96))
    assert back.shape == (64, 96, 3)
    assert set(np.unique(back)) == {0.0, 1.0}
    np.testing.assert_array_equal(view.labels(back[..., 0]), values[..., 0])


def test_a_single_image_a_folder_and_a_video_are_found(tmp_path, write_frames):
    folder = write_frames(3)
    (several,) = frames.open_sources(str(folder))
    assert frames.names(several) == ["view_0", "view_1", "view_2"]
    (single,) = frames.open_sources(str(folder / "view_1.png"))
    view = frames.make_view(single.size, (32, 48))
    (frame,) = frames.decode(single, view)
    assert frame.original.shape == (80, 96, 3) and frame.seen.shape == (32, 48, 3)
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "view_2.png").rename(alone / "view_2.png")
    (single,) = frames.open_sources(str(alone))
    assert len(single) == 1
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48)
    )
    for i in range(4):
        film.write(np.full((48, 64, 3), 40 * i, np.uint8))
    film.release()
    (video,) = frames.open_sources(str(tmp_path / "film.avi"))
    assert video.sequential and frames.names(video)[2] == "000002"
    assert video.frames_per_second == pytest.approx(12.5)


def test_two_recordings_of_one_name_are_refused(tmp_path):
    for suffix in ("avi", "mov"):
        film = cv2.VideoWriter(
            str(tmp_path / f"film.{suffix}"),
            cv2.VideoWriter.fourcc(*"MJPG"),
            10,
            (64, 48),
        )
        film.write(np.zeros((48, 64, 3), np.uint8))
        film.release()
    with pytest.raises(ValueError, match=r"film\.avi and .*film\.mov"):
        frames.open_sources(str(tmp_path))


def test_what_is_no_image_or_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        frames.open_sources(str(tmp_path / "nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"no images .* in .*empty"):
        frames.open_sources(str(empty))
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    with pytest.raises(ValueError, match=r"notes\.txt is no image"):
        frames.open_sources(str(text))
    for name in ("torn.png", "torn.mp4"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n not really")
        with pytest.raises(ValueError, match=name):
            frames.open_sources(str(tmp_path / name))
