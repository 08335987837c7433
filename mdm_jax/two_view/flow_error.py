"""The forward-backward error of flow, in pixels, and whether a pair can be used at all."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mdm_jax.flow import flow_field

Array = np.ndarray


def forward_backward(
    forward: Float[Array, "h w 2"], backward: Float[Array, "h w 2"]
) -> Float[Array, "h w"]:
    """Returns `|f_ab(p) + f_ba<p + f_ab>|` in pixels, inf where either is unknown.

    Flow that leaves the image counts as unknown.
    """
    difference = forward + flow_field.through(forward, backward)
    error = np.hypot(difference[..., 0], difference[..., 1])
    return np.where(np.isnan(error), np.float32(np.inf), error)


def median_length(
    flow: Float[Array, "h w 2"], error: Float[Array, "h w"], *, max_error: float
) -> float:
    """Returns the median length of the flow in pixels where its error is small.

    0 where no pixel qualifies.
    """
    length = np.hypot(flow[..., 0], flow[..., 1])[error < max_error]
    return float(np.median(length)) if length.size else 0.0
