"""Images, folders and videos are opened by their path, or refused by name."""

import cv2
import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib
from mdm_jax.prediction import inputs


def test_a_single_image_a_folder_and_a_video_are_found(tmp_path, write_frames):
    folder = write_frames(3)
    (several,) = inputs.open_sources(str(folder))
    assert inputs.frame_names(several) == ["view_0", "view_1", "view_2"]
    (single,) = inputs.open_sources(str(folder / "view_1.png"))
    view = view_lib.stretched(single.size, (32, 48))
    (frame,) = inputs.decode(single, view)
    assert frame.original.shape == (80, 96, 3) and frame.seen.shape == (32, 48, 3)
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "view_2.png").rename(alone / "view_2.png")
    (single,) = inputs.open_sources(str(alone))
    assert len(single) == 1
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (64, 48)
    )
    for i in range(4):
        film.write(np.full((48, 64, 3), 40 * i, np.uint8))
    film.release()
    (video,) = inputs.open_sources(str(tmp_path / "film.avi"))
    assert video.sequential and inputs.frame_names(video)[2] == "000002"
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
        inputs.open_sources(str(tmp_path))


def test_a_path_without_images_or_videos_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        inputs.open_sources(str(tmp_path / "nowhere"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"no images .* in .*empty"):
        inputs.open_sources(str(empty))
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    with pytest.raises(ValueError, match=r"notes\.txt is not an image"):
        inputs.open_sources(str(text))
    for name in ("torn.png", "torn.mp4"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n not really")
        with pytest.raises(ValueError, match=name):
            inputs.open_sources(str(tmp_path / name))


def test_frames_are_fitted_as_in_training(model, config, write_frames):
    (source,) = inputs.open_sources(str(write_frames(1)))
    size = config.dataset.size
    for name, view in (("video", view_lib.centred), ("kitti_raw", view_lib.stretched)):
        config.dataset.name = name
        assert inputs.view_of(source, model, "") == view(source.size, size)
        for fit, made in view_lib.FITS.items():
            assert inputs.view_of(source, model, fit) == made(source.size, size)


def test_a_training_video_is_known_by_its_index(model, config, write_frames):
    folder = write_frames(3)
    (source,) = inputs.open_sources(str(folder))
    assert inputs.training_index(model, source) == -1
    config.dataset.path = str(folder)
    assert inputs.training_index(model, source) == 0
    config.dataset.path = str(folder / "nowhere")
    assert inputs.training_index(model, source) == -1
