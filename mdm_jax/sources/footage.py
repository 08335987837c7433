"""Footage: what images and videos lie at a path, before they are decoded.

One folder of images, or one video file, is one footage. Whatever can be known to be
wrong without decoding everything is an error here, naming the file. A footage holds
paths and numbers only, so that it can be sent to other processes.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import cv2
import numpy as np
from absl import logging

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
MIN_SIDE = 32


@dataclasses.dataclass(frozen=True)
class Footage:
    """Frames before decoding.

    Attributes:
        name: of the recording.
        files: all files the frames come from.
        size: (height, width) of the original frames.
        expected: number of frames, 0 if unknown; a video's header may be wrong.
        decode: given what to do with each RGB frame, yields the results in order.
        names: of the frames; empty for those of the images, or the numbers of a video's.
    """

    name: str
    files: tuple[pathlib.Path, ...]
    size: tuple[int, int]
    expected: int
    decode: Callable[[Callable[[np.ndarray], np.ndarray]], Iterator[np.ndarray]]
    names: tuple[str, ...] = ()


def frame_names(footage: Footage, count: int | None = None) -> list[str]:
    """Returns the names of frames: of the images, or `000000`, ... for a video.

    Args:
        footage: images or a video.
        count: number of frames of the video; None to count them, which is slow.

    Raises:
        ValueError: two images have the same name apart from the suffix.
    """
    if footage.names:
        return list(footage.names)
    if len(footage.files) == 1:
        if count is None:
            count = count_frames(footage.files[0])
        return [f"{index:06d}" for index in range(count)]
    names = [file.stem for file in footage.files]
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"{footage.files[0].parent}: two images are called {duplicate}, so that it"
            " is unclear which of them masks belong to; rename one"
        )
    return names


def find(path: pathlib.Path) -> list[Footage]:
    """Returns what can be read at a path, in natural order of the names.

    Args:
        path: a video file, a folder of images, a folder of video files, or a folder of
            such folders (one level deep). Hidden files are passed over.

    Raises:
        FileNotFoundError: no such path.
        ValueError: nothing to read there, images and videos side by side, a first
            frame that cannot be read or has sides below `MIN_SIDE`.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"dataset.path {str(path)!r} does not exist; give a folder of images, a"
            " video file, or a folder of either"
        )
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise ValueError(
                f"dataset.path {path} is a single image; give the folder that holds"
                " the consecutive frames"
            )
        return [_open_video(path)]
    found = _find_in_folder(path)
    if not found:
        folders = _naturally(
            child
            for child in path.iterdir()
            if child.is_dir() and not child.name.startswith(".")
        )
        found = [
            # Videos of one name in two folders must not become one name.
            footage
            if footage.name == child.name
            else dataclasses.replace(footage, name=f"{child.name}-{footage.name}")
            for child in folders
            for footage in _find_in_folder(child)
        ]
    if not found:
        raise ValueError(
            f"no images ({' '.join(IMAGE_SUFFIXES)}) and no videos"
            f" ({' '.join(VIDEO_SUFFIXES)}) in {path} or the folders in it"
        )
    return found


def _find_in_folder(folder: pathlib.Path) -> list[Footage]:
    files = _naturally(
        file
        for file in folder.iterdir()
        if file.is_file() and not file.name.startswith(".")
    )
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if images and videos:
        raise ValueError(
            f"{folder} holds both images ({images[0].name}, ...) and videos"
            f" ({videos[0].name}, ...): give the path of a video, or move one kind away"
        )
    if images:
        return [_open_images(folder, images)]
    return [_open_video(video) for video in videos]


def _naturally(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns paths sorted by name, runs of digits by their value."""

    def key(path: pathlib.Path) -> tuple:
        parts = re.split(r"(\d+)", path.name)
        # Odd parts are the digits. The name itself settles '1.png' and '01.png'.
        parts[1::2] = [int(digits) for digits in parts[1::2]]
        return parts, path.name

    return sorted(paths, key=key)


def _open_images(folder: pathlib.Path, files: Sequence[pathlib.Path]) -> Footage:
    if len(files) < 2:
        raise ValueError(
            f"{folder}: at least two frames are needed, got one image, {files[0].name}"
        )
    size = read_image(files[0]).shape[:2]
    _check_sides(files[0], size)
    decode = functools.partial(_decode_images, tuple(files), size)
    return Footage(folder.resolve().name, tuple(files), size, len(files), decode)


def _decode_images(
    files: Sequence[pathlib.Path],
    size: tuple[int, int],
    use: Callable[[np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    def read(file: pathlib.Path) -> np.ndarray:
        image = read_image(file)
        if image.shape[:2] != size:
            raise ValueError(
                "all frames must have one size, but"
                f" {files[0]} is {size[1]} x {size[0]} and"
                f" {file} is {image.shape[1]} x {image.shape[0]} (width x height)"
            )
        return use(image)

    num_threads = min(8, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        # In portions: a pool's map would decode ahead without bound.
        for start in range(0, len(files), 4 * num_threads):
            yield from pool.map(read, files[start : start + 4 * num_threads])


def read_image(path: pathlib.Path) -> np.ndarray:
    """Returns uint8 RGB `[h w 3]`; alpha is dropped, 16 bits become 8."""
    # Not cv2.imread: it cannot open all names on all systems, nor say why it failed.
    content = np.frombuffer(path.read_bytes(), np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise ValueError(
            f"{path} cannot be read as an image ({content.size} bytes); replace it, or"
            " remove it if the frames around it may be neighbours"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _open_video(path: pathlib.Path) -> Footage:
    first = next(video_frames(path), None)
    if first is None:
        raise ValueError(
            f"{path} cannot be opened as a video; convert it (ffmpeg -i"
            f" {path.name} -c:v libx264 new.mp4) or give a folder of its frames"
        )
    size = first.shape[:2]
    _check_sides(path, size)
    capture = cv2.VideoCapture(str(path))
    expected = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    capture.release()
    decode = functools.partial(_decode_video, path, size, expected)
    return Footage(path.stem, (path,), size, expected, decode)


def _decode_video(
    path: pathlib.Path,
    size: tuple[int, int],
    expected: int,
    use: Callable[[np.ndarray], np.ndarray],
) -> Iterator[np.ndarray]:
    count = 0
    for count, frame in enumerate(video_frames(path), start=1):
        if frame.shape[:2] != size:
            raise ValueError(
                f"all frames must have one size, but frame 1 of {path} is"
                f" {size[1]} x {size[0]} and frame {count} is {frame.shape[1]} x"
                f" {frame.shape[0]} (width x height)"
            )
        yield use(frame)
    if count < expected:
        logging.warning(
            "%s: read %d frames where the file announces %d; going on with these",
            path,
            count,
            expected,
        )


def count_frames(path: pathlib.Path) -> int:
    """Returns how many frames a video has: its header may be wrong."""
    capture = cv2.VideoCapture(str(path))
    try:
        return sum(1 for _ in iter(capture.grab, False))
    finally:
        capture.release()


def video_frames(path: pathlib.Path, start: int = 0) -> Iterator[np.ndarray]:
    """Yields uint8 RGB frames from a number on, until the video ends or breaks."""
    capture = cv2.VideoCapture(str(path))
    try:
        # Not by setting the position, which is inexact between key frames.
        if not all(capture.grab() for _ in range(start)):
            return
        for number in itertools.count(start):
            try:
                readable, frame = capture.read()
            except cv2.error as error:
                logging.warning("%s breaks at frame %d: %s", path, number, error)
                return
            if not readable:
                return
            yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _check_sides(path: pathlib.Path, size: tuple[int, int]):
    if min(size) < MIN_SIDE:
        raise ValueError(
            f"{path} is {size[1]} x {size[0]} pixels (width x height); sides of at"
            f" least {MIN_SIDE} are needed"
        )
