"""Egomotion and motion metrics on cases worked out by hand."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mdm_jax.evaluation.measures import motion_metrics


def _poses(translations, angles_deg=0.0):
    poses = np.tile(np.eye(4), (len(translations), 1, 1))
    poses[:, :3, 3] = translations
    poses[:, :3, :3] = Rotation.from_euler("y", angles_deg, degrees=True).as_matrix()
    return poses


def test_the_right_motion_in_another_unit_has_no_error():
    translations = np.random.default_rng(0).normal(size=(6, 3))
    poses = _poses(translations, 3.0)
    metrics = motion_metrics.egomotion_metrics(
        poses, poses[:, :3, :3], translations * 0.13
    )
    assert metrics["translation_error"] == pytest.approx(0, abs=1e-9)
    assert metrics["direction_deg"] == pytest.approx(0, abs=1e-4)
    assert metrics["rotation_deg"] == pytest.approx(0, abs=1e-4)


def test_a_scale_that_drifts_between_frames_is_an_error():
    translations = np.array([[0, 0, 1.0], [0, 0, 1.0]])
    drifting = np.array([[0, 0, 1.0], [0, 0, 3.0]])
    metrics = motion_metrics.egomotion_metrics(
        _poses(translations), np.tile(np.eye(3), (2, 1, 1)), drifting
    )
    # Least squares: s = (1 + 3) / (1 + 9) = 0.4; errors |0.4 - 1|, |1.2 - 1|.
    assert metrics["translation_error"] == pytest.approx(0.4)
    assert metrics["constant_velocity_error"] == pytest.approx(0)


def test_constant_velocity_error_is_that_of_the_mean_vector():
    translations = np.array([[0, 0, 1.0], [0, 0, 3.0]])
    metrics = motion_metrics.egomotion_metrics(
        _poses(translations), np.tile(np.eye(3), (2, 1, 1)), translations
    )
    assert metrics["constant_velocity_error"] == pytest.approx(1.0 / 2.0)


def test_direction_ignores_frames_that_stand_still():
    translations = np.array([[0, 0, 1.0], [0, 0, 0.01]])
    predicted = np.array([[0, 1.0, 1.0], [1.0, 0, 0]])
    metrics = motion_metrics.egomotion_metrics(
        _poses(translations), np.tile(np.eye(3), (2, 1, 1)), predicted
    )
    assert metrics["direction_deg"] == pytest.approx(45.0)


def test_rotation_error_is_the_angle_between_rotations():
    poses = _poses(np.ones((2, 3)), 5.0)
    predicted = _poses(np.ones((2, 3)), 3.5)[:, :3, :3]
    metrics = motion_metrics.egomotion_metrics(poses, predicted, np.ones((2, 3)))
    assert metrics["rotation_deg"] == pytest.approx(1.5, abs=1e-6)


def test_a_reversed_translation_has_the_error_of_standing_still():
    translations = np.array([[0, 0, 1.0], [0, 0, 3.0]])
    metrics = motion_metrics.egomotion_metrics(
        _poses(translations), np.tile(np.eye(3), (2, 1, 1)), -translations
    )
    assert metrics["translation_error"] == pytest.approx(1.0)
    assert metrics["direction_deg"] == pytest.approx(180.0)


def test_counts_tell_the_iou_at_any_threshold():
    rng = np.random.default_rng(0)
    lengths = rng.lognormal(-2, 2, (3, 5, 7)).astype(np.float32)
    lengths[0, :2] = 0.0
    moving, valid = rng.random((2, 3, 5, 7)) < 0.6
    counts = motion_metrics.MotionCounts()
    for frame in zip(lengths, moving, valid, strict=True):
        counts.add(*frame)
    for threshold in (0.0, 1e-3, 0.052, 0.3, 2.0, 1e6):
        # In no bin with a length, where rounding up changes nothing.
        assert not ((lengths > threshold) & (lengths < 1.004 * threshold)).any()
        predicted = lengths > threshold
        intersection = np.sum(predicted & moving & valid)
        union = np.sum((predicted | moving) & valid)
        assert counts.iou(threshold) == pytest.approx(intersection / union)
    assert counts.iou_all_moving() == pytest.approx(moving[valid].mean())


def test_counts_of_nothing_have_no_overlap():
    counts = motion_metrics.MotionCounts()
    assert counts.iou(0.1) == counts.iou_all_moving() == 0


def _counts(seed=0):
    rng = np.random.default_rng(seed)
    length = rng.uniform(0, 2, (5, 7)).astype(np.float32)
    moving, valid = rng.random((5, 7)) < 0.4, rng.random((5, 7)) < 0.8
    counts = motion_metrics.MotionCounts()
    counts.add(length, moving, valid)
    return counts, length[valid], moving[valid]


def test_f1_and_iou_are_two_views_of_the_same_counts():
    counts, length, moving = _counts()
    for threshold in (0.0, 0.5, 1.5, 3.0):
        predicted = length > threshold
        both = np.sum(predicted & moving)
        f1 = 2 * both / (predicted.sum() + moving.sum())
        assert counts.f1(threshold) == pytest.approx(f1, abs=0.03)
        iou = counts.iou(threshold)
        assert counts.f1(threshold) == pytest.approx(2 * iou / (1 + iou))


def test_object_translation_errors_by_hand():
    true = np.tile([0, 0, 2.0], (3, 1))
    # Correct; 90 degrees off and twice too long; not moving at all.
    predicted = np.array([[0, 0, 2.0], [0, 4.0, 0], [0, 0, 0]])
    direction, magnitude = motion_metrics.object_translation_errors(true, predicted)
    np.testing.assert_allclose(direction, [0, 90, 90], atol=1e-6)
    np.testing.assert_allclose(magnitude, [0, 1, 1])


@pytest.mark.parametrize("channels", [2, 3])
def test_flow_errors_equal_a_slow_loop(channels):
    rng = np.random.default_rng(channels)
    true = 20 * rng.normal(size=(5, 7, channels))
    predicted = true + 3 * rng.normal(size=true.shape)
    true[1, 2] = np.nan
    valid = rng.random((5, 7)) < 0.7
    errors, outliers = [], []
    for y in range(5):
        for x in range(7):
            if not valid[y, x] or (y, x) == (1, 2):
                continue
            error = np.sqrt(sum((predicted[y, x] - true[y, x]) ** 2))
            errors.append(error)
            length = np.sqrt(sum(true[y, x] ** 2))
            outliers.append(error > 3 and error > 0.05 * length)
    got = motion_metrics.flow_errors(true, predicted, valid)
    assert got["epe"] == pytest.approx(np.mean(errors))
    assert got["outlier_rate"] == pytest.approx(np.mean(outliers))


def test_motion_that_is_not_finite_is_an_error_and_nothing_to_compare_is_nan():
    true, predicted = np.ones((2, 3, 3)), np.ones((2, 3, 3))
    everywhere, nowhere = np.ones((2, 3), bool), np.zeros((2, 3), bool)
    predicted[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"must be finite.* 1 such"):
        motion_metrics.flow_errors(true, predicted, everywhere)
    with pytest.raises(ValueError, match=r"must be finite.* 1 such"):
        motion_metrics.object_translation_errors(true[1], predicted[1])
    errors = motion_metrics.flow_errors(true, predicted, nowhere)
    assert all(np.isnan(x) for x in errors.values())
