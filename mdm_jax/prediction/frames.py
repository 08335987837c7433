"""What is predicted on: an image, a folder of images or a video, frame by frame.

A network sees a *view* of each original frame: a window of it, resized to the size that
was trained on. Results are brought back to the original pixels here as well.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from mdm_jax import sources as sources_lib
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.sources import own_video
from mdm_jax.sources.source import Source

FITS = ("crop", "stretch")


class Frame(NamedTuple):
    """A frame as it was recorded, and as the network sees it.

    Attributes:
        original: uint8 `[H W 3]`.
        seen: uint8 `[h w 3]`.
    """

    original: np.ndarray
    seen: np.ndarray


def decode(source: Source, view: View) -> Iterator[Frame]:
    """Yields the frames in order, until they end or the video breaks.

    Raises:
        DataError: an image cannot be read, or is of another size.
    """
    return source.images(apply=lambda image: Frame(image, view.image(image)))


def names(source: Source) -> list[str]:
    """Returns the names of the frames' files: those of the images, or their numbers."""
    try:
        return source.frame_names()
    except ValueError:  # two images have the same name but for the suffix
        return [f"{index:06d}" for index in range(len(source))]


def open_sources(path: str) -> list[Source]:
    """Returns the sources at a path, without intrinsics.

    Args:
        path: an image, a video, a folder of images, of videos, or of such folders.

    Raises:
        FileNotFoundError: no such path.
        ValueError: nothing to read there, a file that is no image or video, or two
            recordings of one name.
    """
    opened = sources_lib.open_sources("video", path, intrinsics="learned")
    first_of: dict[str, pathlib.Path] = {}
    for source in opened:
        file = source.files[0]
        other = first_of.setdefault(source.name, file)
        if other != file:
            raise ValueError(
                f"{other} and {file} would be written to one folder,"
                f" {source.name}: rename one of them"
            )
    return opened


def make_view(
    original: tuple[int, int],
    size: tuple[int, int],
    *,
    fit: str = "crop",
    crop: tuple[float, ...] = (0, 0, 0, 0),
) -> View:
    """Returns how frames of a size are shown to a network.

    Args:
        original: (height, width) of the frames.
        size: (height, width) that the network was trained on.
        fit: `crop` cuts away what training cut away, and keeps the shape of pixels;
            `stretch` shows the whole frame, and what is not square any more is told to
            the network by the intrinsics.
        crop: `config.dataset.crop` of the run, for `crop`.
    """
    if fit == "stretch":
        return View(0, 0, original, (int(size[0]), int(size[1])))
    return view_lib.centred(original, size, tuple(crop or (0, 0, 0, 0)))


def intrinsics_of(
    source: Source, specification: str, *, required: bool
) -> np.ndarray | None:
    """Returns float64 `[3 3]` in original pixels, as `intrinsics_file` explains.

    Args:
        source: whose folder may hold a `cam.txt`.
        specification: of `--intrinsics`; empty for that file.
        required: an error, not None, where there are none.
    """
    return own_video.with_intrinsics(
        source, specification, required=required
    ).intrinsics


def original_intrinsics(view: View, intrinsics: np.ndarray) -> np.ndarray:
    """Returns `[* 3 3]` in original pixels, of intrinsics in pixels of the view."""
    matrix = intrinsics_lib.resize(intrinsics, from_size=view.size, to_size=view.box)
    return np.asarray(intrinsics_lib.crop(matrix, x0=-view.x0, y0=-view.y0))


def original_depth(view: View, depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns float32 `[H W]`: depth at original pixels, 0 outside of the view.

    Interpolated linearly in 1 / depth, which is exact on planes.
    """
    inverse = 1.0 / np.maximum(depth, np.float32(1e-12))
    box = view.box[::-1]
    inverse = cv2.resize(inverse, box, interpolation=cv2.INTER_LINEAR)
    return _placed(view, 1.0 / inverse, size)


def original_nearest(
    view: View, values: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Returns `[H W ...]`: the nearest pixel's value, 0 outside of the view.

    For what must not be mixed: masks, and motion, of which a mean of moving and
    standing would be neither.
    """
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(view.box, view.size, strict=True)
    )
    return _placed(view, values[rows[:, None], columns[None, :]], size)


def _placed(view: View, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if view.box == tuple(size):
        return values
    whole = np.zeros((*size, *values.shape[2:]), values.dtype)
    whole[view.y0 : view.y0 + view.box[0], view.x0 : view.x0 + view.box[1]] = values
    return whole
