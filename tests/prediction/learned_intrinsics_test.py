"""The tolerance of a learned focal length is one pixel at the border."""

import numpy as np
import pytest
from absl import logging
from scipy.spatial import transform

from mdm_jax.geometry import view as view_lib
from mdm_jax.prediction import learned_intrinsics


def _turned(u, focal, angle):
    """Returns where a pixel at u from the centre goes when the camera turns."""
    return focal * np.tan(np.arctan(u / focal) + angle)


@pytest.mark.parametrize("angle", [0.01, -0.02])
def test_an_error_within_tolerance_moves_the_border_by_a_pixel(angle):
    focal, width = 400.0, 416
    # To first order: a hundredth of it must move the border by a hundredth.
    error = learned_intrinsics.tolerance(focal, width, angle) / 100
    u = np.linspace(-width / 2, width / 2, 101)
    # The wrong focal length with the angle that explains the centre as well.
    wrong = focal + error
    other = np.arctan(focal * np.tan(angle) / wrong)
    difference = np.abs(_turned(u, focal, angle) - _turned(u, wrong, other))
    assert difference[50] < 1e-6
    assert difference.max() == pytest.approx(1 / 100, rel=0.1)
    assert difference.argmax() in (0, 100)


def _report(turn_degrees):
    turns = np.zeros((20, 3))
    turns[::2, 1] = turn_degrees
    turns[1::2, 0] = 0.5 * turn_degrees
    rotations = transform.Rotation.from_rotvec(turns, degrees=True).as_matrix()
    seen = np.tile([[110.0, 0, 56], [0, 100.0, 32], [0, 0, 1]], (20, 1, 1))
    seen[:, 0, 0] += np.linspace(-4, 4, 20)
    # The original frames are twice as large.
    view = view_lib.stretched((128, 224), (64, 112))
    return learned_intrinsics.report(seen, rotations, view=view)


def test_intrinsics_are_reported_with_their_spread_and_tolerance():
    report = _report(4.0)
    assert report["fx"]["median"] == pytest.approx(220)
    assert report["cy"]["median"] == 64.5
    lower, upper = report["fx"]["quartiles"]
    assert lower == pytest.approx(216) and upper == pytest.approx(224)
    assert report["fx"]["turn_degrees"] == pytest.approx(4)
    expected = 2 * 110 / 112**2 / np.radians(4)
    assert report["fx"]["relative_tolerance"] == pytest.approx(expected)


def test_turning_too_little_is_warned_of(monkeypatch):
    warnings = []
    monkeypatch.setattr(logging, "warning", lambda *args: warnings.append(args))
    assert _report(80.0)["fx"]["observable"] and not warnings
    straight = _report(0.02)
    assert not straight["fx"]["observable"] and not straight["fy"]["observable"]
    assert [args[1] for args in warnings] == ["fx", "fy"]
    assert "0.02 degrees" in straight["fx"]["warning"]
