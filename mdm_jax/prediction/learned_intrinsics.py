"""Learned intrinsics, and whether the camera turned enough to learn them.

Under pure translation a wrong focal length looks like another depth; only rotation
determines it. A turn by r about y moves a pixel at distance u from the centre by
`f r + u^2 r / f`. The network can explain the first part by another angle, but not the
second; at the border, u = w / 2, it changes by one pixel where f changes by

    delta f_x = 2 f_x^2 / (w^2 r_y)        delta f_y = 2 f_y^2 / (h^2 r_x)

(Gordon et al. 2019, *Depth from Videos in the Wild*, section on learned intrinsics).
This is the tolerance, in pixels, to which such a turn determines f.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import logging

from mdm_jax.geometry.view import View

# The turn of a recording is the angle that this fraction of its pairs exceed.
_TURNING_FRACTION = 0.1
# Focal lengths with a larger relative tolerance are reported as not observable.
ACCEPTABLE = 0.1


def tolerance(focal: float, side: int, angle: float) -> float:
    """Returns the error of a focal length at which a turn shows it by one pixel.

    Args:
        focal: along the side, pixels.
        side: of the image: its width for f_x, its height for f_y, pixels.
        angle: of the turn about the other axis, radians.
    """
    return 2 * focal**2 / (side**2 * max(abs(angle), 1e-12))


def report(
    intrinsics: np.ndarray, rotations: np.ndarray, *, view: View
) -> dict[str, Any]:
    """Returns the learned intrinsics with spread and tolerance, and logs warnings.

    Args:
        intrinsics: `[n 3 3]` of each pair of frames, in pixels of the view.
        rotations: `[n 3 3]`, predicted camera rotation of each pair.
        view: from the original frames, to whose pixels the result refers.
    """
    names = {"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}
    angles = _rotation_vectors(rotations)
    original = view.original_intrinsics(intrinsics)
    result: dict[str, Any] = {"unit": "pixels of the original frames"}
    for name, (row, column) in names.items():
        lower, median, upper = np.percentile(original[:, row, column], [25, 50, 75])
        result[name] = {"median": median, "quartiles": [lower, upper]}
    # A turn about y determines f_x, one about x f_y.
    for name, axis, place in (("fx", 1, 0), ("fy", 0, 1)):
        turn = float(np.quantile(np.abs(angles[:, axis]), 1 - _TURNING_FRACTION))
        focal = float(np.median(intrinsics[:, place, place]))
        relative = tolerance(focal, view.size[1 - place], turn) / focal
        result[name] |= {
            "turn_degrees": np.degrees(turn),
            "relative_tolerance": relative,
            "observable": relative <= ACCEPTABLE,
        }
        if relative > ACCEPTABLE:
            result[name]["warning"] = (
                f"the camera turns by at most {np.degrees(turn):.2g} degrees between"
                f" most frames, which determines {name} only to {relative:.0%};"
                " record with turns, pair frames further apart"
                " (config.dataset.frame_stride), or give the intrinsics"
            )
            logging.warning("Learned %s: %s", name, result[name]["warning"])
    return result


def _rotation_vectors(rotations: np.ndarray) -> np.ndarray:
    """Returns the rotation vectors `[n 3]` of rotations by less than 180 degrees."""
    trace = np.trace(rotations, axis1=-2, axis2=-1)
    angle = np.arccos(np.clip((trace - 1) / 2, -1, 1))
    # (R - R^T) / 2 = sin(angle) [axis]_x
    skew = 0.5 * (rotations - np.swapaxes(rotations, -1, -2))
    vector = np.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], axis=-1)
    sine = np.sin(angle)
    factor = np.where(sine > 1e-6, angle / np.where(sine > 1e-6, sine, 1.0), 1.0)
    return vector * factor[:, None]
