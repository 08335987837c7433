"""The trajectory of the camera as text files, and as a plot from above."""

from __future__ import annotations

import pathlib

from mdm_jax.evaluation import trajectory_files
from mdm_jax.files import atomic, image_file
from mdm_jax.prediction import trajectory
from mdm_jax.prediction.predicted import Predicted, Statistics
from mdm_jax.visualize import plots


def write(output: pathlib.Path, recording: Predicted, statistics: Statistics) -> int:
    """Writes the trajectory and returns the number of poses, 0 for a single frame.

    With a stride s, only every s-th frame has a pose.
    """
    if len(statistics.rotation) == 0:
        return 0
    stride = recording.frame_stride
    poses = trajectory.chain(
        statistics.rotation[::stride],
        recording.scale * statistics.translation[::stride],
    )
    numbers = list(range(0, len(recording.names), stride))[: len(poses)]
    rate = recording.frames_per_second or 1.0
    with atomic.replacing(output / "trajectory_kitti.txt") as path:
        # Frame numbers come first in a line if some frames have no pose.
        trajectory_files.write_kitti(
            path, poses, frames=numbers if stride > 1 else None
        )
    with atomic.replacing(output / "trajectory_tum.txt") as path:
        times = [number / rate for number in numbers]
        trajectory_files.write_tum(path, poses, times=times)
    plot = plots.camera_path(poses, unit=recording.unit)
    image_file.write_png(output / "trajectory.png", plot)
    return len(poses)
