"""Derives from the predicted frames all files that people and other programs read.

| file                         | content                                               |
|------------------------------|-------------------------------------------------------|
| `prediction.json`            | units, scale, resizing, frames: what all else means   |
| `depth/NAME.png`             | 16 bit, 0 unknown, times `depth.png_step`             |
| `depth/NAME.npz`             | `depth [h w]` float32, `intrinsics [3 3]`             |
| `object_motion/NAME.npz`     | `object_motion [h w 3]` float32                       |
| `masks/NAME.png`             | 255 seen in the other frame, 128 hidden, 0 outside    |
| `points/NAME.ply`            | coloured points of chosen frames                      |
| `video.mp4` (`picture.png`)  | input, depth and object motion side by side           |
| `trajectory_{kitti,tum}.txt` | `world_from_camera`; `trajectory.png` from above      |
| `objects.csv`, `.json`       | translation and speed of each object of each frame    |

Depth, motion and positions have one unit: metres where the scale is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping

import cv2
import numpy as np
import tqdm
from absl import logging

from mdm_jax.evaluation import trajectory_files
from mdm_jax.files import atomic
from mdm_jax.geometry.view import View
from mdm_jax.prediction import frame_files, frames, objects, store, trajectory
from mdm_jax.prediction.frame_files import FrameWriter, Options, Recording
from mdm_jax.prediction.frames import Frame
from mdm_jax.visualize import colormaps, top_view, video

# Metric depth is kept in steps of this many metres, as KITTI's, as long as it fits.
_METRIC_STEP = 1 / 256
# The 16 bits end at this many times the median depth, as KITTI's end at 256 m for one of
# 8 m. A network may put the sky anywhere, which would leave few steps for the rest.
_MEDIANS = 32.0
_GREY = colormaps.UNKNOWN


@dataclasses.dataclass(frozen=True, eq=False)
class Overview:
    """The few numbers of each frame that concern the others.

    Attributes:
        max_depth: of the whole recording, in the network's unit.
        median_depth: the median of the frames' medians.
        inverse_depth_limit: end of the colour scale of 1 / depth.
        motion_limit: end of that of motion; one frame in twenty may exceed it. Frames
            without any motion do not count.
        rotation: `[n 3 3]` of the pairs there are, `source_from_target`.
        translation: `[n 3]`.
        intrinsics: `[n 3 3]` in pixels of the view.
    """

    max_depth: float
    median_depth: float
    inverse_depth_limit: float
    motion_limit: float
    rotation: np.ndarray
    translation: np.ndarray
    intrinsics: np.ndarray


def overview(recording: Recording) -> Overview:
    """Returns what all frames together say; reads no map."""
    keys = ("max_depth", "median_depth", "inverse_depth_limit", "motion_limit")
    keys += ("rotation", "translation", "intrinsics")
    columns: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for name in recording.names:
        for key, value in recording.store.read(name, *keys).items():
            columns[key].append(value)
    shapes = {"rotation": (0, 3, 3), "translation": (0, 3), "intrinsics": (0, 3, 3)}
    arrays = {
        key: np.asarray(columns[key], np.float64).reshape(-1, *shape[1:])
        for key, shape in shapes.items()
    }
    # In most frames of a street nothing but noise moves: their median would show it as
    # if it were traffic.
    motion_limits = [limit for limit in columns["motion_limit"] if limit > 0]
    return Overview(
        max_depth=float(np.max(columns["max_depth"])),
        median_depth=float(np.median(columns["median_depth"])),
        inverse_depth_limit=float(np.median(columns["inverse_depth_limit"])),
        motion_limit=float(np.percentile(motion_limits or [1.0], 95)),
        **arrays,
    )


def png_step(max_depth: float, median_depth: float, *, metric: bool) -> float:
    """Returns what a step of the 16-bit depth maps is worth.

    All depths fit, up to 32 times the median: the few pixels beyond, of sky, get the
    largest number, and do not make the steps of all others coarse.

    Args:
        max_depth: of the recording, in the unit of the maps.
        median_depth: likewise.
        metric: whether that is metres.
    """
    limit = min(max_depth, _MEDIANS * median_depth)
    if metric and limit <= frame_files.LARGEST * _METRIC_STEP:
        return _METRIC_STEP
    return limit / frame_files.LARGEST


def write_maps(
    output: pathlib.Path,
    recording: Recording,
    everything: Overview,
    options: Options,
    *,
    scale: float,
    step: float,
    progress: bool = True,
) -> int:
    """Writes what belongs to single frames, and the video; returns the rows of objects.

    Files of frames that are there already, written with the same settings, stay.

    Args:
        output: folder of all results.
        recording: predicted.
        everything: of `overview`.
        options: what to write.
        scale: from the network's unit to the results'.
        step: of `png_step`.
        progress: show a bar on a terminal.
    """
    settings = json.dumps([dataclasses.asdict(options), scale, step])
    memo = recording.store.folder / "rendering.json"
    keep = memo.is_file() and memo.read_text(encoding="utf-8") == settings
    _check_room(output, recording, options, keep=keep)
    if memo.is_file() and not keep:
        # Before the memo: stopped in between, nothing old may pass for new.
        store.remove_derived(output)
    with atomic.replacing(memo) as path:
        path.write_text(settings, encoding="utf-8")
    writer = FrameWriter(output, recording, options, scale, step, keep)
    rate, names = options.frames_per_second, recording.names
    seconds = options.frame_stride / rate if rate else 1.0
    num_objects = 0
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(
            objects.Table(
                stack.enter_context(atomic.replacing(output / "objects.csv")),
                stack.enter_context(atomic.replacing(output / "objects.json")),
            )
        )
        film = None
        if "video" in options.save and len(names) > 1:
            path = stack.enter_context(atomic.replacing(output / "video.mp4"))
            film = video.VideoWriter(path, frames_per_second=rate or 10.0)
            stack.enter_context(contextlib.closing(film))
        decoded = frames.decode(recording.source, recording.view)
        bar = tqdm.tqdm(
            names, desc="writing", unit=" frames", disable=None if progress else True
        )
        for index, (name, frame) in enumerate(zip(bar, decoded, strict=False)):
            maps = recording.store.read(name)
            writer.write(index, name, frame, maps)
            if "video" in options.save:
                picture = _picture(recording.view, frame, maps, everything)
                if film is None:
                    frame_files.write_png(output / "picture.png", picture[..., ::-1])
                else:
                    film.write(picture)
            num_objects += objects.count(maps)
            for row in objects.rows(maps, scale=scale, seconds=seconds):
                time = index / rate if rate else None
                table.add({"frame": index, "name": name, "time_s": time, **row})
    if table.count < num_objects:
        logging.warning(
            "objects.csv has %d of the %d objects that frames show: the others are not"
            " in the next frame by the same id, or too small",
            table.count,
            num_objects,
        )
    if not table.count:
        for suffix in ("csv", "json"):
            (output / f"objects.{suffix}").unlink()
    return table.count


def write_trajectory(
    output: pathlib.Path,
    recording: Recording,
    everything: Overview,
    options: Options,
    *,
    scale: float,
    unit: str,
) -> int:
    """Writes the camera's way as text and as a plot; returns the number of poses."""
    stride, names = options.frame_stride, recording.names
    if len(everything.rotation) == 0:
        return 0
    chosen = slice(0, None, stride)
    poses = trajectory.chain(
        everything.rotation[chosen], scale * everything.translation[chosen]
    )
    numbers = list(trajectory.chained_frames(len(names), stride))[: len(poses)]
    rate = options.frames_per_second or 1.0
    with atomic.replacing(output / "trajectory_kitti.txt") as path:
        # With a stride, not all frames have a pose: their numbers stand in front.
        trajectory_files.write_kitti(
            path, poses, frames=numbers if stride > 1 else None
        )
    with atomic.replacing(output / "trajectory_tum.txt") as path:
        times = [number / rate for number in numbers]
        trajectory_files.write_tum(path, poses, times=times)
    plot = top_view.draw(poses, unit=unit)
    frame_files.write_png(output / "trajectory.png", plot[..., ::-1])
    return len(poses)


def _check_room(
    output: pathlib.Path, recording: Recording, options: Options, *, keep: bool
):
    """Raises an error before the disk is full: maps of hours take hundreds of GB."""
    at_input = options.maps_at == "input"
    height, width = recording.source.size if at_input else recording.view.size
    per_pixel = 4 * ("depth_npz" in options.save) + 12 * ("motion_npz" in options.save)
    needed = per_pixel * height * width * len(recording.names)
    free = shutil.disk_usage(output).free
    if needed > free and not keep:
        raise OSError(
            f"--output={output}: depth and motion of {len(recording.names)} frames take"
            f" {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; choose another"
            " folder, --maps_at=network, or --save without depth_npz and motion_npz"
        )


def _picture(
    view: View, frame: Frame, maps: Mapping[str, np.ndarray], everything: Overview
) -> np.ndarray:
    """Returns the frame, its depth and its object motion side by side."""
    size = frame.original.shape[:2]
    depth = colormaps.inverse_depth(maps["depth"], limit=everything.inverse_depth_limit)
    motion = np.full((*view.size, 3), _GREY, np.uint8)
    if "object_motion" in maps:
        limit = everything.motion_limit
        motion = colormaps.motion(maps["object_motion"], limit=limit)
    return video.side_by_side(
        {
            "input": frame.original,
            "depth (near: bright)": _on_original(view, depth, size),
            "object motion (x, y, z: R, G, B)": _on_original(view, motion, size),
        }
    )


def _on_original(view: View, colors: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    whole = np.full((*size, 3), _GREY, np.uint8)
    whole[view.y0 : view.y0 + view.box[0], view.x0 : view.x0 + view.box[1]] = (
        cv2.resize(colors, view.box[::-1], interpolation=cv2.INTER_LINEAR)
    )
    return whole
