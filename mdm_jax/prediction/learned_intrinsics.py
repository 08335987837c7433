"""Learned intrinsics, and whether the camera turned enough for them to be learned.

Under translation alone a wrong focal length looks like another depth. Only rotation
tells: a turn by r about y moves a pixel at distance u from the centre by `f r + u^2 r /
f`. The first part a network can explain by another angle, the second it cannot; at the
border, u = w / 2, it changes by a pixel where f changes by

    delta f_x = 2 f_x^2 / (w^2 r_y)        delta f_y = 2 f_y^2 / (h^2 r_x)

(Gordon et al. 2019, *Depth from Videos in the Wild*, section on learned intrinsics).
That is how exactly such a turn can tell f, in pixels; without turns, it cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import logging

# Turns of a recording count as large as this share of its frames turn at least.
_TURNING_SHARE = 0.1
# Focal lengths known less exactly than this share of them are not worth much.
ACCEPTABLE = 0.1


def tolerance(focal: float, side: int, angle: float) -> float:
    """Returns how far a focal length may be off before a turn shows it by a pixel.

    Args:
        focal: along the side, pixels.
        side: of the image: its width for f_x, its height for f_y, pixels.
        angle: of the turn about the other axis, radians.
    """
    return 2 * focal**2 / (side**2 * max(abs(angle), 1e-12))


def report(
    intrinsics: np.ndarray,
    rotations: np.ndarray,
    *,
    size: tuple[int, int],
    network_intrinsics: np.ndarray,
) -> dict[str, Any]:
    """Returns the learned intrinsics, their spread and tolerance; warns where it is wide.

    Args:
        intrinsics: `[n 3 3]` of each pair of frames, in original pixels.
        rotations: `[n 3 3]`, predicted camera rotation of each pair.
        size: (height, width) that the network sees, for which a pixel is a pixel.
        network_intrinsics: `[n 3 3]` in pixels of that.
    """
    names = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
    angles = _angles(rotations)
    typical = np.median(network_intrinsics, axis=0)
    result: dict[str, Any] = {"unit": "pixels of the original frames"}
    for name, (row, column) in names.items():
        values = intrinsics[:, row, column]
        lower, median, upper = np.percentile(values, [25, 50, 75])
        result[name] = {"median": median, "quartiles": [lower, upper]}
    # A turn about y shows f_x, one about x f_y.
    for name, axis, place in (("fx", 1, 0), ("fy", 0, 1)):
        turn = float(np.quantile(np.abs(angles[:, axis]), 1 - _TURNING_SHARE))
        side = size[1 - place]
        focal = float(typical[place, place])
        share = tolerance(focal, side, turn) / focal
        result[name] |= {
            "turn_degrees": np.degrees(turn),
            "relative_tolerance": share,
            "observable": share <= ACCEPTABLE,
        }
        if share > ACCEPTABLE:
            result[name]["warning"] = (
                f"the camera turns by no more than {np.degrees(turn):.2g} degrees"
                f" between most frames, which tells {name} only to {share:.0%} of it;"
                " record with turns, pair frames further apart"
                " (config.dataset.frame_stride), or give the intrinsics"
            )
            logging.warning("Learned %s: %s", name, result[name]["warning"])
    return result


def _angles(rotations: np.ndarray) -> np.ndarray:
    """Returns the rotation vectors `[n 3]` of rotations that are not half turns."""
    trace = np.trace(rotations, axis1=-2, axis2=-1)
    angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    # (R - R^T) / 2 = sin(angle) [axis]_x
    skew = 0.5 * (rotations - np.swapaxes(rotations, -1, -2))
    vector = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=-1)
    sine = np.sin(angle)
    factor = np.where(sine > 1e-6, angle / np.where(sine > 1e-6, sine, 1.0), 1.0)
    return vector * factor[:, None]
