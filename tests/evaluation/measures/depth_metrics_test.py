"""Depth metrics against a slow loop, and the rules that keep them honest."""

import math

import numpy as np
import pytest

from mdm_jax.evaluation.measures import depth_metrics

LIMITS = {"min_depth": 1e-3, "max_depth": 80.0}


def _maps(seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(1, 60, (5, 7)).astype(np.float32)
    truth[0, :3] = 0.0
    truth[1, 1] = 95.0
    return truth, rng.uniform(0.5, 100, (5, 7)).astype(np.float32)


def _slow(truth, prediction):
    rows = []
    for g, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if not 1e-3 < g < 80:
            continue
        p = min(max(p, 1e-3), 80.0)
        rows.append(
            (
                abs(g - p) / g,
                (g - p) ** 2 / g,
                (g - p) ** 2,
                (math.log(g) - math.log(p)) ** 2,
                max(g / p, p / g) < 1.25,
                max(g / p, p / g) < 1.25**2,
                max(g / p, p / g) < 1.25**3,
            )
        )
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    mean[2], mean[3] = math.sqrt(mean[2]), math.sqrt(mean[3])
    return dict(zip(depth_metrics.NAMES, mean, strict=True))


def test_metrics_equal_a_slow_loop():
    truth, prediction = _maps()
    valid = depth_metrics.valid_pixels(truth, **LIMITS)
    got = depth_metrics.depth_metrics(truth, prediction, valid, **LIMITS)
    want = _slow(truth, prediction)
    assert got == pytest.approx(want, rel=1e-6)


def test_a_perfect_prediction_of_another_scale_is_perfect_after_scaling():
    truth, _ = _maps()
    valid = depth_metrics.valid_pixels(truth, **LIMITS)
    prediction = np.where(valid, truth * 0.037, 1.0)
    scale = depth_metrics.median_scale(truth, prediction, valid)
    assert scale == pytest.approx(1 / 0.037, rel=1e-6)
    metrics = depth_metrics.depth_metrics(truth, prediction * scale, valid, **LIMITS)
    assert metrics["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert metrics["a1"] == 1.0


def test_unusable_input_is_an_error_not_a_better_number():
    truth, prediction = _maps()
    valid = depth_metrics.valid_pixels(truth, **LIMITS)
    with pytest.raises(ValueError, match="no valid pixel"):
        depth_metrics.median_scale(truth, prediction, np.zeros_like(valid))
    for bad in (np.nan, 0.0, -1.0, np.inf):
        broken = prediction.copy()
        broken[2, 2] = bad
        with pytest.raises(ValueError, match="finite positive"):
            depth_metrics.median_scale(truth, broken, valid)
