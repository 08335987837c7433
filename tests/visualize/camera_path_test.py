"""The trajectory from above shows x to the right and z upwards."""

import numpy as np

from mdm_jax.visualize import plots


def _colored(picture):
    """Returns the rows and columns of the trajectory's colour."""
    red = (picture[..., 0] > 180) & (picture[..., 1] < 110) & (picture[..., 2] < 130)
    return np.nonzero(red)


def test_a_trajectory_ahead_and_then_right_goes_up_and_then_right():
    poses = np.tile(np.eye(4), (20, 1, 1))
    poses[:10, 2, 3] = np.arange(10)
    poses[10:, 2, 3] = 9
    poses[10:, 0, 3] = np.arange(1, 11)
    picture = plots.camera_path(poses, unit="m")
    assert picture.dtype == np.uint8 and min(picture.shape[:2]) > 300
    rows, columns = _colored(picture)
    start = np.array([rows[columns == columns.min()].max(), columns.min()])
    end = np.array([rows[columns == columns.max()].min(), columns.max()])
    assert end[0] < start[0] - 100 and end[1] > start[1] + 100


def test_a_camera_that_stands_still_is_a_dot():
    picture = plots.camera_path(np.tile(np.eye(4), (3, 1, 1)), unit="m")
    rows, _ = _colored(picture)
    # Apart from the legend, in a corner or the middle, one dot.
    assert 0 < len(rows) < 2000 and picture.shape[0] > 300
