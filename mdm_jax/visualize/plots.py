"""Plots as pictures: trajectories, and errors by distance, length and threshold.

Each function returns uint8 RGB `[h w 3]`; nothing is shown and no window is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import axes, figure
from matplotlib.backends import backend_agg

_TRUE = "#202020"
_PREDICTED = "#d1495b"
_SECOND = "#30638e"
_DPI = 128
_AXES = ("x", "y", "z")
# Roads climb less, relative to their length.
_MAX_CLIMB = 0.2
# Number of arrows that show where the camera looks.
_NUM_ARROWS = 12


def error_by_range(rows: Sequence[Mapping[str, Any]]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns bars of the relative error of depth above bars of the fraction of pixels.

    Args:
        rows: `range`, `abs_rel` and `num_pixels` of ranges of true depth.
    """
    labels = [str(row["range"]) for row in rows]
    errors = _column(rows, "abs_rel")
    counts = _column(rows, "num_pixels")
    drawing = figure.Figure(figsize=(7, 4.2), dpi=_DPI, layout="constrained")
    top, bottom = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    places = np.arange(len(labels))
    bars = top.bar(places, errors, color=_PREDICTED, width=0.8)
    top.bar_label(bars, [f"{x:.3f}" for x in errors], fontsize=7)
    top.set_ylabel("Abs Rel")
    top.margins(y=0.12)
    bottom.bar(places, 100 * counts / max(counts.sum(), 1), color=_SECOND, width=0.8)
    bottom.set_ylabel("pixels [%]")
    bottom.set_xticks(places, labels, fontsize=8)
    bottom.set_xlabel("true depth")
    return _picture(drawing, top, bottom)


def trajectory(
    true: Float[np.ndarray, "n 3"], predicted: Float[np.ndarray, "m 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns both trajectories seen from above.

    From above is along the y axis of a camera, unless positions vary a lot along it and
    the world has another vertical axis; then, along the axis that varies least.

    Args:
        true: positions, metres, in order.
        predicted: positions, aligned.
    """
    extent = np.ptp(true, axis=0)
    level = extent[1] < _MAX_CLIMB * extent.max()
    across, ahead = (0, 2) if level else sorted(np.argsort(extent, kind="stable")[1:])
    drawing = figure.Figure(figsize=(6.4, 6.4), dpi=_DPI, layout="constrained")
    plot = drawing.subplots()
    plot.plot(true[:, across], true[:, ahead], color=_TRUE, lw=1.6, label="true")
    plot.plot(
        predicted[:, across],
        predicted[:, ahead],
        color=_PREDICTED,
        lw=1.2,
        label="predicted",
    )
    plot.plot(*true[0, [across, ahead]], "o", color=_TRUE, ms=5, label="start")
    plot.set_aspect("equal", adjustable="datalim")
    plot.set_xlabel(f"{_AXES[across]} [m]")
    plot.set_ylabel(f"{_AXES[ahead]} [m]")
    # Above the plot, where no trajectory goes.
    plot.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return _picture(drawing, plot)


def camera_path(
    world_from_camera: Float[np.ndarray, "n 4 4"], *, unit: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a trajectory from above: x to the right, z ahead, of the first camera.

    Args:
        world_from_camera: in order; y of the world points down.
        unit: of the positions, for the axes.
    """
    position = world_from_camera[:, [0, 2], 3]
    drawing = figure.Figure(figsize=(6.4, 6.4), dpi=_DPI, layout="constrained")
    plot = drawing.subplots()
    plot.plot(*position.T, color=_PREDICTED, lw=1.4, label="camera")
    plot.plot(*position[0], "o", color=_PREDICTED, ms=6, label="start")
    chosen = np.linspace(0, len(position) - 1, min(_NUM_ARROWS, len(position)))
    chosen = np.unique(chosen.round().astype(int))
    extent = max(float(np.ptp(position, axis=0).max()), 1e-9)
    starts = position[chosen]
    arrows = 0.08 * extent * world_from_camera[chosen][:, [0, 2], 2]
    style = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.004}
    plot.quiver(*starts.T, *arrows.T, color=_SECOND, **style)
    # Arrows do not extend the axes by themselves.
    plot.plot(*(starts + arrows).T, ls="", label="arrows: optical axis")
    plot.set_aspect("equal", adjustable="datalim")
    plot.set_xlabel(f"x, right [{unit}]")
    plot.set_ylabel(f"z, ahead [{unit}]")
    plot.legend(frameon=False)
    return _picture(drawing, plot)


def error_by_length(rows: Sequence[Mapping[str, Any]]) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the errors of segments of a road over their length.

    Args:
        rows: `length_m`, and the means `t_err_percent` and `r_err_deg_per_100m`.
    """
    lengths = _column(rows, "length_m")
    drawing = figure.Figure(figsize=(8, 3.2), dpi=_DPI, layout="constrained")
    left, right = drawing.subplots(1, 2)
    for plot, values, label, color in (
        (left, _column(rows, "t_err_percent"), "t_err [%]", _PREDICTED),
        (right, _column(rows, "r_err_deg_per_100m"), "r_err [deg / 100 m]", _SECOND),
    ):
        plot.plot(lengths, values, "o-", color=color)
        plot.set_ylim(bottom=0)
        plot.set_xlabel("length of the segment [m]")
        plot.set_ylabel(label)
    return _picture(drawing, left, right)


def scores_by_threshold(
    rows: Sequence[Mapping[str, Any]],
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns IoU and F1 of moving pixels over the threshold of motion.

    Args:
        rows: `threshold`, `iou` and `f1`.
    """
    drawing = figure.Figure(figsize=(5.5, 3.4), dpi=_DPI, layout="constrained")
    plot = drawing.subplots()
    thresholds = _column(rows, "threshold")
    for name, label, color in (("iou", "IoU", _PREDICTED), ("f1", "F1", _SECOND)):
        plot.plot(thresholds, _column(rows, name), "o-", color=color, label=label)
    plot.set_xscale("log")
    plot.set_ylim(0, 1)
    plot.set_xlabel("threshold [camera's mean step]")
    plot.legend(frameon=False)
    return _picture(drawing, plot)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], np.float64)


def _picture(drawing: figure.Figure, *plots: axes.Axes) -> UInt8[np.ndarray, "h w 3"]:
    for plot in plots:
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(alpha=0.25)
        plot.set_axisbelow(True)
    return pixels_of(drawing)


def pixels_of(drawing: figure.Figure) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a figure as an image.

    Without pyplot, which keeps every figure and chooses a window system.
    """
    canvas = backend_agg.FigureCanvasAgg(drawing)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
