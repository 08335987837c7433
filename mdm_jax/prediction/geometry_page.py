"""The files of a video's two-view geometry: page, pictures, maps, trajectory, points."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import figure
from matplotlib.backends import backend_agg

from mdm_jax.evaluation import trajectory_files
from mdm_jax.evaluation.report import page
from mdm_jax.files import atomic
from mdm_jax.prediction.video_geometry import VideoGeometry
from mdm_jax.two_view import moving
from mdm_jax.visualize import panel, plots, point_cloud

Array = np.ndarray

_ROWS = 6
# RGB, blended over the image.
_COLORS = {moving.MOVES: (230, 40, 40), moving.STATIC: (40, 160, 80)}
_MASKED = (60, 60, 220)
# Points of the cloud: every so many frames and pixels, and up to so many baselines away.
_CLOUD_FRAMES, _CLOUD_PIXELS, _CLOUD_DEPTH = 12, 3, 60.0
_UNIT = "first baselines"
_NOTES = [
    (
        "Depth is grey where it is unknown: too little parallax, as far away and on"
        " vehicles that drive along; no texture; flow that cannot be trusted; pixels"
        " that leave the image."
    ),
    (
        "Motion: red pixels belong to moving objects, green ones are static, blue ones"
        " are fixed to the camera and left out; the rest is unknown. Vehicles that move"
        " along with the camera stay"
        " unknown; those that it overtakes on a straight road look static and too near."
    ),
    "Scale is carried from pair to pair and drifts; it is relative throughout.",
]


def write(folder: pathlib.Path, name: str, found: VideoGeometry, fps: float) -> None:
    """Writes everything that was found in a video.

    `two_view.html` and `two_view.png` to look at; `two_view.json`, the table and a
    record for each pair; `geometry.npz` with inverse depth, motion and intrinsics;
    `trajectory.txt` (TUM); `points.ply`.

    Args:
        folder: created if missing.
        name: of the video.
        found: its geometry.
        fps: frames per second of the video.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = found.summary()
    atomic.write_json(
        folder / "two_view.json", {"summary": summary, "pairs": list(found.pairs)}
    )
    atomic.write_arrays(
        folder / "geometry.npz",
        {
            "inverse_depth": found.inverse_depth,
            "motion": found.motion,
            "usable": found.usable,
            "intrinsics": found.intrinsics,
            "world_from_camera": found.world_from_camera,
            "stride": np.int64(found.stride),
        },
    )
    times = np.arange(len(found.frames)) * found.stride / fps
    trajectory_files.write_tum(
        folder / "trajectory.txt", found.world_from_camera, times=times
    )
    _write_points(folder / "points.ply", found)
    picture = panel.save_panel(
        folder / "two_view.png",
        [_row(found, index) for index in _examples(found)],
        labels=[f"frame {index * found.stride}" for index in _examples(found)],
        title=name,
    )
    pictures = {
        "Trajectory from above": plots.camera_path(found.world_from_camera, unit=_UNIT)
    }
    if found.focal is not None:
        pictures["Focal curve"] = _focal_plot(found)
    sections = [
        page.Section("What was found", text=_NOTES, table=_table(summary)),
        page.Section("Depth and motion", pictures={"Frames of the video": picture}),
        page.Section("Camera", text=[_focal_text(found)], pictures=pictures),
    ]
    note = "Estimated from optical flow alone, without training"
    text = page.page_text(f"Two-view geometry: {name}", note, sections)
    atomic.write_text(folder / "two_view.html", text)


def _examples(found: VideoGeometry) -> Sequence[int]:
    """Returns frames from all over the video, those with depth where there are any."""
    known = [i for i, inverse in enumerate(found.inverse_depth) if inverse.any()]
    candidates = known or list(range(len(found.frames)))
    chosen = np.linspace(0, len(candidates) - 1, min(_ROWS, len(candidates)))
    return [candidates[i] for i in chosen.round().astype(int)]


def _row(found: VideoGeometry, index: int) -> dict[str, tuple[Any, str]]:
    image = found.frames[index]
    return {
        "image": (image, "image"),
        "depth": (found.depth(index), "depth"),
        "motion": (overlay(image, found.motion[index], found.usable), "image"),
    }


def overlay(
    image: UInt8[Array, "h w 3"], motion: UInt8[Array, "h w"], usable: Array
) -> UInt8[Array, "h w 3"]:
    """Returns the image, tinted by what moves, what is static and what is left out."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    picture = np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)
    layers = [(motion == value, color) for value, color in _COLORS.items()]
    for mask, color in (*layers, (~usable, _MASKED)):
        picture[mask] = 0.55 * picture[mask] + 0.45 * np.array(color, np.float32)
    return picture.astype(np.uint8)


def _write_points(path: pathlib.Path, found: VideoGeometry) -> None:
    """Writes the static points of some frames, in the frame of the first camera."""
    points, colors = [], []
    count = len(found.frames)
    for index in range(0, count, max(1, count // _CLOUD_FRAMES)):
        depth = found.depth(index)
        known = (depth > 0) & (depth < _CLOUD_DEPTH)
        known &= found.motion[index] == moving.STATIC
        chosen = np.zeros_like(known)
        chosen[::_CLOUD_PIXELS, ::_CLOUD_PIXELS] = True
        rows, columns = np.nonzero(known & chosen)
        pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1)
        rays = pixels @ np.linalg.inv(found.intrinsics).T
        camera = found.world_from_camera[index]
        local = rays * depth[rows, columns, None]
        points.append(local @ camera[:3, :3].T + camera[:3, 3])
        colors.append(found.frames[index][rows, columns])
    cloud = np.concatenate(points).astype(np.float32)[None]
    point_cloud.write_ply(
        path,
        cloud,
        np.concatenate(colors)[None],
        np.ones(cloud.shape[:2], bool),
        comment=f"unit: {_UNIT}",
    )


def _table(summary: dict[str, Any]) -> list[list[Any]]:
    """Returns the rows of the page's table."""

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return ", ".join(str(item) for item in value) or "none"
        if isinstance(value, dict):
            return ", ".join(f"{key} {item}" for key, item in value.items())
        return "unknown" if value is None else value

    rows = [
        [name.replace("_", " "), text(value)]
        for name, value in summary.items()
        if name != "focal_curve"
    ]
    return [["", ""], *rows]


def _focal_text(found: VideoGeometry) -> str:
    focal, width = found.focal, found.frames.shape[2]
    if focal is None:
        return "Without moving pairs there is no focal curve."
    span = " to ".join(f"{value:.0f}" for value in focal.interval)
    state = "can be observed" if focal.observable else "cannot be observed here"
    return (
        f"The focal length {state}: the residual is least at {focal.best:.0f} pixels"
        f" ({focal.best / width:.2f} image widths), 80 % interval {span}. Used:"
        f" {found.intrinsics[0, 0]:.0f} pixels ({found.intrinsics_from})."
    )


def _focal_plot(found: VideoGeometry) -> Float[Array, "h w 3"]:
    assert found.focal is not None
    drawing = figure.Figure(figsize=(6.4, 3.2), dpi=128, layout="constrained")
    plot = drawing.subplots()
    plot.semilogx(found.focal.focal_lengths, found.focal.residuals, "o-", ms=3)
    plot.axvspan(*found.focal.interval, alpha=0.15)
    plot.axvline(found.intrinsics[0, 0], color="#606060", lw=0.8, ls="--")
    plot.set_xlabel("focal length [px]; dashed: used; shaded: 80 % interval")
    plot.set_ylabel("mean residual [px]")
    plot.spines[["top", "right"]].set_visible(False)
    canvas = backend_agg.FigureCanvasAgg(drawing)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
