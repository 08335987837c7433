"""Which triangulated pixels can be trusted, how much, and the scale of a pair."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.two_view.triangulation import Triangulated

Array = np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """When a pixel is trusted; all in pixels of the frames that the flow was found on.

    Attributes:
        error: largest forward-backward error of the flow.
        residual: largest distance from the epipolar line.
        parallax: least parallax; less is far away, or moves along with the camera.
    """

    error: float = 1.0
    residual: float = 1.0
    parallax: float = 0.5


def trusted(
    views: Triangulated, error: Float[Array, "h w"], limits: Limits
) -> Bool[Array, "h w"]:
    """Returns where depth is positive and flow, residual and parallax are good."""
    return (
        np.isfinite(views.depth)
        & (views.depth > 0)
        & (views.residual < limits.residual)
        & (error < limits.error)
        & (views.parallax > limits.parallax)
    )


def weights(views: Triangulated, trusted: Bool[Array, "h w"]) -> Float[Array, "h w"]:
    """Returns `q / (q + 1)` with q the parallax in pixels, 0 where not trusted.

    The relative error of depth is about the error of the flow over q.
    """
    parallax = np.where(trusted, views.parallax, 0)
    return (parallax / (parallax + 1)).astype(np.float32)


def weighted_median(values: Array, weight: Array) -> float:
    """Returns the value that half of the weight lies below; NaN without weight."""
    values, weight = values[weight > 0], weight[weight > 0]
    if not values.size:
        return float("nan")
    order = np.argsort(values)
    cumulative = np.cumsum(weight[order], dtype=np.float64)
    return float(values[order][np.searchsorted(cumulative, cumulative[-1] / 2)])
