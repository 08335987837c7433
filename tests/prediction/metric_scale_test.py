"""The scale follows from what is known, in spite of what stands in the way."""

import numpy as np
import pytest

from mdm_jax.prediction import metric_scale
from mdm_jax.synthetic import rendered_drives

K = np.array([[60.0, 0, 47.5], [0, 62.0, 30], [0, 0, 1]])


def _road(height, *, pitch=0.0, size=(64, 96)):
    """Returns depth of a flat road under a pitched camera, far away above it."""
    rows = np.broadcast_to(np.arange(size[0])[:, None], size)
    ray_y = (rows - K[1, 2]) / K[1, 1]
    down = np.cos(pitch) * ray_y + np.sin(pitch)
    return np.where(down > 0.01, height / np.maximum(down, 0.01), 50.0).astype("f4")


@pytest.mark.parametrize("pitch", [0.0, 0.15])
def test_height_above_a_road_is_found_behind_cars(pitch):
    depth = _road(1.7, pitch=pitch)
    depth[40:56, 20:45] = 4.0  # a car
    depth *= 1 + 0.01 * np.random.default_rng(0).normal(size=depth.shape).astype("f4")
    assert metric_scale.camera_height(depth, K) == pytest.approx(1.7, rel=0.01)


def test_height_above_a_street_with_cars_is_found():
    drive = rendered_drives.make_drive(2, num_frames=2, size=(32, 104))
    heights = [metric_scale.camera_height(d, drive.intrinsics) for d in drive.depth]
    # The road is at y = 0, and y points down.
    truth = -drive.world_from_camera[:, 1, 3]
    np.testing.assert_allclose(heights, truth, rtol=0.02)


@pytest.mark.parametrize("what", ["wall", "noise", "side"])
def test_no_height_is_made_up_where_there_is_no_road(what):
    rng = np.random.default_rng(0)
    depth = {
        "wall": np.full((64, 96), 5.0),
        "noise": rng.uniform(1, 50, (64, 96)),
        "side": np.broadcast_to(3 / np.linspace(0.1, 1, 96)[None, :], (64, 96)),
    }[what]
    assert np.isnan(metric_scale.camera_height(depth.astype(np.float32), K))


def test_the_median_of_the_good_estimates_counts_and_their_quartiles_are_told():
    scale = metric_scale.summarize([2, np.nan, 1, 3, 100, np.inf, 2], known="a thing")
    assert (scale.factor, scale.lower, scale.upper) == (2, 2, 3)
    assert (scale.num_estimates, scale.num_candidates) == (5, 7)
    assert "half of them between 2 and 3" in scale.description()
    with pytest.raises(ValueError, match="a thing: none of 2 estimates"):
        metric_scale.summarize([np.nan, -1.0], known="a thing")


def test_speed_gives_metres_per_unit_and_standing_still_none():
    steps = np.array([0.5, 0.25, 1e-9, 1.0])
    estimates = metric_scale.speed_estimates(
        steps, np.array([10.0, 5, 0, 20]), seconds_per_step=0.1
    )
    np.testing.assert_allclose(estimates, [2, 2, np.nan, 2])


def test_speeds_are_a_number_or_a_file_of_them(tmp_path):
    np.testing.assert_array_equal(metric_scale.read_speeds("13.5", 4), [13.5])
    path = tmp_path / "speeds.txt"
    path.write_text("# metres per second\n1\n2 # slow\n3\n4\n")
    np.testing.assert_array_equal(metric_scale.read_speeds(str(path), 3), [1, 2, 3])
    with pytest.raises(ValueError, match="4 speeds for 5 frames"):
        metric_scale.read_speeds(str(path), 5)
    with pytest.raises(ValueError, match="fast is neither a number"):
        metric_scale.read_speeds("fast", 1)
    with pytest.raises(ValueError, match="above 0"):
        metric_scale.read_speeds("-3", 1)


def test_known_depths_name_their_frame_or_are_of_the_first(tmp_path):
    path = tmp_path / "depths.txt"
    path.write_text("10, 20, 5.5\n30 40 7\n")
    np.testing.assert_array_equal(
        metric_scale.read_known_depths(str(path)), [[0, 10, 20, 5.5], [0, 30, 40, 7]]
    )
    path.write_text("2 10 20 5.5\n")
    np.testing.assert_array_equal(
        metric_scale.read_known_depths(str(path)), [[2, 10, 20, 5.5]]
    )
    for text, message in {
        "1 2\n": "expected lines",
        "a b c\n": "expected lines",
        "1 2 nan\n": "not finite",
        "1 2 0\n": "above 0 metres",
        "": "expected lines",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"depths\.txt.*{message}"):
            metric_scale.read_known_depths(str(path))
