"""Links between the objects of neighbouring frames, over a whole clip, frame by frame.

An object links to the one that it matches in the frame before. One that finds none is
compared with those of the frame before that, which nobody continued: a segmenter that
misses an object once does not end its track. The flow over two frames is composed of
both.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses

import numpy as np

from mdm_jax.annotation import matching, tracks
from mdm_jax.flow import flow_field
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances

# Forward and backward.
_Flows = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What counts as an object, and as a match.

    Attributes:
        classes: kept; all where empty.
        min_score: a mask of less is dropped.
        min_pixels: so is one of fewer pixels, after overlaps are resolved.
        threshold: both IoUs of a match exceed it.
        tolerance: of flow there and back, pixels.
        relative_tolerance: of flow there and back, as a share of its length.
        lenient: see `matching.match`.
        min_length: tracks seen in fewer frames are dropped.
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
                "tolerances of flow expect at least 0, got"
                f" {self.tolerance} and {self.relative_tolerance}"
            )


DEFAULTS = Options()


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a frame that are kept, with disjoint masks.

    Attributes:
        owners: integer `[h w]`, 1 + the number of the object that owns each pixel.
        areas: int64 `[k]`.
        classes: int64 `[k]`.
        scores: float32 `[k]`.
        dropped: how many were left out.
    """

    owners: np.ndarray
    areas: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    dropped: int

    def __len__(self) -> int:
        return len(self.areas)


def keep(found: Instances, options: Options) -> Objects:
    """Returns the objects of a frame that options keep, largest first where they overlap."""
    wanted = found.scores >= options.min_score
    if options.classes:
        wanted &= np.isin(found.classes, options.classes)
    kept = found.select(wanted)
    owners = instances.resolve_overlaps(kept)
    areas = np.bincount(owners.ravel(), minlength=len(kept) + 1)[1:]
    large = areas >= options.min_pixels
    renumbered = np.zeros(len(kept) + 1, np.uint16)
    renumbered[1:][large] = np.arange(1, large.sum() + 1)
    return Objects(
        renumbered[owners],
        areas[large].astype(np.int64),
        kept.classes[large],
        kept.scores[large],
        len(found) - int(large.sum()),
    )


def without_pixels(
    objects: Objects, links: np.ndarray, bridges: np.ndarray
) -> tracks.Seen:
    """Returns what tracks are made of."""
    return tracks.Seen(
        objects.areas, objects.classes, objects.scores, links, bridges, objects.dropped
    )


class Linker:
    """Links the objects of each new frame to those before; one for each clip."""

    def __init__(self, flow: FlowSource, options: Options, *, num_threads: int = 2):
        """Starts before the first frame.

        Args:
            flow: source of optical flow.
            options: what is a match.
            num_threads: forward and backward flow are computed side by side with two.
        """
        self._flow = flow
        self._options = options
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads)
        # The last two frames, with their objects, and the flow from one to the next.
        self._frames: list[Frame] = []
        self._objects: list[Objects] = []
        self._links = np.zeros((0, 2), np.int64)
        self._flows: _Flows | None = None

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()

    def resume(self, frame: Frame, objects: Objects, links: np.ndarray) -> None:
        """Takes a frame whose links to the one before are known already."""
        self._push(frame, objects, links, None)

    def link(self, frame: Frame, objects: Objects) -> tuple[np.ndarray, np.ndarray]:
        """Takes the next frame and returns the links of its objects.

        Returns:
            `[n 2]` pairs (object of the frame before, object of this one), and such pairs
            across the frame before, (object of the last but one, object of this one).
        """
        links = bridges = np.zeros((0, 2), np.int64)
        flows = None
        if self._frames:
            before = self._objects[-1]
            if len(before) and len(objects):
                flows = self._both(self._frames[-1], frame)
                links = self._match(before, objects, flows)
            if len(self._frames) > 1:
                bridges, flows = self._bridge(frame, objects, links, flows)
        self._push(frame, objects, links, flows)
        return links, bridges

    def _push(self, frame, objects, links, flows):
        self._frames = [*self._frames[-1:], frame]
        self._objects = [*self._objects[-1:], objects]
        self._links, self._flows = links, flows

    def _both(self, one: Frame, other: Frame) -> _Flows:
        forward = self._pool.submit(self._flow, one, other)
        backward = self._pool.submit(self._flow, other, one)
        return forward.result(), backward.result()

    def _bridge(self, frame, objects, links, flows):
        """Returns the links across the frame before, and its flows if computed."""
        earlier = self._objects[0]
        ended = np.setdiff1d(np.arange(len(earlier)), self._links[:, 0])
        new = np.setdiff1d(np.arange(len(objects)), links[:, 1])
        if not len(ended) or not len(new):
            return np.zeros((0, 2), np.int64), flows
        first = self._flows or self._both(*self._frames)
        second = flows or self._both(self._frames[-1], frame)
        across = (
            flow_field.compose(first[0], second[0]),
            flow_field.compose(second[1], first[1]),
        )
        pairs = self._match(_part(earlier, ended), _part(objects, new), across)
        return np.stack([ended[pairs[:, 0]], new[pairs[:, 1]]], axis=1), second

    def _match(self, a: Objects, b: Objects, flows: _Flows) -> np.ndarray:
        options = self._options
        seen, every = [], []
        for one, other, there, back in (
            (a, b, flows[0], flows[1]),
            (b, a, flows[1], flows[0]),
        ):
            visible = flow_field.consistent(
                there,
                back,
                tolerance=options.tolerance,
                relative_tolerance=options.relative_tolerance,
            )
            for views, pixels in ((seen, visible), (every, np.ones_like(visible))):
                views.append(
                    matching.overlap(
                        one.owners,
                        other.owners,
                        there,
                        pixels,
                        counts=(len(one), len(other)),
                    )
                )
        return matching.match(
            matching.Views(*seen),
            matching.Views(*every),
            threshold=options.threshold,
            lenient=options.lenient,
        )


def _part(objects: Objects, index: np.ndarray) -> Objects:
    """Returns some of the objects, numbered anew."""
    table = np.zeros(len(objects) + 1, np.uint16)
    table[1 + index] = np.arange(1, len(index) + 1)
    return Objects(
        table[objects.owners],
        objects.areas[index],
        objects.classes[index],
        objects.scores[index],
        0,
    )
