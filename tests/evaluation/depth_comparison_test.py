"""Predictions meet the truth as each protocol says, or not at all."""

import dataclasses

import numpy as np
import pytest

from mdm_jax.evaluation import depth_comparison, protocols

PLAIN = protocols.get("synthetic")


def _maps(truth_size=(6, 9), size=(4, 7), seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(2, 60, truth_size), rng.uniform(0.1, 3, size)


def _slow_bilinear(values, size):
    """Half-pixel bilinear interpolation, pixel by pixel, borders repeated."""
    result = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v = min(
                max((y + 0.5) * values.shape[0] / size[0] - 0.5, 0), len(values) - 1
            )
            u = (x + 0.5) * values.shape[1] / size[1] - 0.5
            u = min(max(u, 0), values.shape[1] - 1)
            y0, x0 = int(v), int(u)
            y1 = min(y0 + 1, values.shape[0] - 1)
            x1 = min(x0 + 1, values.shape[1] - 1)
            top = (1 - u + x0) * values[y0, x0] + (u - x0) * values[y0, x1]
            bottom = (1 - u + x0) * values[y1, x0] + (u - x0) * values[y1, x1]
            result[y, x] = (1 - v + y0) * top + (v - y0) * bottom
    return result


@pytest.mark.parametrize("size", [(6, 9), (3, 13), (1, 1)])
def test_bilinear_resizing_equals_a_slow_loop(size):
    _, values = _maps()
    got = depth_comparison.resize(values, size, interpolation="bilinear")
    np.testing.assert_allclose(got, _slow_bilinear(values, size), rtol=1e-6)


@pytest.mark.parametrize("size", [(6, 9), (3, 13), (4, 7)])
def test_resizing_by_corners_is_that_of_scipy(size):
    from scipy import interpolate

    _, values = _maps()
    axes = [np.linspace(0, 1, n) for n in values.shape]
    grid = np.meshgrid(*(np.linspace(0, 1, n) for n in size), indexing="ij")
    want = interpolate.RegularGridInterpolator(axes, values)(np.stack(grid, axis=-1))
    got = depth_comparison.resize(values, size, interpolation="bilinear_corners")
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_resizing_depth_and_disparity_are_different_protocols():
    truth, prediction = _maps()
    by_disparity = dataclasses.replace(PLAIN, resized="disparity")
    results = {
        (p.resized, kind): depth_comparison.compared(
            p,
            "a",
            truth,
            1 / prediction if kind == "disparity" else prediction,
            kind=kind,
        ).depth
        for p in (PLAIN, by_disparity)
        for kind in depth_comparison.KINDS
    }
    np.testing.assert_allclose(
        results["depth", "depth"], results["depth", "disparity"], rtol=1e-12
    )
    np.testing.assert_allclose(
        results["disparity", "depth"], results["disparity", "disparity"], rtol=1e-12
    )
    want = 1 / _slow_bilinear(1 / prediction, truth.shape)
    np.testing.assert_allclose(results["disparity", "depth"], want, rtol=1e-6)
    assert np.abs(results["depth", "depth"] - want).max() > 0.01


def test_only_the_crop_and_the_range_are_compared():
    truth, prediction = _maps(size=(6, 9))
    truth[3, 5], truth[2, 4], truth[4, 6], truth[4, 5] = 80.0, 0.0, np.nan, np.inf
    protocol = dataclasses.replace(PLAIN, crop=protocols.Box(2, 5, 4, 8))
    got = depth_comparison.compared(protocol, "a", truth, prediction).pixels()
    counted = np.zeros((6, 9), bool)
    counted[2:5, 4:8] = True
    counted[[3, 2, 4, 4], [5, 4, 6, 5]] = False
    np.testing.assert_array_equal(got.truth[0], truth[counted])
    np.testing.assert_array_equal(got.depth[0], prediction[counted])


def test_the_prediction_is_of_the_view_and_not_of_all_the_truth():
    truth, _ = _maps(truth_size=(8, 9))
    protocol = dataclasses.replace(PLAIN, view=protocols.Box(bottom=0.75))
    got = depth_comparison.compared(protocol, "a", truth, truth[:6])
    np.testing.assert_array_equal(got.depth, got.truth)
    with pytest.raises(ValueError, match="shape of the whole image .*rows 0:0.75"):
        depth_comparison.compared(protocol, "a", truth, truth)


def test_lower_and_mean_median_give_different_scales():
    truth = np.array([[2.0, 4.0, 6.0, 8.0]])
    pixels = depth_comparison.Compared(
        truth, np.ones_like(truth), np.ones_like(truth, bool)
    )
    lower = dataclasses.replace(PLAIN, median="lower")
    assert depth_comparison.scale_of(PLAIN, pixels) == 5.0
    assert depth_comparison.scale_of(lower, pixels) == 4.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
@pytest.mark.parametrize("kind", depth_comparison.KINDS)
def test_a_hole_in_a_prediction_is_an_error_even_where_there_is_no_truth(bad, kind):
    truth, prediction = _maps()
    truth[:3] = 0
    prediction[1, 2] = bad
    with pytest.raises(ValueError, match=r"p\.npy\[3\]: .*row 1, column 2 \(1 such"):
        depth_comparison.compared(PLAIN, "p.npy[3]", truth, prediction, kind=kind)


def test_swapped_width_and_height_are_an_error():
    truth, prediction = _maps()
    with pytest.raises(ValueError, match="7x4 .* 6x9: are width and height swapped"):
        depth_comparison.compared(PLAIN, "a", truth, prediction.T)


def test_wrong_shapes_are_named():
    truth, prediction = _maps()
    with pytest.raises(ValueError, match=r"a: a prediction is one map .*\[1, 4, 7\]"):
        depth_comparison.compared(PLAIN, "a", truth, prediction[None])
    with pytest.raises(ValueError, match="a: its mask has 9x6 pixels"):
        mask = np.zeros((9, 6), bool)
        depth_comparison.compared(PLAIN, "a", truth, prediction, moving=mask)
    cityscapes = protocols.get("cityscapes")
    with pytest.raises(ValueError, match="true depth of 1024x2048 .*got 6x9"):
        depth_comparison.compared(cityscapes, "a", truth, prediction)


def test_masks_are_cut_as_the_truth_is():
    truth, prediction = _maps(size=(6, 9))
    mask = np.random.default_rng(1).random((6, 9)) < 0.5
    protocol = dataclasses.replace(PLAIN, crop=protocols.Box(top=2))
    got = depth_comparison.compared(protocol, "a", truth, prediction, moving=mask)
    np.testing.assert_array_equal(got.pixels().moving[0], mask[2:].ravel())
