"""Frames go to the network and maps come back by the same geometry."""

import numpy as np
import pytest

from mdm_jax.geometry import view as view_lib

K = np.array([[50.0, 0, 30], [0, 52.0, 22], [0, 0, 1]])


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_depth_of_a_plane_comes_back_exactly(fit):
    original, size = (66, 120), (33, 48)
    view = view_lib.stretched(original, size)
    if fit == "crop":
        view = view_lib.centred(original, size, (0, 0.1, 0.05, 0))

    def plane(matrix, height, width):
        x = (np.arange(width)[None, :] - matrix[0, 2]) / matrix[0, 0]
        y = (np.arange(height)[:, None] - matrix[1, 2]) / matrix[1, 1]
        return (1 / (0.2 + 0.03 * x + 0.1 * y)).astype(np.float32)

    seen = plane(view.intrinsics(K), *size)
    back = view.original_depth(seen)
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


def test_stretching_keeps_all_that_the_crop_leaves():
    view = view_lib.stretched((100, 200), (32, 48), (0.1, 0.2, 0.25, 0))
    assert (view.y0, view.x0, view.box) == (10, 50, (70, 150))
    with pytest.raises(ValueError, match="which must leave something"):
        view_lib.stretched((100, 200), (32, 48), (0.5, 0.5, 0, 0))


def test_intrinsics_come_back_as_they_went():
    view = view_lib.centred((70, 130), (32, 48), (0.1, 0.2, 0, 0.1))
    back = view.original_intrinsics(view.intrinsics(K))
    np.testing.assert_allclose(back, K, rtol=1e-12)


def test_masks_and_motion_are_not_mixed():
    view = view_lib.centred((64, 96), (32, 40))
    values = np.random.default_rng(0).choice([0.0, 1.0], (32, 40, 3))
    back = view.original_nearest(values)
    assert back.shape == (64, 96, 3)
    assert set(np.unique(back)) == {0.0, 1.0}
    np.testing.assert_array_equal(view.labels(back[..., 0]), values[..., 0])


def test_colours_come_back_with_a_border():
    view = view_lib.centred((64, 96), (32, 40))
    colors = np.full((32, 40, 3), 7, np.uint8)
    back = view.original_colors(colors, fill=110)
    inside = np.zeros((64, 96), bool)
    inside[view.y0 : view.y0 + view.box[0], view.x0 : view.x0 + view.box[1]] = True
    assert (back[inside] == 7).all() and (back[~inside] == 110).all()
    assert not inside.all()
