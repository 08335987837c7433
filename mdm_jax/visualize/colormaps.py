"""Depth, motion and errors as colours that can be compared between images.

Every function maps values to uint8 RGB `[h w 3]` with limits given by the caller, so
that images shown side by side can share one scale; the `..._limit` functions choose it.
Depth is coloured by inverse depth, as that is what parallax shows: the far field keeps
few colours and nothing is infinite. Unknown values are grey, which no scale contains.
"""

from __future__ import annotations

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

UNKNOWN = 110  # grey level
_MIDDLE = 128  # grey level of no motion

# Matplotlib colour maps, which callers may replace by name.
DEPTH_MAP = "magma"
MAGNITUDE_MAP = "viridis"
ERROR_MAP = "inferno"


def scalar(
    values: Float[np.ndarray, "h w"], *, limit: float, name: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns colours of values from 0 to `limit`; larger ones get the last colour.

    Args:
        values: non-negative; what is not finite is shown as unknown.
        limit: positive value at the end of the scale.
        name: of a matplotlib colour map, e.g. `magma` or `turbo`.
    """
    known = np.isfinite(values)
    share = np.clip(np.where(known, values, 0) / limit, 0, 1)
    colors = matplotlib.colormaps[name](share, bytes=True)[..., :3]
    return np.where(known[..., None], colors, np.uint8(UNKNOWN))


def inverse_depth(
    depth: Float[np.ndarray, "h w"], *, limit: float, name: str = DEPTH_MAP
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns colours of `1 / depth`, from the first for infinity to the last for near.

    Args:
        depth: depths that are not positive or not finite are shown as unknown, except
            infinity itself.
        limit: inverse depth at the end of the scale, 1 / (unit of the depth).
        name: of a matplotlib colour map.
    """
    return scalar(_inverse(depth), limit=limit, name=name)


def motion(
    field: Float[np.ndarray, "h w 3"], *, limit: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns x, y and z as red, green and blue around grey, which is no motion.

    An object that moves right is red, left cyan; down green, up magenta; away from the
    camera blue, towards it yellow.

    Args:
        field: translations; vectors that are not finite are shown as black.
        limit: length of a component at full saturation; larger ones are clipped.
    """
    known = np.isfinite(field).all(axis=-1, keepdims=True)
    share = np.clip(np.where(known, field, 0) / limit, -1, 1)
    colors = np.rint(_MIDDLE + (255 - _MIDDLE) * share).astype(np.uint8)
    return np.where(known, colors, np.uint8(0))


def magnitude(
    field: Float[np.ndarray, "h w 3"], *, limit: float, name: str = MAGNITUDE_MAP
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns colours of the length of the vectors, from 0 to `limit`."""
    return scalar(np.linalg.norm(field, axis=-1), limit=limit, name=name)


def inverse_depth_limit(depth: Float[np.ndarray, "h w"]) -> float:
    """Returns the inverse depth that only the nearest 5 % of known pixels exceed."""
    return _percentile(_inverse(depth), 95.0) or 1.0


def absolute_limit(*arrays: np.ndarray) -> float:
    """Returns a limit that at most 0.5 % of the absolute values of any array exceed."""
    return max((_percentile(np.abs(x), 99.5) for x in arrays), default=0.0) or 1.0


def _inverse(depth: np.ndarray) -> np.ndarray:
    """Returns `1 / depth`, NaN where the depth is unknown."""
    known = depth > 0
    return np.where(known, 1 / np.where(known, depth, 1), np.nan)


def _percentile(values: np.ndarray, percent: float) -> float:
    """Returns a percentile of the finite values, 0 only where these are all zero."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0
    # If almost all values are zero, the largest one sets the scale.
    return float(np.percentile(finite, percent)) or float(finite.max())
