"""Tracks: what a build reads, a drive or a video, frame by frame through its view.

A track can be read from any frame on. Where that costs reading what comes before (a
video, or labels whose ids follow from the frames before) the track is `sequential`, and
goes on from where it was left if asked for what comes next.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import view as view_lib
from mdm_jax.prepared import track_labels
from mdm_jax.sources.source import Source


class Frame(NamedTuple):
    """What could be read of a frame.

    Attributes:
        image: uint8 RGB `[h w 3]`; None where it is broken.
        depth: float32 `[h w]`, 0 where unknown; None if the track has none.
        labels: uint8 `[h w]`, 0 where unknown; None if the track has none.
        problems: what is broken.
    """

    image: np.ndarray | None
    depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    problems: tuple[DataError, ...] = ()


@dataclasses.dataclass(eq=False)
class Track:
    """Consecutive frames of one camera.

    Attributes:
        name: of the recording.
        num_frames: how many there are.
        view: that they are seen through.
        intrinsics: float32 `[3 3]` of the view; None where unknown.
        world_from_camera: float64 `[n 4 4]`, the first at the origin; None if unknown.
        timestamp: float64 `[n]`, seconds; None if unknown.
        has_depth: whether there is known depth.
        labelled: bool `[n]`, whether a frame has labels; None if none has.
        labels: where they are read; None if no frame has any.
        source: of the images and depth.
    """

    name: str
    num_frames: int
    view: view_lib.View
    intrinsics: np.ndarray | None
    world_from_camera: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    has_depth: bool = False
    labelled: np.ndarray | None = None
    labels: track_labels.TrackLabels | None = None
    source: Source = dataclasses.field(kw_only=True)

    @property
    def sequential(self) -> bool:
        """Whether reading from the middle costs reading what comes before."""
        return self.source.sequential or self.labelled is not None

    @property
    def optional(self) -> tuple[str, ...]:
        """Which features of `records.OPTIONAL` are known."""
        known = {
            "timestamp": self.timestamp is not None,
            "world_from_camera": self.world_from_camera is not None,
            "depth": self.has_depth,
            "instance_labels": self.labelled is not None,
        }
        return tuple(name for name, has in known.items() if has)

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        """Yields the frames of these numbers; what is broken is in their problems."""
        for index in range(start, stop):
            problems: list[DataError] = []
            depth = self._depth(index, problems) if self.has_depth else None
            image = self._image(index, problems)
            frame = Frame(image, depth, problems=tuple(problems))
            yield self.with_labels(index, frame)

    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        """Yields just the images of these numbers."""
        return (self._image(index, []) for index in range(start, stop))

    def files_read(self) -> Sequence[Any]:
        """Returns the files that all but labels from masks follow from."""
        source = self.source
        every = (*source.files, *source.truth_files(), *source.calibration_files())
        return list(dict.fromkeys(every))

    def identity(self) -> list[Any]:
        """Returns in JSON what the content follows from."""
        numbers = [self.intrinsics, self.world_from_camera, self.timestamp]
        return [
            self.name,
            self.num_frames,
            dataclasses.astuple(self.view),
            list(self.optional),
            [None if one is None else np.asarray(one).tolist() for one in numbers],
            fingerprint.file_identities(self.files_read()),
            [] if self.labels is None else self.labels.identity(),
        ]

    def with_labels(self, index: int, frame: Frame) -> Frame:
        """Returns a frame with its labels; no image where all of the track's fail.

        So the track is left out, as it is by reading in place. Its first frame tells.
        """
        if self.labels is None:
            return frame
        try:
            labels, problems = self.labels.read(index)
        except track_labels.Unusable as unusable:
            problems = () if index else (unusable.error,)
            return Frame(None, problems=problems)
        return frame._replace(labels=labels, problems=(*problems, *frame.problems))

    def _image(self, index: int, problems: list[DataError]) -> np.ndarray | None:
        try:
            return self.view.image(self.source.image(index))
        except DataError as error:
            problems.append(error)
            return None

    def _depth(self, index: int, problems: list[DataError]) -> np.ndarray:
        try:
            points = self.source.points(index)
            if points is not None:
                return self.view.depth(points)
        except DataError as error:
            problems.append(error)
        return np.zeros(self.view.size, np.float32)
