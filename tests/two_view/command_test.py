"""The command: from a video to its geometry, or to one clear error."""

import json

import cv2
import numpy as np
import pytest
from absl import logging

from mdm_jax.two_view import front_end, moving
from tests.two_view import corridors

NUM_FRAMES = 5


@pytest.fixture
def command(import_command):
    """Returns a function that runs the command with a path and flags."""

    def run(path, **options):
        module, values = import_command("two_view.__main__")
        values(["two_view", *(f"--{key}={value}" for key, value in options.items())])
        verbosity = logging.get_verbosity()
        try:
            module.main(["two_view", str(path)])
        finally:
            logging.set_verbosity(verbosity)

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A drive through a corridor, half a metre per frame."""
    path = tmp_path_factory.mktemp("video") / "corridor.mp4"
    size = corridors.W, corridors.H
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size)
    for index in range(NUM_FRAMES):
        camera = corridors.pose((0, 0, 0), (0, 0, 0.5 * index))
        film.write(np.ascontiguousarray(corridors.image(camera)[..., ::-1]))
    film.release()
    return path


def test_a_video_gets_its_page_depth_trajectory_and_points(
    command, video, tmp_path, capsys
):
    intrinsics = ",".join(str(corridors.INTRINSICS[i]) for i in ((0, 0), (1, 1)))
    centre = ",".join(str(corridors.INTRINSICS[i, 2]) for i in (0, 1))
    command(video, output=tmp_path, stride=1, intrinsics=f"{intrinsics},{centre}")
    assert str(tmp_path / "two_view.html") in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "two_view.html",
        "two_view.json",
        "two_view.png",
        "geometry.npz",
        "trajectory.txt",
        "points.ply",
    }
    page = (tmp_path / "two_view.html").read_text(encoding="utf-8")
    assert "Two-view geometry: corridor" in page and "focal length px" in page

    record = json.loads((tmp_path / "two_view.json").read_text())
    summary, pairs = record["summary"], record["pairs"]
    assert summary["frames"] == NUM_FRAMES
    assert summary["size"] == [corridors.W, corridors.H]
    assert summary["states"] == {front_end.MOVING: NUM_FRAMES - 1}
    assert summary["focal_length_from"] == "given"
    assert summary["direction_xyz"][2] > 0.98
    assert [pair["frame"] for pair in pairs] == list(range(NUM_FRAMES - 1))

    with np.load(tmp_path / "geometry.npz") as arrays:
        inverse, motion = arrays["inverse_depth"], arrays["motion"]
        cameras = arrays["world_from_camera"]
        np.testing.assert_allclose(arrays["intrinsics"], corridors.INTRINSICS)
    shape = (NUM_FRAMES, corridors.H, corridors.W)
    assert inverse.shape == motion.shape == shape
    assert np.isfinite(inverse).all() and (inverse >= 0).all()
    assert (inverse > 0).mean() > 0.2
    # Depth is in units of the first baseline, half a metre; the unit drifts slightly.
    for index in range(NUM_FRAMES):
        camera = corridors.pose((0, 0, 0), (0, 0, 0.5 * index))
        truth = corridors.look(camera)[0]
        known = inverse[index] > 0
        ratio = truth[known] * inverse[index][known].astype(np.float32) * 2
        assert np.median(np.abs(ratio - 1)) < 0.15
    assert np.mean(motion == moving.STATIC) > np.mean(motion == moving.MOVES)
    np.testing.assert_allclose(cameras[:, 2, 3], np.arange(NUM_FRAMES), atol=0.6)
    trajectory = np.loadtxt(tmp_path / "trajectory.txt")
    np.testing.assert_allclose(trajectory[:, 0], 0.1 * np.arange(NUM_FRAMES))
    np.testing.assert_allclose(trajectory[:, 1:4], cameras[:, :3, 3], atol=1e-4)


@pytest.mark.parametrize("bad", ["missing", "one frame", "intrinsics", "flow"])
def test_bad_input_gives_one_line(command, video, tmp_path, bad):
    options = {"output": tmp_path / "out"}
    if bad == "missing":
        path, message = tmp_path / "missing.mp4", "missing.mp4"
    elif bad == "one frame":
        path, message = tmp_path / "single", "at least two frames"
        path.mkdir()
        cv2.imwrite(str(path / "0.png"), corridors.image(corridors.pose()))
    else:
        path, message = video, f"no_{bad}"
        options[bad] = f"no_{bad}"
    with pytest.raises(SystemExit) as error:
        command(path, **options)
    text = str(error.value.code)
    assert text.startswith("error: ") and message in text
    assert "\n" not in text
    assert not (tmp_path / "out").exists()
