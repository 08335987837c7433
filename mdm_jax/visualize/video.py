"""Videos of pictures side by side, with a line of text above each.

Videos are VP9 in WebM, which every browser plays and OpenCV brings along.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from jaxtyping import UInt8

from mdm_jax.files import atomic

_CAPTION = 22  # pixels
_CODEC = "VP90"


def side_by_side(
    pictures: Mapping[str, np.ndarray], *, largest_width: int = 640
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns pictures of one shape next to each other, captioned with their names.

    Args:
        pictures: uint8 RGB `[h w 3]` by caption; all are resized to the first.
        largest_width: of each picture; larger ones are averaged down.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    factor = min(1.0, largest_width / width)
    # Video codecs need even sides.
    size = (2 * round(width * factor / 2), 2 * round(height * factor / 2))
    tiles = []
    for caption, picture in pictures.items():
        shrinks = picture.shape[1] > size[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST_EXACT
        tile = np.full((size[1] + _CAPTION, size[0], 3), 255, np.uint8)
        tile[_CAPTION:] = cv2.resize(picture, size, interpolation=how)
        cv2.putText(
            tile, caption, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, 16
        )
        tiles.append(tile)
    return np.concatenate(tiles, axis=1)


class VideoWriter:
    """Writes a WebM file frame by frame; a context manager.

    The file appears when the block succeeds and at least one frame was written.
    """

    def __init__(self, path: str | os.PathLike[str], *, frames_per_second: float):
        """Opens nothing yet: the first frame determines the size.

        Args:
            path: ends in `.webm`.
            frames_per_second: of the video.
        """
        self._path = path
        self._rate = frames_per_second
        self._files = contextlib.ExitStack()
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def __enter__(self) -> VideoWriter:  # noqa: PYI034 (beartype rejects Self)
        return self

    def __exit__(self, *error):
        if self._writer is not None:
            self._writer.release()
        self._files.__exit__(*error)

    def write(self, frame: UInt8[np.ndarray, "h w 3"]):
        """Appends an RGB frame with even sides.

        Raises:
            ValueError: its size differs from that of the first.
            OSError: the video cannot be written.
        """
        if self._writer is None:
            self._shape = frame.shape
            size = frame.shape[1], frame.shape[0]
            codec = cv2.VideoWriter.fourcc(*_CODEC)
            path = self._files.enter_context(atomic.replacing(self._path))
            with _silent_stderr():
                self._writer = cv2.VideoWriter(str(path), codec, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(
                    f"{self._path} cannot be written as a video of"
                    f" {size[0]}x{size[1]} pixels"
                )
        if frame.shape != self._shape:
            raise ValueError(
                f"frames of a video must have one size, got {frame.shape} after"
                f" {self._shape}"
            )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hides what C libraries print: OpenCV claims that WebM does not support VP9."""
    saved = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silent)
