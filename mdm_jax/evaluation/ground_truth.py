"""True depth as data sets store it: lists of LiDAR points, Cityscapes disparity.

Each function here makes a `convert` for `predictions.open_maps`.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# Order of the columns in lists of points: of KITTI exporters; of Waymo and nuScenes.
POINTS = ("row_column_depth", "x_y_depth")


def from_points(
    size: tuple[int, int], *, order: str
) -> Callable[[np.ndarray, str], np.ndarray]:
    """Returns a function that makes maps `[h w]`, 0 where unknown, of points `[n 3]`.

    Coordinates are cut to whole pixels. Where several points fall into one pixel, the
    nearest counts.

    Args:
        size: (height, width) of the maps.
        order: of the columns, one of `POINTS`.

    Raises:
        ValueError: an unknown order; and, from the function, where an array is no list
            of points, or one lies outside.
    """
    if order not in POINTS:
        raise ValueError(f"points are {' or '.join(POINTS)}, got {order!r}")

    def convert(points: np.ndarray, place: str) -> Float[np.ndarray, "h w"]:
        if points.ndim != 2 or points.shape[1] != 3:
            got = list(points.shape)
            raise ValueError(f"{place}: expected points [n 3], got {got}")
        first, second, depth = np.asarray(points, np.float64).T
        rows, columns = (first, second) if order == POINTS[0] else (second, first)
        inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
        if not inside.all():
            i = int(np.argmin(inside))
            raise ValueError(
                f"{place}: point {i} is at row {rows[i]:g}, column {columns[i]:g},"
                f" outside of {size[0]} rows and {size[1]} columns"
                f" ({np.sum(~inside)} such points); is the order {order}?"
            )
        result = np.full(size, np.inf)
        np.minimum.at(result, (rows.astype(int), columns.astype(int)), depth)
        return np.where(np.isfinite(result), result, 0.0)

    return convert


def from_cityscapes(
    cameras: str | os.PathLike[str],
) -> Callable[[np.ndarray, str], np.ndarray]:
    """Returns a function that makes depth of the disparity that Cityscapes supplies.

    Of a value p > 0 in `<image>_disparity.png`, read with a unit of 1, the disparity is
    `(p - 1) / 256` pixels and the depth `baseline * fx / disparity`; 0 is unknown.

    Args:
        cameras: folder with `<image>_camera.json` in it, at any depth.

    Raises:
        ValueError: from the function, where the camera is missing or incomplete.
    """
    files = {file.name: file for file in pathlib.Path(cameras).rglob("*_camera.json")}

    def convert(values: np.ndarray, place: str) -> Float[np.ndarray, "h w"]:
        name = pathlib.Path(place).name.replace("_disparity.png", "_camera.json")
        if name not in files:
            raise ValueError(f"{place}: {cameras} has no {name}")
        try:
            camera = json.loads(files[name].read_text(encoding="utf-8"))
            focal = float(camera["intrinsic"]["fx"])
            baseline = float(camera["extrinsic"]["baseline"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{files[name]}: expected intrinsic.fx and extrinsic.baseline, got"
                f" {error!r}"
            ) from None
        disparity = (values.astype(np.float64) - 1) / 256
        known = disparity > 0
        return np.where(known, baseline * focal / np.where(known, disparity, 1), 0.0)

    return convert
