"""Links the objects of consecutive frames, one frame at a time.

An object is linked to the object that it matches in the previous frame. Objects without
such a match are compared with the unlinked objects of the frame before that, through
the composed flow: one missed detection does not end a track.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from typing import NamedTuple, Self

import numpy as np

from mdm_jax.annotation import matching
from mdm_jax.annotation.object_tracks import LinkedObjects
from mdm_jax.flow import flow_field
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Which masks are objects, and which objects match.

    Attributes:
        classes: classes to use; empty for all.
        min_score: masks with a lower score are dropped.
        min_pixels: masks with fewer pixels, after resolving overlaps, are dropped.
        threshold: both IoUs of a match exceed it.
        tolerance: of the forward-backward check of flow, in pixels.
        relative_tolerance: of the same check, as a fraction of the flow's length.
        lenient: also match parts and mostly occluded masks, see `matching.match`.
        min_length: tracks visible in fewer frames are dropped.
    """

    classes: tuple[int, ...] = ()
    min_score: float = 0.5
    min_pixels: int = 50
    threshold: float = matching.THRESHOLD
    tolerance: float = flow_field.TOLERANCE
    relative_tolerance: float = flow_field.RELATIVE_TOLERANCE
    lenient: bool = True
    min_length: int = 2

    def __post_init__(self):
        if not 0 <= self.threshold < 1 or not 0 <= self.min_score <= 1:
            raise ValueError(
                "threshold expects [0, 1) and min_score [0, 1], got"
                f" {self.threshold} and {self.min_score}"
            )
        if min(self.min_pixels, self.min_length) < 1:
            raise ValueError(
                "min_pixels and min_length expect at least 1, got"
                f" {self.min_pixels} and {self.min_length}"
            )
        if min(self.tolerance, self.relative_tolerance) < 0:
            raise ValueError(
                "tolerance and relative_tolerance expect at least 0, got"
                f" {self.tolerance} and {self.relative_tolerance}"
            )


DEFAULTS = Options()


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a frame, with disjoint masks.

    Attributes:
        owners: integer `[h w]`, 1 + the index of the object that owns each pixel.
        areas: int64 `[k]`.
        classes: int64 `[k]`.
        scores: float32 `[k]`.
        dropped: number of masks that are not objects.
    """

    owners: np.ndarray
    areas: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    dropped: int

    def __len__(self) -> int:
        return len(self.areas)

    def select(self, index: np.ndarray) -> Objects:
        """Returns the objects with the given indices, renumbered."""
        renumbered = np.zeros(len(self) + 1, np.uint16)
        renumbered[1 + index] = np.arange(1, len(index) + 1)
        return Objects(
            renumbered[self.owners],
            self.areas[index],
            self.classes[index],
            self.scores[index],
            self.dropped + len(self) - len(index),
        )


def select_objects(masks: Instances, options: Options) -> Objects:
    """Returns the masks that are objects; where they overlap, the larger one wins."""
    wanted = masks.scores >= options.min_score
    if options.classes:
        wanted &= np.isin(masks.classes, options.classes)
    selected = masks.select(wanted)
    owners = instances.resolve_overlaps(selected)
    areas = np.bincount(owners.ravel(), minlength=len(selected) + 1)[1:]
    objects = Objects(
        owners,
        areas.astype(np.int64),
        selected.classes,
        selected.scores,
        len(masks) - len(selected),
    )
    return objects.select(np.flatnonzero(areas >= options.min_pixels))


class _Flows(NamedTuple):
    forward: np.ndarray
    backward: np.ndarray


class Linker:
    """Links the objects of each new frame of a clip to those of earlier frames.

    A context manager, because optical flow is computed in threads.
    """

    def __init__(self, flow: FlowSource, options: Options, *, num_threads: int = 2):
        """Starts before the first frame.

        Args:
            flow: source of optical flow.
            options: which objects match.
            num_threads: with two, forward and backward flow are computed in parallel.
        """
        self._flow = flow
        self._options = options
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads)
        # The last two frames, their objects, and links and flow between them.
        self._frames: list[Frame] = []
        self._objects: list[Objects] = []
        self._links = np.zeros((0, 2), np.int64)
        self._flows: _Flows | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()

    def resume(self, frame: Frame, objects: Objects, links: np.ndarray) -> None:
        """Adds a frame whose links are known from an interrupted run."""
        self._push(frame, objects, links, None)

    def link(self, frame: Frame, objects: Objects) -> LinkedObjects:
        """Adds the next frame and returns its objects with their links."""
        links = bridges = np.zeros((0, 2), np.int64)
        flows = None
        if self._frames:
            previous = self._objects[-1]
            if len(previous) and len(objects):
                flows = self._compute_flows(self._frames[-1], frame)
                links = self._match(previous, objects, flows)
            if len(self._frames) > 1:
                bridges, flows = self._bridge(frame, objects, links, flows)
        self._push(frame, objects, links, flows)
        return LinkedObjects(
            objects.areas,
            objects.classes,
            objects.scores,
            links,
            bridges,
            objects.dropped,
        )

    def _push(
        self, frame: Frame, objects: Objects, links: np.ndarray, flows: _Flows | None
    ) -> None:
        self._frames = [*self._frames[-1:], frame]
        self._objects = [*self._objects[-1:], objects]
        self._links, self._flows = links, flows

    def _compute_flows(self, first: Frame, second: Frame) -> _Flows:
        forward = self._pool.submit(self._flow, first, second)
        backward = self._pool.submit(self._flow, second, first)
        return _Flows(forward.result(), backward.result())

    def _bridge(
        self, frame: Frame, objects: Objects, links: np.ndarray, flows: _Flows | None
    ) -> tuple[np.ndarray, _Flows | None]:
        """Returns links across the previous frame, and its flow to this one if known."""
        earlier = self._objects[0]
        ended = np.setdiff1d(np.arange(len(earlier)), self._links[:, 0])
        new = np.setdiff1d(np.arange(len(objects)), links[:, 1])
        if not len(ended) or not len(new):
            return np.zeros((0, 2), np.int64), flows
        first = self._flows or self._compute_flows(*self._frames)
        second = flows or self._compute_flows(self._frames[-1], frame)
        across = _Flows(
            flow_field.compose(first.forward, second.forward),
            flow_field.compose(second.backward, first.backward),
        )
        pairs = self._match(earlier.select(ended), objects.select(new), across)
        return np.stack([ended[pairs[:, 0]], new[pairs[:, 1]]], axis=1), second

    def _match(self, a: Objects, b: Objects, flows: _Flows) -> np.ndarray:
        options = self._options
        visible_overlaps, all_overlaps = [], []
        for target, source, there, back in (
            (a, b, flows.forward, flows.backward),
            (b, a, flows.backward, flows.forward),
        ):
            visible = flow_field.consistent(
                there,
                back,
                tolerance=options.tolerance,
                relative_tolerance=options.relative_tolerance,
            )
            counts = (len(target), len(source))
            for overlaps, pixels in (
                (visible_overlaps, visible),
                (all_overlaps, np.ones_like(visible)),
            ):
                overlaps.append(
                    matching.overlap(
                        target.owners, source.owners, there, pixels, counts=counts
                    )
                )
        return matching.match(
            matching.Views(*visible_overlaps),
            matching.Views(*all_overlaps),
            threshold=options.threshold,
            lenient=options.lenient,
        )
