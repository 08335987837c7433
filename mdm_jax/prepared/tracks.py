"""Tracks: what a build reads, a drive or a video, frame by frame through its view.

A track can be read from any frame on. Where that costs reading what comes before (a
video, or labels whose ids follow from the frames before) the track is `sequential`, and
goes on from where it was left if asked for what comes next.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.files import file_content, fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import view as view_lib
from mdm_jax.prepared import layout, track_labels
from mdm_jax.sources import drive as drive_lib
from mdm_jax.sources import footage as footage_lib


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
        labels: where they are read; None if no frame has any.
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
    def files_read(self) -> Sequence[Any]:
        """Returns the files that all but labels from masks follow from."""

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

    @abc.abstractmethod
    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        """Yields just the images of these numbers."""


@dataclasses.dataclass(eq=False)
class DriveTrack(Track):
    """The frames of a drive of a raw data set."""

    drive: drive_lib.Drive = dataclasses.field(kw_only=True)

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            problems: list[DataError] = []
            depth = self._depth(index, problems) if self.has_depth else None
            image = self._image(index, problems)
            frame = Frame(image, depth, problems=tuple(problems))
            yield self.with_labels(index, frame)

    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        return (self._image(index, []) for index in range(start, stop))

    def files_read(self) -> Sequence[Any]:
        drive = self.drive
        every = (*drive.files, *drive.truth_files(), *drive.calibration_files())
        return list(dict.fromkeys(every))

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
        return self._is_video or super().sequential

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for index in range(start, stop):
            yield self.with_labels(index, self._frame(index))

    def images(self, start: int, stop: int) -> Iterator[np.ndarray | None]:
        return (self._frame(index).image for index in range(start, stop))

    def files_read(self) -> Sequence[Any]:
        return self.files

    @property
    def _is_video(self) -> bool:
        return self.files[0].suffix.lower() in footage_lib.VIDEO_SUFFIXES

    def _frame(self, index: int) -> Frame:
        try:
            return Frame(self.view.image(self._original(index)))
        except DataError as error:
            return Frame(None, problems=(error,))

    def _original(self, index: int) -> np.ndarray:
        path = self.files[0] if self._is_video else self.files[index]
        try:
            image = (
                self._of_video(index)
                if self._is_video
                else footage_lib.read_image(path)
            )
        except OSError as error:
            raise file_content.unreadable(path, error) from error
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
