"""Videos of pictures side by side, with a line of text above each."""

from __future__ import annotations

import os
from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import UInt8

_CAPTION = 22  # pixels
# MPEG-4 part 2: the one codec that OpenCV brings along everywhere.
_CODEC = "mp4v"


def side_by_side(
    pictures: Mapping[str, np.ndarray], *, largest_width: int = 640
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns pictures of one shape next to each other, captioned with their names.

    Args:
        pictures: uint8 `[h w 3]` by caption, RGB; all get the size of the first.
        largest_width: of each; larger ones are averaged down.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    factor = min(1.0, largest_width / width)
    # Even sides, which video codecs need.
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
    """Writes an mp4 frame by frame; it must be closed to be whole."""

    def __init__(self, path: str | os.PathLike[str], *, frames_per_second: float):
        """Opens nothing yet: the first frame tells the size.

        Args:
            path: ends in `.mp4`.
            frames_per_second: of the video.
        """
        self._path = os.fspath(path)
        self._rate = frames_per_second
        self._writer: cv2.VideoWriter | None = None
        self._shape: tuple[int, ...] = ()

    def write(self, frame: UInt8[np.ndarray, "h w 3"]):
        """Appends an RGB frame with even sides.

        Raises:
            ValueError: it has another size than the first.
            OSError: the video cannot be written.
        """
        if self._writer is None:
            self._shape = frame.shape
            self._writer = cv2.VideoWriter(
                self._path,
                cv2.VideoWriter.fourcc(*_CODEC),
                self._rate,
                (frame.shape[1], frame.shape[0]),
            )
            if not self._writer.isOpened():
                raise OSError(
                    f"{self._path} cannot be written as a video of {frame.shape[1]} x"
                    f" {frame.shape[0]} pixels"
                )
        if frame.shape != self._shape:
            raise ValueError(
                f"frames of a video have one size, got {frame.shape} after"
                f" {self._shape}"
            )
        self._writer.write(np.ascontiguousarray(frame[..., ::-1]))

    def close(self):
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()
