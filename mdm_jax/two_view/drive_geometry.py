"""Two-view geometry of a whole video: every pair of neighbours, in one pass."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from mdm_jax.flow import flow_sources
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.sources.source import Source
from mdm_jax.two_view import (
    essential,
    flow_error,
    focal_curve,
    front_end,
    still_regions,
    texture,
    turning,
)
from mdm_jax.two_view.front_end import PairGeometry

Array = np.ndarray

# Points a pair gives to the focal curve, and pairs that it is measured on.
_FOCAL_POINTS, _FOCAL_PAIRS = 1000, 24


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """The geometry of two neighbouring frames.

    Attributes:
        index: of the earlier frame.
        images: both frames, uint8 RGB.
        ahead: geometry of (earlier, later).
        behind: geometry of (later, earlier).
    """

    index: int
    images: tuple[UInt8[Array, "h w 3"], UInt8[Array, "h w 3"]]
    ahead: PairGeometry
    behind: PairGeometry


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a first look at some pairs of a video tells about its camera.

    Attributes:
        usable: pixels that see the world.
        focal: the focal curve; None without moving pairs.
    """

    usable: Bool[Array, "h w"]
    focal: focal_curve.FocalCurve | None

    def refine(self, guess: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
        """Returns guessed intrinsics with the focal length, where it is observable."""
        if self.focal is None or not self.focal.observable:
            return guess
        scale = self.focal.best / guess[0, 0]
        return guess * np.array([[scale, 1, 1], [1, scale, 1], [1, 1, 1]])


def first_intrinsics(source: Source, size: tuple[int, int]) -> Float[Array, "3 3"]:
    """Returns the intrinsics of a source's frames resized to `size`, or a guess.

    Args:
        source: the original frames, whose intrinsics may be unknown.
        size: (height, width) of the resized frames.
    """
    if source.intrinsics is None:
        matrix = intrinsics_lib.initial_guess(size)
    else:
        matrix = intrinsics_lib.resize(
            source.intrinsics, from_size=source.size, to_size=size
        )
    return np.asarray(matrix, np.float64)


def survey(
    pairs: Iterable[Sequence[UInt8[Array, "h w 3"]]],
    intrinsics: Float[Array, "3 3"],
    *,
    flow: FlowSource = flow_sources.dense_inverse_search,
    options: front_end.Options = front_end.DEFAULT,
) -> Survey:
    """Returns regions fixed to the camera and the focal curve, from some pairs.

    Args:
        pairs: neighbouring frames from all over the video; 40 are enough.
        intrinsics: pixels; may be a guess.
        flow: source of optical flow.
        options: thresholds.

    Raises:
        ValueError: there are no pairs.
    """
    accumulator, candidates = None, []
    for index, images in enumerate(pairs):
        if accumulator is None:
            accumulator = still_regions.Accumulator(images[0].shape[:2], intrinsics)
        flows = _both_flows(index, images, flow)
        errors = [
            np.where(mask, error, np.float32(np.inf))
            for mask, error in zip(_usable(images, None), _errors(flows), strict=True)
        ]
        camera = front_end.egomotion(flows, errors, intrinsics, options=options)
        limit = options.limits.error
        length = flow_error.median_length(flows[0], errors[0], max_error=limit)
        accumulator.add(images[0], flows[0], length, camera.pose)
        if camera.pose is not None:
            points = essential.sample(
                flows[0], errors[0] < limit, num_points=_FOCAL_POINTS
            )
            # How far the image's content turns away from pure translation.
            turn = np.trace(turning.rotation_only(points, intrinsics)[0])
            candidates.append((float(turn), index, points))
    if accumulator is None:
        raise ValueError("a survey expects at least one pair of frames, got none")
    most_turning = [points for *_, points in sorted(candidates, key=lambda c: c[:2])]
    return Survey(
        ~accumulator.mask(),
        focal_curve.measure(most_turning[:_FOCAL_PAIRS], intrinsics),
    )


def neighbours(
    frames: Iterable[UInt8[Array, "h w 3"]],
    intrinsics: Float[Array, "3 3"],
    *,
    flow: FlowSource = flow_sources.dense_inverse_search,
    usable: Bool[Array, "h w"] | None = None,
    options: front_end.Options = front_end.DEFAULT,
) -> Iterator[Neighbours]:
    """Yields the geometry of each frame with the next.

    Args:
        frames: in order of time.
        intrinsics: pixels of these frames.
        flow: source of optical flow.
        usable: see `survey`.
        options: thresholds.
    """
    previous = None
    for index, images in enumerate(itertools.pairwise(frames)):
        forward, backward = _both_flows(index, images, flow)
        ahead, behind = front_end.front_end(
            forward,
            backward,
            intrinsics,
            usable=_usable(images, usable),
            previous=previous,
            options=options,
        )
        if ahead.pose is not None:
            previous = ahead.pose.direction
        elif ahead.state == front_end.CUT:
            previous = None
        yield Neighbours(index, images, ahead, behind)


def _both_flows(
    index: int, images: Sequence[Array], flow: FlowSource
) -> tuple[Array, Array]:
    one, other = (
        Frame(index + i, f"{index + i:06d}", image) for i, image in enumerate(images)
    )
    return flow(one, other), flow(other, one)


def _usable(images: Sequence[Array], mask: Array | None) -> tuple[Array, Array]:
    one, other = (texture.textured(image) for image in images)
    return (one, other) if mask is None else (one & mask, other & mask)


def _errors(flows: tuple[Array, Array]) -> list[Array]:
    return [
        flow_error.forward_backward(flows[0], flows[1]),
        flow_error.forward_backward(flows[1], flows[0]),
    ]
