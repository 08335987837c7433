"""Files of single frames: depth, object motion, masks and point clouds."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from mdm_jax.files import atomic
from mdm_jax.geometry.view import View
from mdm_jax.prediction import frames as frames_lib
from mdm_jax.prediction.frames import Frame
from mdm_jax.prediction.store import Store
from mdm_jax.recording import arrays as recording_lib
from mdm_jax.sources.source import Source
from mdm_jax.visualize import point_cloud

KINDS = ("depth_png", "depth_npz", "motion_npz", "masks", "video")
MAP_SIZES = ("input", "network")
LARGEST = 2**16 - 1
_SEEN, _HIDDEN = 255, 128


@dataclasses.dataclass(frozen=True)
class Options:
    """What is written, and how.

    Attributes:
        save: some of `KINDS`.
        maps_at: the size of all maps: that of the `input` or of the `network`.
        point_clouds: numbers of the frames that get one.
        frame_stride: how many frames later a frame's partner is.
        frames_per_second: of the recording; None where unknown.
    """

    save: tuple[str, ...] = KINDS
    maps_at: str = "input"
    point_clouds: tuple[int, ...] = ()
    frame_stride: int = 1
    frames_per_second: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """A recording whose frames are all predicted.

    Attributes:
        source: of the frames.
        names: of those predicted, in order.
        store: that has them.
        view: that the network saw.
        intrinsics: `[3 3]` in pixels of the view, for frames without their own; None
            where unknown.
    """

    source: Source
    names: Sequence[str]
    store: Store
    view: View
    intrinsics: np.ndarray | None


class FrameWriter:
    """Writes the files of single frames."""

    def __init__(
        self,
        output: pathlib.Path,
        recording: Recording,
        options: Options,
        scale: float,
        step: float,
        keep: bool,
    ):
        self._output = output
        self._recording = recording
        self._options = options
        self._scale = scale
        self._step = step
        self._keep = keep

    def write(
        self, index: int, name: str, frame: Frame, maps: Mapping[str, np.ndarray]
    ):
        """Writes what is wanted of a frame and not there yet."""
        wanted = {
            "depth_png": self._output / "depth" / f"{name}.png",
            "depth_npz": self._output / "depth" / f"{name}.npz",
            "points": self._output / "points" / f"{name}.ply",
        }
        if "object_motion" in maps:
            wanted["motion_npz"] = self._output / "object_motion" / f"{name}.npz"
            wanted["masks"] = self._output / "masks" / f"{name}.png"
        chosen = set(self._options.save)
        if index in self._options.point_clouds:
            chosen.add("points")
        missing = {
            kind: path
            for kind, path in wanted.items()
            if kind in chosen and not (self._keep and path.exists())
        }
        if not missing:
            return
        depth, matrix, colors = self._depth(frame, maps)
        for kind, path in missing.items():
            if kind == "depth_png":
                # Not 0, which stands for unknown, however near; the last for all beyond.
                steps = np.clip(np.rint(depth / self._step), 1, LARGEST)
                write_png(path, np.where(depth > 0, steps, 0).astype(np.uint16))
            elif kind == "depth_npz":
                known = {} if matrix is None else {"intrinsics": matrix}
                atomic.write_arrays(path, {"depth": depth, **known})
            elif kind == "motion_npz":
                motion = np.float32(self._scale) * self._nearest(
                    frame, maps["object_motion"]
                )
                atomic.write_arrays(path, {"object_motion": motion})
            elif kind == "masks":
                mask = np.where(maps["occluded"], _HIDDEN, _SEEN) * maps["valid"]
                write_png(path, self._nearest(frame, mask.astype(np.uint8)))
            elif matrix is not None:
                points = recording_lib.unproject(depth, matrix)
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
        """Returns depth and colours at the size of the results, and intrinsics."""
        view, matrix = self._recording.view, self._recording.intrinsics
        matrix = maps.get("intrinsics", matrix)
        if matrix is not None:
            matrix = np.asarray(matrix, np.float64)
        depth = np.float32(self._scale) * maps["depth"]
        if self._options.maps_at == "network":
            return depth, matrix, frame.seen
        if matrix is not None:
            matrix = frames_lib.original_intrinsics(view, matrix)
        size = frame.original.shape[:2]
        depth = frames_lib.original_depth(view, depth, size)
        return depth, matrix, frame.original

    def _nearest(self, frame: Frame, values: np.ndarray) -> np.ndarray:
        if self._options.maps_at == "network":
            return values
        size = frame.original.shape[:2]
        return frames_lib.original_nearest(self._recording.view, values, size)


def write_png(path: pathlib.Path, image: np.ndarray):
    """Writes an image as a whole: grey, or colours in the order of OpenCV."""
    encoded: Any = cv2.imencode(".png", image)[1]
    atomic.write_bytes(path, encoded.tobytes())
