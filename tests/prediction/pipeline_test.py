"""A folder of results: complete, consistent with itself, and resumed where it stopped."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.evaluation import trajectory_files
from mdm_jax.prediction import inputs, pipeline
from mdm_jax.prediction.request import Request
from mdm_jax.prediction.writers import frame_maps


@pytest.fixture
def run(model, tmp_path):
    def run_on(path, **options):
        (source,) = inputs.open_sources(str(path))
        output = tmp_path / "out"
        contents = pipeline.predict(
            model,
            source,
            output,
            Request(**{"batch_size": 4, **options}),
            made_by={"step": model.step},
        )
        return output, contents

    return run_on


def _depth(output, name):
    with np.load(output / "depth" / f"{name}.npz") as arrays:
        return arrays["depth"], arrays["intrinsics"]


def test_all_files_of_a_recording_are_there_and_agree(run, write_frames):
    output, contents = run(write_frames(5), fps=5.0)
    in_file = json.loads((output / "prediction.json").read_text())
    contents.pop("newly_predicted")
    assert in_file["frames"] == 5 and in_file["complete"]
    assert in_file["unit"] == "relative unit"
    assert in_file["scale"].startswith("relative")
    for i in range(5):
        depth, matrix = _depth(output, f"view_{i}")
        assert depth.shape == (80, 96) and depth.dtype == np.float32
        np.testing.assert_allclose(matrix[0, 0], 90)
        png = cv2.imread(str(output / "depth" / f"view_{i}.png"), cv2.IMREAD_UNCHANGED)
        assert png.dtype == np.uint16
        step = in_file["depth"]["png_step"]
        np.testing.assert_allclose(png * step, depth, atol=0.51 * step)
        np.testing.assert_array_equal(png == 0, depth == 0)
        pair = i < 4
        assert (output / "object_motion" / f"view_{i}.npz").exists() == pair
        assert (output / "masks" / f"view_{i}.png").exists() == pair
    mask = cv2.imread(str(output / "masks" / "view_0.png"), cv2.IMREAD_UNCHANGED)
    depth, _ = _depth(output, "view_0")
    seen = depth > 0
    assert set(np.unique(mask)) <= {0, 128, 255}
    assert (depth[seen & (mask == 128)] > 8).all()
    with np.load(output / "object_motion" / "view_1.npz") as arrays:
        motion = arrays["object_motion"]
    # 8 of 32 rows of the network's, in a window of 64 of 80 rows.
    assert motion.shape == (80, 96, 3)
    assert set(np.unique(motion[..., 0])) == {0.0, 0.5}
    assert (motion[..., 0] > 0).sum() == 16 * 16
    film = cv2.VideoCapture(str(output / "video.webm"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert film.get(cv2.CAP_PROP_FPS) == 5
    for name in ("trajectory_kitti.txt", "trajectory_tum.txt"):
        way = trajectory_files.read_trajectory(output / name)
        # Each step takes the camera 0.25 ahead.
        np.testing.assert_allclose(way.poses[:, 2, 3], 0.25 * np.arange(5), atol=1e-6)
    np.testing.assert_allclose(way.times, 0.2 * np.arange(5), atol=1e-6)
    assert [path.name for path in (output / "points").iterdir()] == ["view_2.ply"]
    assert not (output / "objects.csv").exists()
    assert not list(output.rglob(".*"))


def test_a_second_run_changes_nothing_and_other_maps_are_made_anew(run, write_frames):
    folder = write_frames(4)
    output, first = run(folder)
    files = [path for path in output.rglob("*.npz")]
    before = {path: path.stat().st_mtime_ns for path in files}
    _, second = run(folder)
    assert (first["newly_predicted"], second["newly_predicted"]) == (4, 0)
    assert {path: path.stat().st_mtime_ns for path in files} == before
    _, third = run(folder, maps_at="network")
    assert third["newly_predicted"] == 0
    assert _depth(output, "view_0")[0].shape == (32, 48)


def test_masks_that_changed_are_other_settings(run, write_frames, tmp_path):
    folder = write_frames(2)
    (tmp_path / "labels").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "labels" / f"view_{i}.png"), np.eye(80, 96) * 3)
    _, first = run(folder, masks=str(tmp_path / "labels"))
    _, second = run(folder, masks=str(tmp_path / "labels"))
    assert (first["newly_predicted"], second["newly_predicted"]) == (2, 0)
    cv2.imwrite(str(tmp_path / "labels" / "view_0.png"), np.eye(80, 96) * 44)
    with pytest.raises(ValueError, match="other settings: masks was"):
        run(folder, masks=str(tmp_path / "labels"))


@pytest.mark.parametrize("inside", ["depth", "masks/of_mine"])
def test_what_is_read_is_never_replaced(run, write_frames, inside):
    folder = write_frames(2)
    output, _ = run(folder)
    (output / inside).mkdir(parents=True, exist_ok=True)
    frame = output / inside / "view.png"
    frame.write_bytes((folder / "view_0.png").read_bytes())
    with pytest.raises(ValueError, match=r"would replace .*view\.png"):
        run(frame)
    with pytest.raises(ValueError, match="would replace"):
        run(folder, masks=str(output / inside))
    assert frame.exists()


def test_results_that_are_not_complete_do_not_look_so(run, write_frames, monkeypatch):
    folder = write_frames(4)
    output, _ = run(folder)
    written = []

    def stop(self, index, name, frame, maps, write=frame_maps.FrameWriter.write):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(name)
        write(self, index, name, frame, maps)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(frame_maps.FrameWriter, "write", stop)
        run(folder, maps_at="network")
    assert not (output / "prediction.json").exists()
    # Nothing of the size before is left to be mixed up with the new.
    shapes = {_depth(output, path.stem)[0].shape for path in output.glob("depth/*.npz")}
    assert shapes == {(32, 48)}
    _, contents = run(folder, maps_at="network")
    assert contents["newly_predicted"] == 0
    assert len(list(output.glob("depth/*.npz"))) == 4


def test_camera_height_makes_depth_metric(run, model, altered, write_frames):
    def road(maps, arrays):
        matrix = arrays["intrinsics"][0]
        y = (np.arange(32)[:, None] - matrix[1, 2]) / matrix[1, 1]
        depth = np.where(y > 0.02, 0.5 / np.maximum(y, 0.02), 25).astype(np.float32)
        return maps | {"depth": np.broadcast_to(depth, maps["depth"].shape)}

    altered(model, road)
    output, contents = run(write_frames(3), camera_height=1.5)
    assert contents["unit"] == "m" and contents["depth"]["png_step"] == 1 / 256
    assert contents["scale"]["factor"] == pytest.approx(3, rel=1e-3)
    with np.load(output / "network" / "view_0.npz") as arrays:
        largest = arrays["max_depth"]
    assert _depth(output, "view_0")[0].max() == pytest.approx(3 * largest, rel=1e-3)
    path = trajectory_files.read_trajectory(output / "trajectory_kitti.txt")
    np.testing.assert_allclose(path.poses[:, 2, 3], [0, 0.75, 1.5], rtol=1e-3)


def test_depths_beyond_the_16_bits_are_marked_and_the_others_stay_fine(
    run, model, altered, write_frames
):
    def sky(maps, _):
        maps["depth"][:, :3, :5] = 5e4
        return maps

    altered(model, sky)
    output, contents = run(write_frames(3), maps_at="network")
    contents = contents["depth"]
    depth, _ = _depth(output, "view_1")
    beyond = depth > 1e4
    assert beyond.sum() == 15 and contents["largest"] == pytest.approx(5e4)
    png = cv2.imread(str(output / "depth" / "view_1.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(png == 65535, beyond)
    step = contents["png_step"]
    assert step < 1e-3 * np.median(depth)
    np.testing.assert_allclose(
        png[~beyond] * step, depth[~beyond], atol=0.51 * step, rtol=1e-6
    )
    assert "65535 stands for that depth and all beyond" in contents["png_reads"]


def test_speed_and_single_depths_make_depth_metric(run, write_frames, tmp_path):
    folder = write_frames(4)
    _, contents = run(folder, speed="5", fps=10.0)
    # 0.5 m a frame, of which 0.25 units are predicted.
    assert contents["scale"]["factor"] == pytest.approx(2)
    with pytest.raises(ValueError, match="--fps"):
        run(folder, speed=5)
    output, _ = run(folder)
    depth, _ = _depth(output, "view_1")
    path = tmp_path / "depths.txt"
    pixels = [(20, 30), (50, 40), (95, 1)]
    path.write_text("".join(f"1 {u} {v} {7 * depth[v, u] + 1e-9}\n" for u, v in pixels))
    _, contents = run(folder, depths=str(path))
    # The last is outside of the window that the network saw.
    assert contents["scale"]["num_estimates"] == 2
    assert contents["scale"]["factor"] == pytest.approx(7, rel=0.1)
    with pytest.raises(ValueError, match="one measurement"):
        Request(speed="5", depths=str(path))


def test_a_single_image_of_an_unknown_camera_gives_depth_and_a_picture(
    run, write_frames
):
    folder = write_frames(2)
    (folder / "cam.txt").unlink()
    output, contents = run(folder / "view_0.png")
    assert contents["frames"] == 1 and contents["trajectory"]["poses"] == 0
    assert (output / "picture.png").exists() and not (output / "video.webm").exists()
    assert (output / "depth" / "view_0.png").exists()
    assert not (output / "points").exists()


def test_a_broken_recording_gives_its_frames_and_says_so(run, write_frames):
    folder = write_frames(5)
    (folder / "view_2.png").write_bytes(b"")
    output, contents = run(folder)
    assert contents["frames"] == 2 and not contents["complete"]
    assert "view_2.png" in contents["ended_early"]
    assert (
        cv2.VideoCapture(str(output / "video.webm")).get(cv2.CAP_PROP_FRAME_COUNT) == 2
    )


def test_objects_are_written_where_there_are_masks(run, write_frames, tmp_path):
    folder = write_frames(4)
    labels = np.zeros((80, 96), np.uint8)
    labels[24:40, 16:32] = 5  # where the network sees a patch move
    (tmp_path / "masks").mkdir()
    for i in range(4):
        cv2.imwrite(str(tmp_path / "masks" / f"view_{i}.png"), labels)
    output, contents = run(folder, masks=str(tmp_path / "masks"), fps=10.0)
    rows = json.loads((output / "objects.json").read_text())
    assert contents["objects"]["rows"] == len(rows) == 3
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert {row["object"] for row in rows} == {5}
    for row in rows:
        assert row["dx"] == pytest.approx(0.5) and row["speed"] == pytest.approx(5)


def test_learned_intrinsics_are_reported_with_a_warning(
    run, model, write_frames, monkeypatch
):
    method = model.method._replace(learns_intrinsics=True)
    monkeypatch.setitem(model.__dict__, "method", method)
    folder = write_frames(3)
    (folder / "cam.txt").unlink()
    _, contents = run(folder)
    # The network sees (32 + 48) / 2 for 64 of 80 rows: twice as many pixels.
    assert contents["intrinsics"]["fx"]["median"] == pytest.approx(80)
    assert "warning" in contents["intrinsics"]["fx"]


def test_given_intrinsics_are_asked_for(run, write_frames):
    folder = write_frames(3)
    (folder / "cam.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no intrinsics given"):
        run(folder)
    with pytest.raises(ValueError, match="cannot predict them"):
        run(folder, intrinsics="learned")
