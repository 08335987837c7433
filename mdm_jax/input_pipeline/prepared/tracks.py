"""Tracks: what a build reads, a drive or a video, frame by frame through its view.

A track can be read from any frame on. Where that costs reading what comes before (a
video, or labels whose ids follow from the frames before) the track is `sequential`, and
goes on from where it was left if asked for what comes next.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.input_pipeline import footage as footage_lib
from mdm_jax.input_pipeline.prepared import layout
from mdm_jax.input_pipeline.readers import drive as drive_lib
from mdm_jax.input_pipeline.readers import files, persistent_labels
from mdm_jax.input_pipeline.readers import view as view_lib
from mdm_jax.input_pipeline.readers.errors import DataError


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
class Track(abc.ABC):
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
    """

    name: str
    num_frames: int
    view: view_lib.View
    intrinsics: np.ndarray | None
    world_from_camera: np.ndarray | None = None
    timestamp: np.ndarray | None = None
    has_depth: bool = False
    labelled: np.ndarray | None = None

    @property
    def sequential(self) -> bool:
        """Whether reading from the middle costs reading what comes before."""
        return self.labelled is not None

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

    @abc.abstractmethod
    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        """Yields the frames of these numbers; what is broken is in their problems."""

    @abc.abstractmethod
    def identity(self) -> list[Any]:
        """Returns in JSON what the content follows from."""

    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        """Yields just the images of these numbers."""
        return (frame.image for frame in self.frames(start, stop))


@dataclasses.dataclass(eq=False)
class DriveTrack(Track):
    """The frames of a drive of a raw data set."""

    drive: drive_lib.Drive = dataclasses.field(kw_only=True)

    def __post_init__(self):
        # Labels with persistent ids of the frames from a number on, while it lasts.
        self._labels: Iterator[tuple[np.ndarray, tuple[DataError, ...]]] = iter(())
        self._next_label = -1

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            problems: list[DataError] = []
            depth = labels = None
            if self.has_depth:
                depth = self._depth(index, problems)
            if self.labelled is not None:
                labels, met = self._labels_of(index)
                problems += met
            image = self._image(index, problems)
            yield Frame(image, depth, labels, tuple(problems))

    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        return (self._image(index, []) for index in range(start, stop))

    def identity(self) -> list[Any]:
        paths = dict.fromkeys((*self.drive.files, *self.drive.truth_files()))
        return [*_identity(self), [_stat(path) for path in paths]]

    def _image(self, index: int, problems: list[DataError]) -> np.ndarray | None:
        try:
            return self.view.image(self.drive.image(index))
        except DataError as error:
            problems.append(error)
            return None

    def _depth(self, index: int, problems: list[DataError]) -> np.ndarray:
        try:
            points = self.drive.points(index)
            if points is not None:
                return self.view.depth(points)
        except DataError as error:
            problems.append(error)
        return np.zeros(self.view.size, np.float32)

    def _labels_of(self, index: int) -> tuple[np.ndarray, tuple[DataError, ...]]:
        if not 0 <= self._next_label <= index:
            self._labels, self._next_label = self._all_labels(), 0
        found = np.zeros(self.view.size, np.uint8), ()
        while self._next_label <= index:
            found = next(self._labels)
            self._next_label += 1
        return found

    def _all_labels(self) -> Iterator[tuple[np.ndarray, tuple[DataError, ...]]]:
        met: collections.deque[tuple[DataError, ...]] = collections.deque()

        def each() -> Iterator[np.ndarray]:
            for index in range(self.num_frames):
                problems: tuple[DataError, ...] = ()
                values = np.zeros(self.view.size, np.uint8)
                try:
                    labels = self.drive.labels(index)
                    if labels is not None:
                        values = self.view.labels(labels)
                except DataError as error:
                    problems = (error,)
                met.append(problems)
                yield values

        for labels in persistent_labels.persistent(each()):
            yield labels, met.popleft()


@dataclasses.dataclass(eq=False)
class FootageTrack(Track):
    """The frames of a folder of images or of a video file."""

    files: tuple[Any, ...] = dataclasses.field(kw_only=True)
    original_size: tuple[int, int] = dataclasses.field(kw_only=True)

    def __post_init__(self):
        self._video: Iterator[np.ndarray] = iter(())
        self._next = -1
        # The last frames that were read, by number, for whoever looked ahead.
        self._recent: dict[int, np.ndarray] = {}

    @property
    def sequential(self) -> bool:
        return self.files[0].suffix.lower() in footage_lib.VIDEO_SUFFIXES

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            try:
                yield Frame(self.view.image(self._original(index)))
            except DataError as error:
                yield Frame(None, problems=(error,))

    def identity(self) -> list[Any]:
        return [*_identity(self), [_stat(path) for path in self.files]]

    def _original(self, index: int) -> np.ndarray:
        path = self.files[0] if self.sequential else self.files[index]
        try:
            image = (
                self._of_video(index)
                if self.sequential
                else footage_lib.read_image(path)
            )
        except OSError as error:
            raise files.unreadable(path, error) from error
        except (ValueError, StopIteration) as error:
            problem = str(error) or f"frame {index} of {self.num_frames} is broken"
            raise DataError(path, problem) from error
        if image.shape[:2] != self.original_size:
            raise DataError(
                path,
                f"frame {index} is {image.shape[1]} x {image.shape[0]} pixels, the"
                f" first {self.original_size[1]} x {self.original_size[0]}",
            )
        return image

    def _of_video(self, index: int) -> np.ndarray:
        if index in self._recent:
            return self._recent[index]
        if index != self._next:
            self._video = footage_lib.video_frames(self.files[0], index)
            self._recent.clear()
        self._next = index + 1
        image = next(self._video)
        self._recent[index] = image
        self._recent.pop(index - layout.NUM_STRIDES, None)
        return image


def _identity(track: Track) -> list[Any]:
    numbers = [track.intrinsics, track.world_from_camera, track.timestamp]
    return [
        track.name,
        track.num_frames,
        dataclasses.astuple(track.view),
        list(track.optional),
        [None if one is None else np.asarray(one).tolist() for one in numbers],
    ]


def _stat(path: Any) -> list[Any]:
    if not files.exists(path):
        return [str(path)]
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]
