"""Coloured point clouds as binary PLY files, which most 3D viewers open."""

from __future__ import annotations

import os
import pathlib

import numpy as np
from jaxtyping import Bool, Float, UInt8

_RECORD = np.dtype(
    [(axis, "<f4") for axis in "xyz"]
    + [(color, "u1") for color in ("red", "green", "blue")]
)


def write_ply(
    path: str | os.PathLike[str],
    points: Float[np.ndarray, "h w 3"],
    colors: UInt8[np.ndarray, "h w 3"],
    known: Bool[np.ndarray, "h w"],
    *,
    comment: str = "",
):
    """Writes the known points with their colours.

    Args:
        path: of the file.
        points: x right, y down, z forward.
        colors: RGB.
        known: points to write; those that are not finite are left out.
        comment: a line for the header, such as the unit.
    """
    known = known & np.isfinite(points).all(axis=-1)
    records = np.empty(int(known.sum()), _RECORD)
    for i, axis in enumerate("xyz"):
        records[axis] = points[known][:, i]
    for i, color in enumerate(("red", "green", "blue")):
        records[color] = colors[known][:, i]
    lines = ["ply", "format binary_little_endian 1.0"]
    if comment:
        lines.append(f"comment {' '.join(comment.split())}")
    lines.append(f"element vertex {len(records)}")
    lines += [f"property float {axis}" for axis in "xyz"]
    lines += [f"property uchar {color}" for color in ("red", "green", "blue")]
    header = "\n".join([*lines, "end_header", ""]).encode("ascii", "replace")
    pathlib.Path(path).write_bytes(header + records.tobytes())
