"""The contents of `prediction.json`, which explain all other files."""

from __future__ import annotations

import dataclasses
from typing import Any

from mdm_jax.methods import inference
from mdm_jax.prediction.metric_scale import MetricScale
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.prediction.request import Request
from mdm_jax.prediction.writers import Written, frame_maps


def scale(estimated: MetricScale | None) -> str | dict[str, Any]:
    """Returns metres per unit with its spread, or that it is unknown."""
    if estimated is None:
        return (
            "relative: one unknown factor for the whole recording, which"
            " --camera_height, --speed or --depths determine"
        )
    return dataclasses.asdict(estimated) | {"description": estimated.description()}


def describe(
    recording: Predicted, statistics: Statistics, request: Request, written: Written
) -> dict[str, Any]:
    """Returns the frames of a recording and what each of its files means."""
    unit, rate = recording.unit, recording.frames_per_second
    return {
        "frames": len(recording.names),
        "first_frame": recording.names[0],
        "last_frame": recording.names[-1],
        "frames_per_second": rate,
        "unit": unit,
        "depth": {
            "meaning": "along the optical axis",
            "png_step": written.png_step,
            "png_unknown": 0,
            "png_reads": f"depth in {unit} = value * png_step; {frame_maps.LARGEST}"
            " stands for that depth and all beyond",
            "largest": statistics.max_depth * recording.scale,
        },
        "object_motion": {
            "meaning": "translation of each point relative to the static scene, until"
            f" {recording.frame_stride} frame(s) later",
            "axes": "of the later camera: x right, y down, z forward",
            "unit": unit,
        },
        "masks": {
            "255": "the point is visible in the later frame",
            "128": "occluded there by something nearer by more than"
            f" {inference.OCCLUSION_TOLERANCE:.0%}",
            "0": "outside of the later frame, or not shown to the network",
        },
        "maps": _maps(recording, request),
        "trajectory": {
            "poses": written.num_poses,
            "meaning": "world_from_camera; the world is the first camera: x right,"
            " y down, z forward",
            "unit": unit,
            "time": "seconds" if rate else "frame number, as the frame rate is unknown",
        },
        "objects": {
            "rows": written.num_rows,
            "speed_unit": f"{unit} / s" if rate else f"{unit} / pair of frames",
        }
        if written.num_rows
        else None,
    }


def _maps(recording: Predicted, request: Request) -> dict[str, Any]:
    """Returns the size of all maps, and how they were resized."""
    view = recording.view
    at_input = request.maps_at == "input"
    height, width = recording.source.size if at_input else view.size
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
            "fit": request.fit,
        },
        "resized": "depth linearly in 1 / depth; motion and masks to the nearest pixel;"
        " all maps are 0 outside of the window",
    }
