"""What `prediction.json` says about the other files, so that they can be read alone."""

from __future__ import annotations

import dataclasses
from typing import Any

from mdm_jax.geometry.view import View
from mdm_jax.methods import inference
from mdm_jax.prediction import frame_files
from mdm_jax.prediction.metric_scale import MetricScale
from mdm_jax.sources.source import Source


def scale(known: MetricScale | None) -> str | dict[str, Any]:
    """Returns metres per unit with its spread, or that it is unknown."""
    if known is None:
        return (
            "relative: one unknown factor for the whole recording; --camera_height,"
            " --speed or --depths would tell it"
        )
    return dataclasses.asdict(known) | {"description": known.description()}


def depth(step: float, largest: float, unit: str) -> dict[str, Any]:
    """Returns how depth is to be read."""
    return {
        "meaning": "along the optical axis",
        "png_step": step,
        "png_unknown": 0,
        "png_reads": f"depth in {unit} = value * png_step;"
        f" {frame_files.LARGEST} stands for that depth and all beyond",
        "largest": largest,
    }


def motion(stride: int, unit: str) -> dict[str, Any]:
    """Returns what object motion is."""
    return {
        "meaning": "translation of each point by itself, besides the camera's, until"
        f" {stride} frame(s) later",
        "axes": "of the camera then: x right, y down, z forward",
        "unit": unit,
    }


MASKS = {
    "255": "the point is seen in the later frame too",
    "128": "hidden there behind something nearer by more than"
    f" {inference.OCCLUSION_TOLERANCE:.0%}",
    "0": "outside of that frame, or of what the network saw",
}


def maps(maps_at: str, fit: str, source: Source, view: View) -> dict[str, Any]:
    """Returns the size of all maps, and how they got it."""
    height, width = source.size if maps_at == "input" else view.size
    return {
        "height": height,
        "width": width,
        "network_height": view.size[0],
        "network_width": view.size[1],
        "window": {
            "x0": view.x0,
            "y0": view.y0,
            "height": view.box[0],
            "width": view.box[1],
            "fit": fit,
        },
        "resized": "depth linearly in 1 / depth; motion and masks to the nearest pixel;"
        " outside of the window all is 0",
    }


def trajectory(num_poses: int, rate: float | None, unit: str) -> dict[str, Any]:
    """Returns what the trajectory files hold."""
    return {
        "poses": num_poses,
        "meaning": "world_from_camera, the first camera being the world: x right, y"
        " down, z forward",
        "unit": unit,
        "time": "seconds" if rate else "the frame's number, as no rate is known",
    }
