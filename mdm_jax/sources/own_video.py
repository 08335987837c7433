"""Sources from a user's own frames: images, folders of images, and movies.

Opening reports every problem that can be found without decoding all frames.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.sources import intrinsics_file, movie
from mdm_jax.sources.source import Source

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
MIN_SIDE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFolder(Source):
    """The images of a folder, or a single image."""

    def image(self, index: int) -> np.ndarray:
        image = read_image(self.files[index])
        if image.shape[:2] != self.size:
            raise DataError(
                self.files[index],
                f"is {image.shape[0]}x{image.shape[1]} pixels (height x width), but"
                f" {self.files[0]} is {self.size[0]}x{self.size[1]}: all frames of a"
                " folder must have one size",
            )
        return image


def open_sources(path: pathlib.Path, *, intrinsics: str = "") -> list[Source]:
    """Returns the sources at a path, in natural order of their names.

    Args:
        path: a movie, an image, a folder of images, a folder of movies, or a folder of
            such folders (one level deep). Images are taken in natural order of their
            names (`2.png` before `10.png`); hidden files are ignored.
        intrinsics: of the original frames, see `intrinsics_file`; `learned` if they
            are not needed.

    Raises:
        FileNotFoundError: the path or the intrinsics do not exist.
        ValueError: the path contains no frames, or both images and movies; the first
            frame is unreadable or smaller than `MIN_SIDE`; or the intrinsics do not
            fit the frames.
    """
    return [with_intrinsics(source, intrinsics) for source in _find(path)]


def with_intrinsics(
    source: Source, specification: str, *, required: bool = True
) -> Source:
    """Returns a source with the intrinsics that a user specifies.

    Args:
        source: the original frames.
        specification: see `intrinsics_file`; empty for a file beside the frames.
        required: whether a missing file is an error.

    Raises:
        FileNotFoundError: see `intrinsics_file.resolve`.
        ValueError: see `intrinsics_file.resolve`.
    """
    first = source.files[0]
    candidates = (
        first.with_name(f"{first.stem}_cam.txt"),
        first.with_name("cam.txt"),
        first.parent.parent / "cam.txt",
    )
    if not (required or specification or any(path.is_file() for path in candidates)):
        specification = "learned"
    matrix = intrinsics_file.resolve(
        specification, size=source.size, candidates=candidates, source=str(source.path)
    )
    return dataclasses.replace(source, intrinsics=matrix)


def read_image(path: pathlib.Path) -> np.ndarray:
    """Returns uint8 RGB `[h w 3]`; alpha is dropped, 16 bits become 8.

    Raises:
        DataError: the file is missing or not an image.
    """
    # cv2.imread cannot open all names on all systems, and does not say why it failed.
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise file_content.unreadable(path, error) from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise DataError(
            path,
            f"cannot be read as an image ({content.size} bytes); replace it, or remove"
            " it if the frames around it may be neighbours",
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _find(path: pathlib.Path) -> list[Source]:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; give a folder of images, a video file, a folder of"
            " either, or an image"
        )
    if path.is_file():
        return [_open_file(path)]
    sources = _find_in_folder(path, lambda name: name)
    if not sources:
        for child in _naturally(path.iterdir()):
            if child.is_dir():
                # Movies with equal names in two folders need different names.
                sources += _find_in_folder(
                    child, lambda name, folder=child.name: f"{folder}-{name}"
                )
    if not sources:
        raise ValueError(
            f"no images ({' '.join(IMAGE_SUFFIXES)}) and no videos"
            f" ({' '.join(VIDEO_SUFFIXES)}) in {path} or the folders in it"
        )
    return sources


def _open_file(path: pathlib.Path) -> Source:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return _open_images([path], path.stem)
    try:
        return _open_movie(path, path.stem)
    except ValueError as error:
        if suffix in VIDEO_SUFFIXES:
            raise
        raise ValueError(
            f"{path} is not an image ({' '.join(IMAGE_SUFFIXES)}), and as a video: {error}"
        ) from error


def _find_in_folder(
    folder: pathlib.Path, movie_name: Callable[[str], str]
) -> list[Source]:
    files = [file for file in _naturally(folder.iterdir()) if file.is_file()]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    movies = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if images and movies:
        raise ValueError(
            f"{folder} holds both images ({images[0].name}, ...) and videos"
            f" ({movies[0].name}, ...): give the path of a video, or move one kind away"
        )
    if images:
        return [_open_images(images, folder.resolve().name)]
    return [_open_movie(path, movie_name(path.stem)) for path in movies]


def _naturally(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Returns visible paths sorted by name, with runs of digits as numbers."""

    def key(path: pathlib.Path) -> tuple:
        parts = re.split(r"(\d+)", path.name)
        # Odd parts are digits. The name itself decides between '1.png' and '01.png'.
        parts[1::2] = [int(digits) for digits in parts[1::2]]
        return parts, path.name

    return sorted((path for path in paths if path.name[0] != "."), key=key)


def _open_images(files: Sequence[pathlib.Path], name: str) -> Source:
    height, width = read_image(files[0]).shape[:2]
    return _checked(ImageFolder(name, tuple(files), (height, width), None))


def _open_movie(path: pathlib.Path, name: str) -> Source:
    return _checked(movie.open_movie(path, name=name))


def _checked(source: Source) -> Source:
    if min(source.size) < MIN_SIDE:
        raise ValueError(
            f"{source.files[0]} is {source.size[0]}x{source.size[1]} pixels (height x"
            f" width); each side needs at least {MIN_SIDE}"
        )
    return source
