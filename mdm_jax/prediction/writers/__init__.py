"""Derives from the predicted frames all files that people and other programs read.

| file                         | content                                               |
|------------------------------|-------------------------------------------------------|
| `prediction.json`            | units, scale, resizing: the meaning of all other files |
| `depth/NAME.png`             | 16 bit, 0 unknown, times `depth.png_step`             |
| `depth/NAME.npz`             | `depth [h w]` float32, `intrinsics [3 3]`             |
| `object_motion/NAME.npz`     | `object_motion [h w 3]` float32                       |
| `masks/NAME.png`             | 255 visible in the other frame, 128 occluded, 0 outside |
| `points/NAME.ply`            | coloured points of chosen frames                      |
| `video.webm` (`picture.png`) | input, depth and object motion side by side           |
| `trajectory_{kitti,tum}.txt` | `world_from_camera`; `trajectory.png` from above      |
| `objects.csv`, `.json`       | translation and speed of each object of each frame    |

Depth, motion and positions share one unit: metres where the scale is known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil

import tqdm

from mdm_jax.files import atomic, image_file
from mdm_jax.prediction import frame_store, inputs
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.prediction.request import Request
from mdm_jax.prediction.writers import camera_path, frame_maps, object_table
from mdm_jax.prediction.writers import film as film_lib
from mdm_jax.visualize import video

# Frames per second of films of recordings without a frame rate.
_DEFAULT_RATE = 10.0


@dataclasses.dataclass(frozen=True)
class Written:
    """What the files contain.

    Attributes:
        png_step: depth of one step of the 16-bit PNG files.
        num_poses: of the trajectory.
        num_rows: of the table of objects.
    """

    png_step: float
    num_poses: int
    num_rows: int


def write_all(
    output: pathlib.Path,
    recording: Predicted,
    statistics: Statistics,
    request: Request,
) -> Written:
    """Writes all files but `prediction.json`.

    Files of single frames that exist already and have the same settings are kept.

    Args:
        output: folder of the results.
        recording: predicted, with its scale.
        statistics: over its frames.
        request: what to write.

    Raises:
        OSError: the disk is too small.
    """
    png_step = frame_maps.png_step(
        recording.scale * statistics.max_depth,
        recording.scale * statistics.median_depth,
        metric=recording.unit == "m",
    )
    settings = json.dumps(
        [
            request.save,
            request.maps_at,
            request.cloud_frames(len(recording.names)),
            recording.frame_stride,
            recording.frames_per_second,
            recording.scale,
            png_step,
        ]
    )
    # Written before the files that depend on it: after an interruption, files with old
    # settings are never taken for new ones.
    memo = recording.store.folder / "rendering.json"
    keep = memo.is_file() and memo.read_text(encoding="utf-8") == settings
    _check_room(output, recording, request, keep=keep)
    if memo.is_file() and not keep:
        frame_store.remove_derived(output)
    atomic.write_text(memo, settings)
    writer = frame_maps.FrameWriter(output, recording, request, png_step, keep=keep)
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(object_table.Table(output, recording))
        film = None
        if "video" in request.save and len(recording.names) > 1:
            rate = recording.frames_per_second or _DEFAULT_RATE
            film = video.VideoWriter(output / "video.webm", frames_per_second=rate)
            stack.enter_context(film)
        bar = tqdm.tqdm(recording.names, desc="writing", unit=" frames", disable=None)
        frames = inputs.decode(recording.source, recording.view)
        for index, (name, frame) in enumerate(zip(bar, frames, strict=False)):
            maps = recording.store.read(name)
            writer.write(index, name, frame, maps)
            table.add(index, name, maps)
            if "video" in request.save:
                picture = film_lib.picture(recording, statistics, frame, maps)
                if film is not None:
                    film.write(picture)
                else:
                    image_file.write_png(output / "picture.png", picture)
    num_poses = camera_path.write(output, recording, statistics)
    return Written(png_step, num_poses, table.num_rows)


def _check_room(
    output: pathlib.Path, recording: Predicted, request: Request, *, keep: bool
):
    """Raises an error before the disk is full: maps of hours take hundreds of GB."""
    at_input = request.maps_at == "input"
    height, width = recording.source.size if at_input else recording.view.size
    per_pixel = 4 * ("depth_npz" in request.save) + 12 * ("motion_npz" in request.save)
    needed = per_pixel * height * width * len(recording.names)
    free = shutil.disk_usage(output).free
    if needed > free and not keep:
        raise OSError(
            f"--output={output}: depth and motion of {len(recording.names)} frames take"
            f" {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; choose another"
            " folder, --maps_at=network, or --save without depth_npz and motion_npz"
        )
