"""Files of single frames: depth, object motion, masks and point clouds."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np
from absl import logging

from mdm_jax.files import atomic, image_file
from mdm_jax.geometry import points as points_lib
from mdm_jax.prediction.inputs import Frame
from mdm_jax.prediction.predicted import Predicted
from mdm_jax.prediction.request import Request
from mdm_jax.visualize import point_cloud

LARGEST = 2**16 - 1
_VISIBLE, _OCCLUDED = 255, 128
# Metres per step of metric depth, as in KITTI, if 16 bits reach far enough.
_METRIC_STEP = 1 / 256
# 16 bits reach this multiple of the median depth, as KITTI's 256 m do for a median of
# 8 m. Networks put the sky anywhere, which would leave few steps for all else.
_MEDIANS = 32.0


def png_step(max_depth: float, median_depth: float, *, metric: bool) -> float:
    """Returns the depth of one step of the 16-bit depth maps.

    Depths up to 32 times the median fit; the few pixels beyond, of sky, get the largest
    number.

    Args:
        max_depth: of the recording, in the unit of the maps.
        median_depth: likewise.
        metric: whether that unit is the metre.
    """
    limit = min(max_depth, _MEDIANS * median_depth)
    if metric and limit <= LARGEST * _METRIC_STEP:
        return _METRIC_STEP
    return limit / LARGEST


class FrameWriter:
    """Writes the files of single frames."""

    def __init__(
        self,
        output: pathlib.Path,
        recording: Predicted,
        request: Request,
        step: float,
        *,
        keep: bool,
    ):
        """Checks the numbers of the frames that get a point cloud.

        Args:
            output: folder of all results.
            recording: of the frames.
            request: what to write.
            step: of `png_step`.
            keep: whether files that exist already are valid.
        """
        self._output = output
        self._recording = recording
        self._save = frozenset(request.save)
        self._at_network = request.maps_at == "network"
        self._step = step
        self._keep = keep
        num_frames = len(recording.names)
        self._clouds = request.cloud_frames(num_frames)
        if beyond := [i for i in self._clouds if not 0 <= i < num_frames]:
            logging.warning(
                "No point clouds of frames %s: there are frames 0 to %d",
                ", ".join(map(str, beyond)),
                num_frames - 1,
            )
        if self._clouds and recording.intrinsics is None:
            logging.warning("No point clouds: they need intrinsics (--intrinsics)")

    def write(
        self, index: int, name: str, frame: Frame, maps: Mapping[str, np.ndarray]
    ):
        """Writes the requested files of a frame that do not exist yet."""
        paths = {
            "depth_png": self._output / "depth" / f"{name}.png",
            "depth_npz": self._output / "depth" / f"{name}.npz",
            "points": self._output / "points" / f"{name}.ply",
        }
        if "object_motion" in maps:
            paths["motion_npz"] = self._output / "object_motion" / f"{name}.npz"
            paths["masks"] = self._output / "masks" / f"{name}.png"
        wanted = self._save | ({"points"} if index in self._clouds else set())
        missing = {
            kind: path
            for kind, path in paths.items()
            if kind in wanted and not (self._keep and path.exists())
        }
        if not missing:
            return
        depth, intrinsics, colors = self._depth(frame, maps)
        for kind, path in missing.items():
            if kind == "depth_png":
                # 0 means unknown, so the nearest depth is 1.
                steps = np.clip(np.rint(depth / self._step), 1, LARGEST)
                steps = np.where(depth > 0, steps, 0).astype(np.uint16)
                image_file.write_png(path, steps)
            elif kind == "depth_npz":
                known = {} if intrinsics is None else {"intrinsics": intrinsics}
                atomic.write_arrays(path, {"depth": depth, **known})
            elif kind == "motion_npz":
                motion = np.float32(self._recording.scale) * maps["object_motion"]
                motion = self._nearest(frame, motion)
                atomic.write_arrays(path, {"object_motion": motion})
            elif kind == "masks":
                mask = np.where(maps["occluded"], _OCCLUDED, _VISIBLE) * maps["valid"]
                image_file.write_png(path, self._nearest(frame, mask.astype(np.uint8)))
            elif intrinsics is not None:
                points = points_lib.unproject(depth, intrinsics)
                with atomic.replacing(path) as temporary:
                    point_cloud.write_ply(
                        temporary,
                        points,
                        colors,
                        depth > 0,
                        comment="x right, y down, z forward; see prediction.json",
                    )

    def _depth(
        self, frame: Frame, maps: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Returns depth, intrinsics and colours in the size of the results."""
        view = self._recording.view
        intrinsics = maps.get("intrinsics", self._recording.intrinsics)
        if intrinsics is not None:
            intrinsics = np.asarray(intrinsics, np.float64)
        depth = np.float32(self._recording.scale) * maps["depth"]
        if self._at_network:
            return depth, intrinsics, frame.seen
        if intrinsics is not None:
            intrinsics = view.original_intrinsics(intrinsics)
        depth = view.original_depth(depth)
        return depth, intrinsics, frame.original

    def _nearest(self, frame: Frame, values: np.ndarray) -> np.ndarray:
        if self._at_network:
            return values
        return self._recording.view.original_nearest(values)
