"""True depth as data sets store it: lists of LiDAR points, Cityscapes disparity.

Each function here makes a `convert` for `predictions.open_maps`.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import predictions

# Order of the columns in lists of points: of KITTI exporters; of Waymo and nuScenes.
POINTS = ("row_column_depth", "x_y_depth")


def open_truth(
    path: str | os.PathLike[str],
    *,
    png_unit: float = 1 / 256,
    points: str | None = None,
    size: Sequence[int] | None = None,
    cameras: str | None = None,
    allow_pickle: bool = False,
) -> predictions.Maps:
    """Returns the true depth found at a path, in metres.

    Args:
        path: see `predictions.open_maps`.
        png_unit: metres of a step of a 16-bit PNG.
        points: order of the columns where the truth is lists of points.
        size: (height, width) that points belong to.
        cameras: folder of the cameras where the truth is disparity of Cityscapes.
        allow_pickle: see `predictions.open_maps`.

    Raises:
        ValueError: see `predictions.open_maps`; or points without a size.
    """
    convert = None
    if cameras is not None:
        convert, png_unit = from_cityscapes(cameras), 1
    elif points is not None:
        if size is None:
            raise ValueError("points need the size of their images, height and width")
        height, width = size
        convert = from_points((height, width), order=points)
    return predictions.open_maps(
        path, png_unit=png_unit, allow_pickle=allow_pickle, convert=convert
    )


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
