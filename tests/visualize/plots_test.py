"""Plots are pictures that show what they are given, without a window."""

import numpy as np
import pytest

from mdm_jax.visualize import depth_examples, panel, plots


def _bend(count=9):
    angle = np.linspace(0, 1.5, count)
    return 40 * np.stack([np.sin(angle), 0.01 * angle, 1 - np.cos(angle)], axis=-1)


PICTURES = {
    "ranges": lambda: plots.error_by_range(
        [
            {"range": "0-5m", "abs_rel": 0.1, "num_pixels": 5},
            {"range": "5-10m", "abs_rel": 0.2, "num_pixels": 3},
        ]
    ),
    "trajectory": lambda: plots.trajectory(_bend(), _bend(6)),
    "lengths": lambda: plots.error_by_length(
        [
            {"length_m": 100, "t_err_percent": 2.0, "r_err_deg_per_100m": 0.3},
            {"length_m": 200, "t_err_percent": 1.5, "r_err_deg_per_100m": 0.2},
        ]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_plots_are_pictures_with_something_in_them(name):
    picture = PICTURES[name]()
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert min(picture.shape[:2]) > 300
    colours = np.unique(picture.reshape(-1, 3), axis=0)
    assert len(colours) > 10
    assert (picture == 255).all(axis=-1).mean() > 0.3


def test_plots_do_not_need_pyplot(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    PICTURES["lengths"]()


def test_the_view_from_above_is_along_the_flattest_axis():
    way = _bend()
    same = plots.trajectory(way, way)
    lifted = plots.trajectory(way + (0, 3.0, 0) * np.arange(9)[:, None] / 9, way)
    turned = plots.trajectory(way[:, [1, 0, 2]], way[:, [1, 0, 2]])
    np.testing.assert_array_equal(same, lifted)
    assert same.shape == turned.shape and (same != turned).any()


def test_sparse_truth_is_drawn_as_dots_of_the_nearest_depth():
    truth = np.zeros((300, 1000))
    truth[100, 500], truth[100, 503], truth[250, 20] = 10.0, 30.0, 20.0
    predicted = np.full(truth.shape, 15.0)
    row = depth_examples.row(truth, predicted, truth == 10)
    shown, error = row["true depth"][0], row["relative error"][0]
    assert shown[100, 500] == shown[100, 501] == 10.0
    assert shown[250, 20] == shown[251, 21] == 20.0
    assert 4 < (shown == 20).sum() < 80
    assert error[100, 500] == pytest.approx(0.5)
    assert np.isnan(error[250, 20])
    assert row["image"] is None
    panel.render([row], labels=["an image"])


def test_dense_truth_is_shown_as_it_is_and_errors_are_cut():
    truth = np.full((5, 7), 2.0)
    predicted = np.full((5, 7), 9.0)
    row = depth_examples.row(
        truth, predicted, truth > 0, image=np.zeros((5, 7, 3), np.uint8)
    )
    np.testing.assert_array_equal(row["true depth"][0], truth)
    np.testing.assert_array_equal(row["relative error"][0], np.ones((5, 7)))
    assert row["image"][1] == "image"


def test_a_straight_road_that_climbs_is_seen_from_above():
    road = np.zeros((9, 3))
    road[:, 2] = np.arange(9)
    climbing = road + np.arange(9)[:, None] * np.array([[0, -0.1, 0]])
    flat, climb = (plots.trajectory(way, way) for way in (road, climbing))
    np.testing.assert_array_equal(flat, climb)
