"""How well each focal length explains the flow, and whether it can be observed at all.

A wrong focal length bends the epipolar lines as soon as the camera turns, so the mean
residual has its minimum at the true one. Where a drive goes straight every focal length
fits as well, and the curve is flat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.two_view import essential, refinement

Array = np.ndarray

FACTORS = tuple(float(f) for f in np.geomspace(0.4, 2.5, 17))
_MAX_RESIDUAL = 1.0
_RESAMPLES = 200
# The middle 80 % of the resampled minima, in log focal length, may be this wide.
_MAX_INTERVAL = 0.25


@dataclasses.dataclass(frozen=True)
class FocalCurve:
    """The mean residual of some pairs for several focal lengths.

    Attributes:
        focal_lengths: pixels, ascending.
        residuals: mean over pairs and points of min(distance from the epipolar line,
            1), pixels.
        best: focal length at the minimum, pixels.
        interval: that 10 and 90 % of bootstrap resamples of the pairs stay below.
        observable: whether the interval is narrow and inside the curve.
    """

    focal_lengths: tuple[float, ...]
    residuals: tuple[float, ...]
    best: float
    interval: tuple[float, float]
    observable: bool


def measure(
    pairs: Sequence[essential.Correspondences],
    intrinsics: Float[Array, "3 3"],
    *,
    factors: Sequence[float] = FACTORS,
    threshold: float = 0.5,
) -> FocalCurve | None:
    """Returns the curve of some pairs, None without any that can be used.

    Args:
        pairs: corresponding points of moving pairs; those that turn most tell most.
        intrinsics: first guess; both focal lengths are scaled, the centre stays.
        factors: of the focal length, ascending.
        threshold: of the essential matrix, pixels.
    """
    rows = [_residuals(pair, intrinsics, factors, threshold) for pair in pairs]
    table = np.array([row for row in rows if np.isfinite(row).all()])
    if not len(table):
        return None
    focal_lengths = float(intrinsics[0, 0]) * np.asarray(factors, np.float64)
    logs = np.log(focal_lengths)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(table), size=(_RESAMPLES, len(table)))
    minima = [_minimum(logs, table[indices].mean(axis=0)) for indices in drawn]
    low, high = np.quantile(minima, (0.1, 0.9))
    inside = logs[0] < low and high < logs[-1]
    return FocalCurve(
        tuple(np.round(focal_lengths, 2).tolist()),
        tuple(np.round(table.mean(axis=0), 5).tolist()),
        float(np.exp(_minimum(logs, table.mean(axis=0)))),
        (float(np.exp(low)), float(np.exp(high))),
        bool(len(table) >= 3 and inside and high - low < _MAX_INTERVAL),
    )


def _residuals(
    pair: essential.Correspondences,
    intrinsics: Float[Array, "3 3"],
    factors: Sequence[float],
    threshold: float,
) -> list[float]:
    """Returns the mean residual for every focal length, NaN where there is no pose."""
    result = []
    for factor in factors:
        scaled = np.array(intrinsics, np.float64)
        scaled[0, 0] *= factor
        scaled[1, 1] *= factor
        pose = essential.estimate(pair, scaled, threshold=threshold)
        if pose is None:
            result.append(float("nan"))
            continue
        distance = refinement.sampson(
            essential.rays(pair.target, scaled),
            essential.rays(pair.source, scaled),
            pose.rotation,
            pose.direction,
        )
        pixels = np.abs(distance) * np.sqrt(scaled[0, 0] * scaled[1, 1])
        result.append(float(np.minimum(pixels, _MAX_RESIDUAL).mean()))
    return result


def _minimum(logs: Array, values: Array) -> float:
    """Returns where the parabola through the least value and its neighbours is least."""
    index = int(np.argmin(values))
    if index in (0, len(values) - 1):
        return float(logs[index])
    before, least, after = values[index - 1 : index + 2]
    curvature = before - 2 * least + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return float(logs[index] + shift * (logs[index + 1] - logs[index]))
