"""The seven depth metrics of Eigen et al. 2014 for one image.

Predictions are scaled to the truth by the ratio of medians and then clipped. Errors are
computed in float64, because published tables quote them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

NAMES = ("abs_rel", "sq_rel", "rmse", "rmse_log", "a1", "a2", "a3")


def valid_pixels(
    truth: Float[np.ndarray, "h w"], *, min_depth: float, max_depth: float
) -> Bool[np.ndarray, "h w"]:
    """Returns where the true depth, in metres, lies strictly inside the range."""
    return (truth > min_depth) & (truth < max_depth)


def lower_median(values: Float[np.ndarray, " ..."]) -> float:
    """Returns the median; of an even number of values, the lower of the middle two.

    `torch.median` returns this value, `np.median` the mean of the middle two.
    """
    flat = np.ravel(values)
    middle = (flat.size - 1) // 2
    return float(np.partition(flat, middle)[middle])


def median_scale(
    truth: Float[np.ndarray, "h w"],
    prediction: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"],
    *,
    lower: bool = False,
) -> float:
    """Returns `median(truth) / median(prediction)` over valid pixels.

    Args:
        truth: metres.
        prediction: any unit.
        valid: the pixels compared.
        lower: use `lower_median`.

    Raises:
        ValueError: no pixel is valid, or the prediction is not positive at one.
    """
    if not valid.any():
        raise ValueError("no valid pixel of true depth to scale the prediction by")
    inside = prediction[valid]
    if not np.isfinite(inside).all() or not (inside > 0).all():
        raise ValueError("predicted depth expects finite positive values, got others")
    median = lower_median if lower else np.median
    return float(median(truth[valid]) / median(inside))


def hole_rate(
    truth: Float[np.ndarray, "h w"],
    prediction: Float[np.ndarray, "h w"],
    moving: Bool[np.ndarray, "h w"],
    *,
    factor: float = 3.0,
) -> float:
    """Returns the share of moving pixels predicted more than `factor` times too far.

    An object that moves with the camera shows no parallax. Photometric training can
    explain that by an infinite depth, a hole in the depth map.

    Args:
        truth: metres.
        prediction: metres, scaled but not clipped.
        moving: the pixels counted; at least one.
        factor: of the true depth.
    """
    return float(np.mean(prediction[moving] > factor * truth[moving]))


def depth_metrics(
    truth: Float[np.ndarray, "h w"],
    prediction: Float[np.ndarray, "h w"],
    valid: Bool[np.ndarray, "h w"],
    *,
    min_depth: float,
    max_depth: float,
) -> dict[str, float]:
    """Returns abs_rel, sq_rel, rmse, rmse_log, a1, a2, a3 over the valid pixels.

    Args:
        truth: metres.
        prediction: metres, scaled; clipped here to `min_depth` and `max_depth`.
        valid: the pixels compared; at least one.
        min_depth: metres.
        max_depth: metres.
    """
    g = truth[valid].astype(np.float64)
    p = np.clip(prediction[valid].astype(np.float64), min_depth, max_depth)
    ratio = np.maximum(g / p, p / g)
    values = (
        np.mean(np.abs(g - p) / g),
        np.mean((g - p) ** 2 / g),
        np.sqrt(np.mean((g - p) ** 2)),
        np.sqrt(np.mean((np.log(g) - np.log(p)) ** 2)),
        *(np.mean(ratio < 1.25**power) for power in (1, 2, 3)),
    )
    return dict(zip(NAMES, map(float, values), strict=True))
