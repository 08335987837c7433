"""A run predicts images of any size as the network sees them, and whole videos."""

import json

import cv2
import numpy as np
import pytest

from mdm_jax.run import loading


@pytest.fixture
def run(trained):
    """A trained toy run, whose depth is one map and whose camera drives ahead."""
    return loading.load(trained())


def _depth(run):
    return np.exp(np.asarray(run.variables["params"]["log_depth"]))


@pytest.mark.parametrize("batch", [(), (3,)])
def test_depth_comes_back_in_the_size_of_the_images(run, batch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (*batch, 64, 120, 3)).astype(np.uint8)
    depth = run.depth(images)
    assert depth.shape == (*batch, 64, 120)
    assert depth.mean() == pytest.approx(_depth(run).mean(), rel=1e-3)
    np.testing.assert_allclose(run.depth(images / 255), depth, rtol=1e-6)
    # Images of the network's size are not resampled.
    same = run.depth(np.zeros((*batch, 32, 40, 3), np.uint8))
    np.testing.assert_allclose(
        same, np.broadcast_to(_depth(run), same.shape), rtol=1e-6
    )


def test_motion_is_that_of_a_pair_in_the_size_of_its_images(run):
    images = np.zeros((11, 2, 64, 80, 3), np.uint8)
    matrix = np.array([[80.0, 0, 40], [0, 82.0, 30], [0, 0, 1]])
    motion = run.motion(images, matrix)
    assert motion["object_motion"].shape == (11, 64, 80, 3)
    assert motion["valid"].dtype == bool and motion["occluded"].shape == (11, 64, 80)
    step = np.asarray(run.variables["params"]["step"])
    np.testing.assert_allclose(motion["translation"], np.tile(step, (11, 1)), rtol=1e-6)
    np.testing.assert_allclose(motion["rotation"], np.tile(np.eye(3), (11, 1, 1)))
    # They went to the network in half the size.
    np.testing.assert_allclose(motion["intrinsics"][7], matrix, rtol=1e-5)
    single = run.motion(images[0], matrix)
    for name, values in single.items():
        np.testing.assert_allclose(values, motion[name][0], rtol=1e-5)
    with pytest.raises(ValueError, match="needs intrinsics"):
        run.motion(images)


def test_a_video_is_predicted_with_the_options_of_the_command(run, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        cv2.imwrite(str(frames / f"{i}.png"), np.full((64, 80, 3), 60 * i, np.uint8))
    output = tmp_path / "out"
    (result,) = run.predict(frames, output, intrinsics="fov:60", save=("depth_png",))
    assert result["frames"] == 3 and result["output"] == str(output)
    contents = json.loads((output / "prediction.json").read_text())
    assert contents["made_by"]["step"] == 2
    assert contents["made_by"]["written"] > 0
    assert len(list((output / "depth").iterdir())) == 3
    with pytest.raises(TypeError, match="fov"):
        run.predict(frames, output, fov=60)
