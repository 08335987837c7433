"""Decoding of images with a check that they are complete.

Decoders fill the missing part of a truncated image with grey. Every function raises
`DataError`, which names the file, for any problem with it.
"""

from __future__ import annotations

import os
import pathlib
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from mdm_jax.files import atomic, file_content
from mdm_jax.files.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# More than any camera of these data sets; a broken header may claim terabytes.
_MAX_PIXELS = 1 << 26
# Contains the header, even after an embedded preview.
_HEADER_BYTES = 1 << 17
# JPEG markers that carry a frame header: SOF0 to SOF15 without DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def read(path: pathlib.Path, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Returns a PNG or JPEG as uint8 RGB `[h w 3]`; checks its (height, width)."""
    return decode(file_content.read_bytes(path), path, size=size)


def read_labels(
    path: pathlib.Path, *, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns the unconverted values of a PNG, uint8 or uint16 `[h w]` or `[h w c]`."""
    return decode_labels(file_content.read_bytes(path), path, size=size)


def decode(
    content: bytes, source: Any, *, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns an encoded image as uint8 RGB `[h w 3]`; errors name `source`."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.cvtColor(_decode(content, source, size, flags), cv2.COLOR_BGR2RGB)


def decode_labels(
    content: bytes, source: Any, *, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Returns the unconverted values of an encoded PNG; see `read_labels`."""
    return _decode(content, source, size, cv2.IMREAD_UNCHANGED)


def size_of(paths: Iterable[pathlib.Path]) -> tuple[int, int]:
    """Returns (height, width) of the first image with a readable header.

    Raises:
        DataError: no header is readable; it names the first image.
    """
    first_error = None
    for path in paths:
        try:
            return _header_size(file_content.read_bytes(path, _HEADER_BYTES), path)
        except DataError as error:
            first_error = first_error or error
    raise first_error or ValueError("expected at least one image, got none")


def write_png(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an 8- or 16-bit grey image `[h w]`, or an RGB image `[h w 3]`, atomically."""
    if image.ndim == 3:
        image = np.ascontiguousarray(image[..., ::-1])
    atomic.write_bytes(path, cv2.imencode(".png", image)[1].tobytes())


def _decode(
    content: bytes, source: Any, size: tuple[int, int] | None, flags: int
) -> np.ndarray:
    height, width = _header_size(content, source)
    if size is not None and (height, width) != tuple(size):
        raise DataError(
            source,
            f"expected an image of {size[0]}x{size[1]} pixels (height x width), got"
            f" {height}x{width}; was it resized, or is it from another camera?",
        )
    if content.startswith(_PNG):
        _check_png(content, source)
    elif b"\xff\xd9" not in content[-1024:]:
        raise DataError(
            source, f"the JPEG has no end: it is cut off; {file_content.REPLACE}"
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise DataError(source, f"cannot be decoded ({error.err})") from error
    if image is None or image.shape[:2] != (height, width):
        raise DataError(source, f"the image is damaged; {file_content.REPLACE}")
    return image


def _header_size(content: bytes, source: Any) -> tuple[int, int]:
    if content.startswith(_PNG):
        if len(content) < 24:
            raise DataError(source, f"the PNG is cut off; {file_content.REPLACE}")
        width, height = struct.unpack(">II", content[16:24])
    elif content.startswith(_JPEG):
        height, width = _jpeg_size(content, source)
    else:
        raise DataError(
            source,
            "expected a PNG or a JPEG, got a file that starts with"
            f" {content[:8].hex(' ')}; {file_content.REPLACE}",
        )
    if not (0 < width and 0 < height and width * height <= _MAX_PIXELS):
        raise DataError(source, f"its header claims {height}x{width} pixels")
    return height, width


def _jpeg_size(content: bytes, source: Any) -> tuple[int, int]:
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", content[place + 5 : place + 9])
            return height, width
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    raise DataError(source, f"the JPEG has no readable header; {file_content.REPLACE}")


def _check_png(content: bytes, source: Any) -> None:
    """Checks that a PNG has all of its chunks, with valid checksums."""
    place = len(_PNG)
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(content[place + 4 : end]) != int.from_bytes(
            content[end : end + 4], "big"
        ):
            raise DataError(
                source, f"the PNG has a wrong checksum; {file_content.REPLACE}"
            )
        if content[place + 4 : place + 8] == b"IEND":
            return
        place = end + 4
    raise DataError(
        source, f"the PNG has no end: it is cut off; {file_content.REPLACE}"
    )
