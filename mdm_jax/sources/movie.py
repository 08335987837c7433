"""A movie file as a source; OpenCV decodes it in order."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from absl import logging

from mdm_jax.files.errors import DataError
from mdm_jax.sources.source import Source

# Number of frames that `Movie.image` caches, for callers that look ahead.
_MEMORY = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Movie(Source):
    """The frames of a movie; its length is the number that the header announces.

    `images` yields all frames that can be decoded, which may be fewer or more;
    `counted` has the exact length.
    """

    def image(self, index: int) -> np.ndarray:
        # Not a field, because it cannot be pickled: every process has its own decoder.
        decoder = vars(self).setdefault("_decoder", _Decoder(self.files[0]))
        image = decoder.image(index)
        if image is None:
            raise DataError(
                self.files[0], f"frame {index} of {len(self)} cannot be decoded"
            )
        return self._checked(image, index)

    def images(
        self,
        start: int = 0,
        *,
        apply: Callable[[np.ndarray], Any] = lambda image: image,
    ) -> Iterator[Any]:
        count = start
        for image in decoded(self.files[0], start):
            yield apply(self._checked(image, count))
            count += 1
        if count < len(self):
            logging.warning(
                "%s: decoded %d frames where the file announces %d; using these",
                self.files[0],
                count,
                len(self),
            )

    @property
    def sequential(self) -> bool:
        return True

    def counted(self, num_frames: int | None = None) -> Movie:
        if num_frames is None:
            num_frames = count_frames(self.files[0])
        files = self.files[:1] * num_frames
        return dataclasses.replace(self, files=files, numbers=())

    def frame_names(self) -> list[str]:
        return [f"{index:06d}" for index in range(len(self))]

    def _checked(self, image: np.ndarray, index: int) -> np.ndarray:
        if image.shape[:2] != self.size:
            raise DataError(
                self.files[0],
                f"all frames must have one size, but frame 0 is {self.size[0]}x"
                f"{self.size[1]} and frame {index} is {image.shape[0]}x"
                f"{image.shape[1]} (height x width)",
            )
        return image

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_decoder"}


class _Decoder:
    """Decodes a movie forwards, and restarts if a caller goes back."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._frames: Iterator[np.ndarray] = iter(())
        self._next = -1
        self._recent: collections.OrderedDict[int, np.ndarray] = (
            collections.OrderedDict()
        )

    def image(self, index: int) -> np.ndarray | None:
        """Returns a frame; None if it cannot be decoded."""
        if index in self._recent:
            return self._recent[index]
        if index != self._next:
            self._frames = decoded(self._path, index)
            self._recent.clear()
        image = next(self._frames, None)
        self._next = -1 if image is None else index + 1
        if image is not None:
            self._recent[index] = image
            if len(self._recent) > _MEMORY:
                self._recent.popitem(last=False)
        return image


def open_movie(
    path: pathlib.Path, *, name: str = "", intrinsics: np.ndarray | None = None
) -> Movie:
    """Returns the movie in a file.

    Args:
        path: the file.
        name: of the source; by default that of the file.
        intrinsics: float64 `[3 3]`; None if they have to be learned.

    Raises:
        ValueError: the file cannot be decoded.
    """
    first = next(decoded(path), None)
    if first is None:
        raise ValueError(
            f"{path} cannot be opened as a video; convert it (ffmpeg -i"
            f" {path.name} -c:v libx264 new.mp4) or give a folder of its frames"
        )
    capture = cv2.VideoCapture(str(path))
    announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    if announced < 1:
        announced = count_frames(path)
    if not 0.1 < rate < 1000:
        logging.warning("%s does not say how many frames a second it has", path)
    return Movie(
        name=name or path.stem,
        files=(path,) * announced,
        size=(first.shape[0], first.shape[1]),
        intrinsics=intrinsics,
        frames_per_second=rate if 0.1 < rate < 1000 else None,
    )


def count_frames(path: pathlib.Path) -> int:
    """Returns the number of readable frames; the header may announce another."""
    capture = cv2.VideoCapture(str(path))
    try:
        return sum(1 for _ in iter(capture.grab, False))
    finally:
        capture.release()


def decoded(path: pathlib.Path, start: int = 0) -> Iterator[np.ndarray]:
    """Yields uint8 RGB frames from an index on, until the end or a decoding error."""
    capture = cv2.VideoCapture(str(path))
    try:
        # Setting the position would be inexact between key frames.
        if not all(capture.grab() for _ in range(start)):
            return
        for index in itertools.count(start):
            try:
                readable, frame = capture.read()
            except cv2.error as error:
                logging.warning(
                    "%s cannot be decoded from frame %d on: %s", path, index, error
                )
                return
            if not readable:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
