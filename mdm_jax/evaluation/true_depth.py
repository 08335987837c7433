"""True depth in the forms of data sets: maps, LiDAR points, Cityscapes disparity."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mdm_jax.evaluation import map_files

# Order of the columns of points: as exported from KITTI; from Waymo and nuScenes.
POINTS = ("row_column_depth", "x_y_depth")


def open_truth(
    path: str | os.PathLike[str],
    *,
    png_unit: float = 1 / 256,
    points: str | None = None,
    size: Sequence[int] | None = None,
    cameras: str | os.PathLike[str] | None = None,
    allow_pickle: bool = False,
) -> map_files.Maps:
    """Returns the true depth at a path, in metres.

    Args:
        path: see `map_files.open_maps`.
        png_unit: metres per step of a 16-bit PNG.
        points: order of the columns if the truth consists of lists of points.
        size: (height, width) of the images that points belong to.
        cameras: folder of the camera files if the truth is Cityscapes disparity.
        allow_pickle: see `map_files.open_maps`.

    Raises:
        ValueError: see `map_files.open_maps`; or the size of points is missing.
    """
    convert = None
    if cameras is not None:
        convert, png_unit = from_cityscapes(cameras), 1
    elif points is not None:
        if size is None:
            raise ValueError("points need the size of their images, height and width")
        height, width = size
        convert = from_points((height, width), order=points)
    return map_files.open_maps(
        path, png_unit=png_unit, allow_pickle=allow_pickle, convert=convert
    )


def from_points(size: tuple[int, int], *, order: str) -> map_files.Convert:
    """Returns a function that turns points `[n 3]` into a map `[h w]`, 0 where unknown.

    Coordinates are truncated to pixels. The nearest of several points in a pixel counts.

    Args:
        size: (height, width) of the maps.
        order: of the columns, one of `POINTS`.

    Raises:
        ValueError: an unknown order. The function itself raises it if an array is no
            list of points or a point lies outside the image.
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


def from_cityscapes(cameras: str | os.PathLike[str]) -> map_files.Convert:
    """Returns a function that turns Cityscapes disparity images into depth.

    A value p > 0 of `<image>_disparity.png`, read with a unit of 1, is a disparity of
    `(p - 1) / 256` pixels, and the depth is `baseline * fx / disparity`; 0 is unknown.

    Args:
        cameras: folder that contains `<image>_camera.json`, at any depth.

    Raises:
        ValueError: the function itself raises it if a camera is missing or incomplete.
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
