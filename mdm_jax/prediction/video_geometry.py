"""Depth, trajectory and movers of a video from two-view geometry, without training.

Everything is in one unit of length: the baseline of the first pair of frames. The unit
is carried along by the overlap of triangulated depth, so it drifts.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import tqdm
from absl import logging
from jaxtyping import Bool, Float, UInt8

from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.geometry import view as view_lib
from mdm_jax.sources.source import Source
from mdm_jax.two_view import (
    drive_geometry,
    flow_error,
    focal_curve,
    front_end,
    moving,
    scale_chain,
)
from mdm_jax.two_view.front_end import PairGeometry

Array = np.ndarray

# Pairs that are surveyed for regions fixed to the camera and for the focal length.
_SURVEYED = 30
# Median flow, in pixels, that the stride between frames is chosen for.
_WANTED_FLOW, _MAX_STRIDE = 3.0, 10
# Pairs that the stride is chosen by; shorter flow than this is of a standing camera.
_STRIDE_PAIRS, _STANDING = 12, 0.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What to compute.

    Attributes:
        width: largest width of the frames, pixels.
        max_frames: frames to use; 0 for all.
        stride: frames between neighbours; 0 chooses it by the median flow.
        flow: source of optical flow.
        options: of the front end.
    """

    width: int = 640
    max_frames: int = 300
    stride: int = 0
    flow: FlowSource = flow_sources.dense_inverse_search
    options: front_end.Options = front_end.DEFAULT


@dataclasses.dataclass(frozen=True, eq=False)
class VideoGeometry:
    """What was found in a video.

    Attributes:
        frames: uint8 `[n h w 3]`, those used, `stride` apart.
        stride: frames of the video between them.
        intrinsics: `[3 3]`, pixels of these frames.
        intrinsics_from: `given`, `focal curve` or `guess`.
        focal: the focal curve; None without moving pairs.
        usable: pixels that see the world.
        inverse_depth: float16 `[n h w]`, 1 / depth, 0 where unknown.
        motion: uint8 `[n h w]`, see `two_view.moving`.
        world_from_camera: `[n 4 4]`, from the first frame.
        steps: between neighbours.
        pairs: a record of numbers for each pair of neighbours.
    """

    frames: UInt8[Array, "n h w 3"]
    stride: int
    intrinsics: Float[Array, "3 3"]
    intrinsics_from: str
    focal: focal_curve.FocalCurve | None
    usable: Bool[Array, "h w"]
    inverse_depth: Float[Array, "n h w"]
    motion: UInt8[Array, "n h w"]
    world_from_camera: Float[Array, "n 4 4"]
    steps: Sequence[scale_chain.Step]
    pairs: Sequence[dict[str, Any]]

    def depth(self, index: int) -> Float[Array, "h w"]:
        """Returns the depth of a frame, 0 where unknown."""
        inverse = self.inverse_depth[index].astype(np.float32)
        known = inverse > 0
        return np.where(known, 1 / np.where(known, inverse, 1), 0)

    def summary(self) -> dict[str, Any]:
        """Returns the table of numbers that describes the video, as JSON values."""
        moving_pairs = [p for p in self.pairs if p["state"] == front_end.MOVING]

        def median(name: str) -> float | None:
            values = [pair[name] for pair in moving_pairs]
            return round(float(np.median(values)), 4) if values else None

        states = [pair["state"] for pair in self.pairs]
        focal = self.focal
        return {
            "frames": len(self.frames),
            "size": list(self.frames.shape[2:0:-1]),
            "stride": self.stride,
            "median_flow_px": median("median_flow"),
            "states": {s: states.count(s) for s in front_end.STATES if s in states},
            "standing_share": round(states.count(front_end.STANDING) / len(states), 4),
            "trusted_share": median("trusted"),
            "inliers": median("inliers"),
            "direction_xyz": [median(f"direction_{axis}") for axis in "xyz"],
            "rotation_deg": median("rotation"),
            "moves_share": median("moves"),
            "scale_carried_share": round(
                float(np.mean([step.carried for step in self.steps])), 4
            ),
            "cuts": [
                int(pair["frame"])
                for pair in self.pairs
                if pair["state"] == front_end.CUT
            ],
            "masked_share": round(1 - float(self.usable.mean()), 4),
            "focal_length_px": round(float(self.intrinsics[0, 0]), 2),
            "focal_length_from": self.intrinsics_from,
            "focal_curve": None if focal is None else dataclasses.asdict(focal),
        }


def analyse(source: Source, request: Request) -> VideoGeometry:
    """Returns the geometry of a video.

    Args:
        source: with intrinsics, or without: the focal length is then that of the focal
            curve if it can be observed, else a guess.
        request: what to compute.

    Raises:
        ValueError: fewer than two frames can be read.
    """
    cv2.setNumThreads(1)
    frames, stride = _frames(source, request)
    if len(frames) < 2:
        raise ValueError(
            f"{source.path}: at least two frames are needed, got {len(frames)} at a"
            f" stride of {stride}"
        )
    size = frames[0].shape[:2]
    guess = drive_geometry.first_intrinsics(source, size)
    found = drive_geometry.survey(
        _spread(frames, _SURVEYED), guess, flow=request.flow, options=request.options
    )
    intrinsics, origin = guess, "given"
    if source.intrinsics is None:
        intrinsics = found.refine(guess)
        origin = "guess" if intrinsics is guess else "focal curve"
    logging.info(
        "%s: %d frames, stride %d, focal length %.0f px (%s)",
        source.name,
        len(frames),
        stride,
        intrinsics[0, 0],
        origin,
    )
    return _follow(frames, stride, intrinsics, origin, found, request)


def _frames(source: Source, request: Request) -> tuple[list[Array], int]:
    """Returns the frames used, made smaller where they are too wide, and their stride."""
    height, width = source.size
    factor = min(1.0, request.width / width)
    size = (round(height * factor), round(width * factor))

    def images() -> Iterator[Array]:
        return source.images(apply=lambda image: view_lib.resize_image(image, size))

    stride = request.stride or _stride(images(), len(source), request)
    stop = request.max_frames * stride if request.max_frames else None
    return list(itertools.islice(images(), 0, stop, stride)), stride


def _stride(images: Iterator[Array], count: int, request: Request) -> int:
    """Returns the stride at which the median flow is about as long as wanted."""
    if request.max_frames:
        count = min(count, request.max_frames * _MAX_STRIDE)
    starts = set(np.linspace(0, max(count - 2, 0), _STRIDE_PAIRS).astype(int).tolist())
    lengths = []
    for index, (one, other) in enumerate(itertools.pairwise(images)):
        if index >= count:
            break
        if index not in starts:
            continue
        pair = Frame(0, "000000", one), Frame(1, "000001", other)
        flow, backward = request.flow(*pair), request.flow(*pair[::-1])
        error = flow_error.forward_backward(flow, backward)
        lengths.append(flow_error.median_length(flow, error, max_error=1.0))
    moving_lengths = [length for length in lengths if length > _STANDING]
    if not moving_lengths:
        return 1
    stride = round(_WANTED_FLOW / float(np.median(moving_lengths)))
    return int(np.clip(stride, 1, min(_MAX_STRIDE, max(1, count // 3))))


def _spread(frames: Sequence[Array], count: int) -> Iterator[tuple[Array, Array]]:
    """Yields up to `count` pairs of neighbours from all over the video."""
    starts = np.unique(np.linspace(0, len(frames) - 2, count).astype(int))
    return ((frames[i], frames[i + 1]) for i in starts)


def _follow(
    frames: list[Array],
    stride: int,
    intrinsics: Array,
    origin: str,
    found: drive_geometry.Survey,
    request: Request,
) -> VideoGeometry:
    """Runs all pairs of neighbours and carries the scale along."""
    chain, records = scale_chain.Chain(), []
    shape = (len(frames), *frames[0].shape[:2])
    # Weighted sums of inverse depth from both neighbours.
    total, weight = np.zeros((2, *shape), np.float16)
    motion = np.zeros(shape, np.uint8)
    with _flow_ahead(frames, request.flow) as flow:
        pairs = drive_geometry.neighbours(
            frames,
            intrinsics,
            flow=flow,
            usable=found.usable,
            options=request.options,
        )
        for pair in tqdm.tqdm(
            pairs, total=len(frames) - 1, unit=" pairs", disable=None
        ):
            step = chain.add(pair.ahead, pair.behind)
            records.append({"frame": pair.index * stride, **_record(pair.ahead)})
            for index, part in enumerate((pair.ahead, pair.behind), pair.index):
                known = part.trusted
                inverse = 1 / (part.depth[known] * (step.length or 1.0))
                total[index][known] += part.weight[known] * inverse
                weight[index][known] += part.weight[known]
                motion[index] = np.maximum(motion[index], part.motion)
    known = weight > 0
    total[known] /= weight[known]
    return VideoGeometry(
        np.stack(frames),
        stride,
        intrinsics,
        origin,
        found.focal,
        found.usable,
        total,
        motion,
        np.stack(chain.world_from_camera),
        chain.steps,
        records,
    )


@contextlib.contextmanager
def _flow_ahead(frames: Sequence[Array], flow: FlowSource) -> Iterator[FlowSource]:
    """Gives flow between neighbours that threads compute ahead of its use."""
    futures: dict[tuple[int, int], concurrent.futures.Future[Array]] = {}
    ahead = 2 * (os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor() as pool:

        def submit(first: int) -> None:
            for one, other in ((first, first + 1), (first + 1, first)):
                if (one, other) not in futures and first + 1 < len(frames):
                    pair = (Frame(i, f"{i:06d}", frames[i]) for i in (one, other))
                    futures[one, other] = pool.submit(flow, *pair)

        def get(one: Frame, other: Frame) -> Array:
            for first in range(min(one.index, other.index), one.index + ahead):
                submit(first)
            return futures.pop((one.index, other.index)).result()

        yield get


def _record(geometry: PairGeometry) -> dict[str, Any]:
    """Returns the numbers of a pair, as JSON values."""
    record: dict[str, Any] = {
        "state": geometry.state,
        "median_flow": round(geometry.median_flow, 3),
        "consistent": round(geometry.consistent, 4),
        "trusted": round(float(geometry.trusted.mean()), 4),
        "moves": round(float(np.mean(geometry.motion == moving.MOVES)), 4),
    }
    if geometry.rotation is not None:
        angle = np.linalg.norm(cv2.Rodrigues(geometry.rotation)[0])
        record["rotation"] = round(float(np.degrees(angle)), 4)
    if geometry.pose is not None:
        record["inliers"] = round(geometry.pose.inliers, 4)
        # The way of the camera, in the later frame's axes.
        for axis, value in zip("xyz", -geometry.pose.direction, strict=True):
            record[f"direction_{axis}"] = round(float(value), 4)
    return record
