"""Panels show each map crisply, with comparable colours, in a file that is whole."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from mdm_jax.visualize import colormaps, panel


def contains(picture, tile):
    """Says whether a tile stands in a picture, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(picture, tile.shape)
    starts = np.argwhere((windows[..., 0, 0, :] == tile[0, 0]).all(axis=-1))
    return any((windows[tuple(start)] == tile).all() for start in starts)


def image(height, width, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), np.uint8)


def test_small_images_are_enlarged_by_a_whole_factor():
    frame = image(5, 96)
    picture = panel.render([{"frame": (frame, "image")}])
    assert contains(picture, frame.repeat(4, axis=0).repeat(4, axis=1))


def test_large_images_are_averaged_down():
    frame = image(6, 1024).repeat(2, axis=0)
    picture = panel.render([{"frame": (frame, "image")}], title="A title")
    small = cv2.resize(frame, (512, 6), interpolation=cv2.INTER_AREA)
    assert contains(picture, small)


def test_float_images_look_like_the_same_images_of_bytes():
    frame = image(5, 7)
    pictures = [
        panel.render([{"frame": (values, "image")}])
        for values in (frame, frame.astype(np.float32) / 255)
    ]
    np.testing.assert_array_equal(*pictures)


def test_columns_without_any_map_are_left_out():
    frame = (image(5, 96), "image")
    rows = [{"frame": frame, "depth": None}, {"depth": (None, "depth")}]
    with_none = panel.render(rows)
    without = panel.render([{"frame": frame}, {}])
    np.testing.assert_array_equal(with_none, without)


def test_a_column_with_some_map_keeps_its_place_in_every_row():
    frame = (image(5, 96), "image")
    picture = panel.render([{"a": None, "b": frame}, {"a": frame}])
    middle = picture.shape[1] // 2
    first_row = picture[: picture.shape[0] // 2 + 15]
    tile = frame[0].repeat(4, axis=0).repeat(4, axis=1)
    assert contains(first_row[:, middle:], tile)
    assert not contains(first_row[:, :middle], tile)


def test_depth_of_a_row_is_on_the_scale_of_its_first_map():
    true = np.linspace(2, 50, 5 * 96, dtype=np.float32).reshape(5, 96)
    cells = {"true": (true, "depth"), "predicted": (true * 3, "depth")}
    picture = panel.render([cells])
    limit = colormaps.inverse_depth_limit(true)
    for values in (true, true * 3):
        colors = colormaps.inverse_depth(values, limit=limit)
        assert contains(picture, colors.repeat(4, axis=0).repeat(4, axis=1))


def test_motion_of_all_rows_is_on_one_scale():
    large = np.zeros((5, 96, 3), np.float32)
    large[2, 3:20] = [1.0, -2.0, 0.5]
    picture = panel.render([{"m": (large, "motion")}, {"m": (large / 8, "motion")}])
    for values in (large, large / 8):
        colors = colormaps.motion(values, limit=colormaps.absolute_limit(large))
        assert contains(picture, colors.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("kind", panel.KINDS)
def test_every_kind_can_be_shown_where_nothing_is_known_or_moves(kind):
    shape = (5, 7, 3) if kind in ("image", "motion", "magnitude") else (5, 7)
    for value in (0.0, np.nan, np.inf):
        picture = panel.render([{"a": (np.full(shape, value, np.float32), kind)}])
        assert picture.dtype == np.uint8


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (np.zeros((5, 7)), "flow", "'map'.*'flow' is none of"),
        (np.zeros((2, 5, 7, 3)), "image", r"'map'.*\[h w 3\].*\[2, 5, 7, 3\]"),
        (np.zeros((5, 7, 3)), "depth", r"'map'.*\[h w\].*\[5, 7, 3\]"),
        (np.zeros((5, 7)), "motion", r"'map'.*\[h w 3\].*\[5, 7\]"),
    ],
)
def test_maps_of_another_shape_are_refused_by_name(array, kind, message):
    with pytest.raises(ValueError, match=message):
        panel.render([{"map": (array, kind)}])


def test_an_empty_panel_and_missing_labels_are_refused():
    with pytest.raises(ValueError, match="at least one map"):
        panel.render([{"a": None}])
    with pytest.raises(ValueError, match="2 labels for 1 rows"):
        panel.render([{"a": (image(5, 7), "image")}], labels=["x", "y"])


def test_saved_panels_read_back_and_leave_nothing_else(tmp_path):
    rows = [{"frame": (image(5, 7), "image"), "mask": (np.eye(5) > 0, "mask")}]
    path = tmp_path / "new" / "panel.png"
    panel.save_panel(path, rows[:1])
    expected = panel.save_panel(path, rows, labels=["drive 0"], title="Test")
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], expected)
    assert list(path.parent.iterdir()) == [path]


def test_panels_do_not_need_pyplot(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # import raises
    panel.render([{"frame": (image(5, 7), "image")}], title="A title")


def test_inverse_depth_is_monotonic_and_marks_the_unknown():
    depth = np.array([[1, 2, 4, 8, np.inf, 0, np.nan]], np.float32)
    colors = colormaps.inverse_depth(depth, limit=1.0, name="gray")[0]
    np.testing.assert_array_equal(colors[:5, 0], [255, 128, 64, 32, 0])
    np.testing.assert_array_equal(colors[5:], np.full((2, 3), colormaps.UNKNOWN))


def test_motion_colours_are_grey_at_rest_and_opposite_for_opposite_motion():
    field = np.array([[[0, 0, 0], [1, 0, -0.5], [-1, 0, 0.5], [9, np.nan, 0]]])
    colors = colormaps.motion(field, limit=1.0)[0].astype(int)
    np.testing.assert_array_equal(colors[0], [128] * 3)
    np.testing.assert_array_equal(colors[1], [255, 128, 64])
    np.testing.assert_array_equal(colors[1] + colors[2], [256] * 3)
    np.testing.assert_array_equal(colors[3], [0] * 3)


def test_limits_ignore_what_is_unknown_and_are_never_zero():
    depth = np.array([[0, np.nan, np.inf, 4, 4]])
    assert colormaps.inverse_depth_limit(depth) == pytest.approx(0.25)
    assert colormaps.inverse_depth_limit(np.zeros((3, 5))) == 1.0
    assert colormaps.absolute_limit() == 1.0
    assert colormaps.absolute_limit(np.zeros((3, 5)), np.full((2, 2), -3.0)) == 3.0
    sparse = np.zeros(1000)
    sparse[7] = 2.0
    assert colormaps.absolute_limit(sparse) == 2.0
