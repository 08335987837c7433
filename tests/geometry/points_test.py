"""Tests of projection and sparse depth maps in NumPy."""

import numpy as np

from mdm_jax.geometry import points as points_lib


def test_points_behind_or_outside_are_left_out():
    matrix = np.array([[2.0, 0, 1.5], [0, 2, 1], [0, 0, 1]])
    points = np.array([[0, 0, 1.0], [0, 0, -1], [0, 0, 0], [1, 0, 1], [9, 0, 1]])
    found = points_lib.project(points, matrix, (3, 4))
    np.testing.assert_allclose(found, [[1.5, 1, 1]], atol=1e-6)
    assert len(points_lib.project(points, matrix, None)) == 3


def test_an_image_reaches_half_a_pixel_beyond_its_centres():
    points = np.array([[-0.5, 0, 1], [-0.51, 0, 1], [3.49, 2.49, 1], [3.5, 0, 1]])
    kept = points_lib.inside(points, (3, 4))
    np.testing.assert_array_equal(kept, points[[0, 2]])


def test_the_nearest_point_wins_a_pixel():
    rng = np.random.default_rng(2)
    points = np.column_stack(
        [rng.uniform(-1, 5, 200), rng.uniform(-1, 4, 200), rng.uniform(1, 9, 200)]
    )
    expected = np.zeros((3, 4))
    for x, y, z in points:
        column, row = round(x), round(y)
        if 0 <= row < 3 and 0 <= column < 4:
            expected[row, column] = min(z, expected[row, column] or z)
    np.testing.assert_allclose(
        points_lib.depth_map(points, (3, 4)), expected, rtol=1e-6
    )
    empty = points_lib.depth_map(np.zeros((0, 3)), (3, 4))
    np.testing.assert_array_equal(empty, np.zeros((3, 4)))
