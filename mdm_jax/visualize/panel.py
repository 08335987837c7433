"""One picture of predictions: examples in rows, maps of each kind in columns.

Small images are enlarged by an integer factor, so that each of their pixels is a crisp
square; large ones are averaged down. Depth maps of one row share a colour scale, other
maps share that of their kind. The scale is printed below each map.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib import figure

from mdm_jax.files import image_file
from mdm_jax.visualize import colormaps, plots

# The shapes of the arrays of each kind.
KINDS = {
    "image": "[h w 3], uint8 or float in [0, 1]",
    "depth": "[h w]",
    "motion": "[h w 3]",
    "magnitude": "[h w 3]",
    "error": "[h w] or [h w 3]",
    "mask": "[h w]",
}

# All in pixels. Images are resized to about the tile width, and never above the largest.
_TILE_WIDTH = 384
_LARGEST_WIDTH = 512
_GAP = 10
_BAR = 5
_CAPTION = 16
_TITLE = 34
_HEADER = 24
_LABEL = 22
_INK = "#202020"
_FAINT = "#606060"
# A power of two, so that pixels / _DPI is exact and the figure has that many pixels.
_DPI = 128

Row = Mapping[str, tuple[Any, str] | None]


@dataclasses.dataclass(frozen=True)
class _Tile:
    """A coloured map; `bar` `[n 3]` shows its colour scale, with text at both ends."""

    colors: np.ndarray
    bar: np.ndarray | None = None
    first: str = ""
    last: str = ""


def save_panel(
    path: str | os.PathLike[str],
    rows: Sequence[Row],
    *,
    labels: Sequence[str] | None = None,
    title: str = "",
) -> UInt8[np.ndarray, "H W 3"]:
    """Writes the picture of `render` as a PNG file and returns it.

    The file is replaced atomically. Missing folders are created. The arguments are those
    of `render`.
    """
    picture = render(rows, labels=labels, title=title)
    image_file.write_png(path, picture)
    return picture


def render(
    rows: Sequence[Row],
    *,
    labels: Sequence[str] | None = None,
    title: str = "",
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns a picture with one row for each example.

    Args:
        rows: for each example, column title to (array, kind); the array, or both, may
            be None if the example has no such map. Columns are in order of first
            appearance; those without any map are left out. The kinds, with the shapes of their arrays:
            `image` `[h w 3]`, uint8 or float in [0, 1]; `depth` `[h w]`, not positive
            where unknown, scaled alike by the caller; `motion` `[h w 3]`, components
            as colours around grey, or `magnitude`, of the same arrays; `error` `[h w]`
            or `[h w 3]`, mean absolute value over channels; `mask` `[h w]`.
        labels: a line of text above each row.
        title: a line of text at the top.

    Raises:
        ValueError: there is nothing to show, a kind is unknown, or an array does not
            have the shape of its kind; names the column.
    """
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any((row.get(name) or (None,))[0] is not None for row in rows)
    ]
    if not names:
        raise ValueError("a panel needs at least one row with at least one map")
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"got {len(labels)} labels for {len(rows)} rows of a panel")
    grid = _tiles(rows)
    tile_width = max(t.colors.shape[1] for tiles in grid for t in tiles.values())
    row_heights = [
        max((t.colors.shape[0] for t in tiles.values()), default=0)
        + (_BAR + _CAPTION if any(t.bar is not None for t in tiles.values()) else 0)
        + (_LABEL if labels is not None else 0)
        + _GAP
        for tiles in grid
    ]
    top = (_TITLE if title else _GAP) + _HEADER
    width = _GAP + len(names) * (tile_width + _GAP)
    pixels = np.full((top + sum(row_heights), width, 3), 255, np.uint8)

    texts: list[tuple[float, float, str, dict[str, Any]]] = []
    if title:
        style = {"fontsize": 10, "color": _INK, "weight": "bold", "ha": "left"}
        texts.append((_GAP, 0.55 * _TITLE, title, style))
    lefts = {name: _GAP + i * (tile_width + _GAP) for i, name in enumerate(names)}
    for name, left in lefts.items():
        style = {"fontsize": 8.5, "color": _INK, "ha": "center"}
        texts.append((left + tile_width / 2, top - 0.5 * _HEADER, name, style))
    for index, tiles in enumerate(grid):
        y = top + sum(row_heights[:index])
        if labels is not None:
            style = {"fontsize": 7.5, "color": _INK, "ha": "left"}
            texts.append((_GAP, y + 0.45 * _LABEL, labels[index], style))
            y += _LABEL
        for name, tile in tiles.items():
            texts += _draw(pixels, tile, left=lefts[name], top=y)
    return _write(pixels, texts)


def _tiles(rows: Sequence[Row]) -> list[dict[str, _Tile]]:
    """Returns the coloured, resized maps of each row."""
    checked = [
        {
            name: (_checked(name, np.asarray(cell[0]), cell[1]), cell[1])
            for name, cell in row.items()
            if cell is not None and cell[0] is not None
        }
        for row in rows
    ]
    cells = [cell for row in checked for cell in row.values()]
    # Common to all rows, so that small motion looks small beside large motion.
    limits = {
        kind: colormaps.absolute_limit(*(x for x, other in cells if other == kind))
        for kind in ("motion", "magnitude", "error")
    }
    tiles = []
    for row in checked:
        # Each video has its own scale of depth. It is set by the first map, the true one
        # if there is one, so that a wrong scale of a prediction is visible.
        depths = [values for values, kind in row.values() if kind == "depth"]
        if depths:
            limits["depth"] = colormaps.inverse_depth_limit(depths[0])
        tiles.append(
            {
                name: _tile(values, kind=kind, limit=limits.get(kind, 1.0))
                for name, (values, kind) in row.items()
            }
        )
    return tiles


def _checked(name: str, values: np.ndarray, kind: str) -> np.ndarray:
    """Returns the array of a cell, float32 except for images of bytes."""
    if kind not in KINDS:
        raise ValueError(f"column {name!r}: kind {kind!r} is none of {list(KINDS)}")
    flat, vectors = values.ndim == 2, values.ndim == 3 and values.shape[2] == 3
    if not {"image": vectors, "motion": vectors, "magnitude": vectors}.get(
        kind, flat or (vectors and kind == "error")
    ):
        raise ValueError(
            f"column {name!r}: kind {kind!r} expects {KINDS[kind]}, got"
            f" {list(values.shape)}; pass one image without batch axes"
        )
    if kind == "image" and values.dtype == np.uint8:
        return values
    values = values.astype(np.float32)
    if kind == "error" and vectors:
        values = np.abs(values).mean(axis=-1)
    return values


def _tile(values: np.ndarray, *, kind: str, limit: float) -> _Tile:
    """Returns the tile of a checked array, coloured up to the limit."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    if kind == "image":
        if values.dtype != np.uint8:
            values = np.rint(255 * np.clip(np.nan_to_num(values), 0, 1))
        return _Tile(_resized(values.astype(np.uint8)))
    if kind == "mask":
        gray = np.where(values[..., None] > 0, np.uint8(255), np.uint8(0))
        return _Tile(_resized(np.repeat(gray, 3, axis=-1)))
    if kind == "depth":
        colors = colormaps.inverse_depth(values, limit=limit)
        bar = colormaps.scalar(ramp, limit=1, name=colormaps.DEPTH_MAP)[0]
        return _Tile(_resized(colors), bar, "depth ∞", f"≤ {_number(1 / limit)}")
    if kind == "motion":
        colors = colormaps.motion(values, limit=limit)
        axes = np.eye(3, dtype=np.float32)[:, None] * (2 * ramp[..., None] - 1)
        bar = colormaps.motion(axes, limit=1).reshape(-1, 3)
        ends = f"± {_number(limit)}"
        return _Tile(_resized(colors), bar, "x, y, z as R, G, B", ends)
    if kind == "magnitude":
        colors = colormaps.magnitude(values, limit=limit)
        name = colormaps.MAGNITUDE_MAP
    else:
        colors = colormaps.scalar(np.abs(values), limit=limit, name=colormaps.ERROR_MAP)
        name = colormaps.ERROR_MAP
    bar = colormaps.scalar(ramp, limit=1, name=name)[0]
    return _Tile(_resized(colors), bar, "0", f"≥ {_number(limit)}")


def _number(value: float) -> str:
    """Returns a number with two digits: `0.0042`, `3.1` or `120`."""
    return f"{value:.0f}" if 99.5 <= value < 1e5 else f"{value:.2g}"


def _resized(colors: np.ndarray) -> np.ndarray:
    """Returns colours enlarged by an integer factor or averaged to the tile width."""
    height, width, _ = colors.shape
    if width > _LARGEST_WIDTH:
        size = (_LARGEST_WIDTH, max(1, round(height * _LARGEST_WIDTH / width)))
        return cv2.resize(colors, size, interpolation=cv2.INTER_AREA)
    factor = max(1, round(_TILE_WIDTH / width))
    return colors.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw(
    pixels: np.ndarray, tile: _Tile, *, left: int, top: int
) -> list[tuple[float, float, str, dict[str, Any]]]:
    """Draws a tile and its bar into the picture, and returns the texts to add."""
    height, width, _ = tile.colors.shape
    pixels[top : top + height, left : left + width] = tile.colors
    if tile.bar is None:
        return []
    bottom = top + height + 1
    entries = np.arange(width) * len(tile.bar) // width
    pixels[bottom : bottom + _BAR, left : left + width] = tile.bar[entries]
    y = bottom + _BAR + 0.5 * _CAPTION
    style = {"fontsize": 6, "color": _FAINT}
    return [
        (left, y, tile.first, style | {"ha": "left"}),
        (left + width, y, tile.last, style | {"ha": "right"}),
    ]


def _write(
    pixels: np.ndarray, texts: Sequence[tuple[float, float, str, dict[str, Any]]]
) -> np.ndarray:
    """Returns the picture with texts at (x, y), centred vertically."""
    height, width, _ = pixels.shape
    drawing = figure.Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    drawing.figimage(pixels)
    for x, y, text, style in texts:
        drawing.text(x / width, 1 - y / height, text, va="center", **style)
    return plots.pixels_of(drawing)
