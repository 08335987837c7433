"""What is predicted on: an image, a folder of images or a video, frame by frame.

A network sees a *view* of each original frame: a window of it, resized to the size that
was trained on. Results are brought back to the original pixels here as well.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from absl import logging

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.sources import footage as footage_lib
from mdm_jax.sources import own_video

FITS = ("crop", "stretch")


class Frame(NamedTuple):
    """A frame as it was recorded, and as the network sees it.

    Attributes:
        original: uint8 `[H W 3]`.
        seen: uint8 `[h w 3]`.
    """

    original: np.ndarray
    seen: np.ndarray


@dataclasses.dataclass(frozen=True)
class Source:
    """Footage that may be a single image, with what its frames are called.

    Attributes:
        footage: to be decoded.
        frames_per_second: of a video; None where unknown.
    """

    footage: footage_lib.Footage
    frames_per_second: float | None

    def frame_name(self, index: int) -> str:
        """Returns the name of a frame's files: that of its image, or its number."""
        if self.is_video or not self._stems_differ:
            return f"{index:06d}"
        return self.footage.files[index].stem

    @functools.cached_property
    def _stems_differ(self) -> bool:
        files = self.footage.files
        return len({file.stem for file in files}) == len(files)

    @property
    def is_video(self) -> bool:
        """Whether the frames are in one video file."""
        suffix = self.footage.files[0].suffix.lower()
        return suffix in footage_lib.VIDEO_SUFFIXES

    def decode(self, view: View) -> Iterator[Frame]:
        """Yields the frames in order, until they end or the video breaks.

        Raises:
            ValueError: an image cannot be read, or is of another size; names the file.
        """

        def see(original: np.ndarray) -> Frame:
            return Frame(original, view.image(original))

        # `decode` is typed for arrays; it hands on whatever `use` returns.
        yield from self.footage.decode(see)  # pyright: ignore


def open_sources(path: str) -> list[Source]:
    """Returns what can be read at a path.

    Args:
        path: an image, a video, a folder of images, of videos, or of such folders.

    Raises:
        FileNotFoundError: no such path.
        ValueError: nothing to read there, a file that is no image or video, or two
            recordings of one name.
    """
    place = pathlib.Path(path).expanduser()
    if not place.exists():
        raise FileNotFoundError(
            f"--input={path} does not exist; give an image, a video, or a folder of"
            " images or videos"
        )
    single = _single_image(place)
    if single is not None:
        return [Source(_one_image(single), None)]
    if place.is_file() and place.suffix.lower() not in footage_lib.VIDEO_SUFFIXES:
        raise ValueError(
            f"--input={path} is no image ({' '.join(footage_lib.IMAGE_SUFFIXES)}) and"
            f" no video ({' '.join(footage_lib.VIDEO_SUFFIXES)})"
        )
    found = [Source(one, None) for one in footage_lib.find(place)]
    first_of: dict[str, pathlib.Path] = {}
    for one in found:
        file = one.footage.files[0]
        other = first_of.setdefault(one.footage.name, file)
        if other != file:
            raise ValueError(
                f"{other} and {file} would be written to one folder,"
                f" {one.footage.name}: rename one of them"
            )
    return [
        dataclasses.replace(one, frames_per_second=_rate(one.footage.files[0]))
        if one.is_video
        else one
        for one in found
    ]


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
    first = source.footage.files[0]
    candidates = (
        first.with_name(f"{first.stem}_cam.txt"),
        first.with_name("cam.txt"),
        first.parent.parent / "cam.txt",
    )
    if not (required or specification or any(c.is_file() for c in candidates)):
        return None
    return own_video.original_intrinsics(source.footage, specification)


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


def _single_image(place: pathlib.Path) -> pathlib.Path | None:
    """Returns the image at a path that holds just one, else None."""
    suffixes = footage_lib.IMAGE_SUFFIXES
    if place.is_file():
        return place if place.suffix.lower() in suffixes else None
    files = [f for f in place.iterdir() if not f.name.startswith(".")]
    images = [f for f in files if f.is_file() and f.suffix.lower() in suffixes]
    others = [f for f in files if f.suffix.lower() in footage_lib.VIDEO_SUFFIXES]
    return images[0] if len(images) == 1 and not others else None


def _one_image(path: pathlib.Path) -> footage_lib.Footage:
    image = footage_lib.read_image(path)
    size = (image.shape[0], image.shape[1])
    return footage_lib.Footage(
        path.stem, (path,), size, 1, lambda use: iter([use(image)])
    )


def _rate(path: pathlib.Path) -> float | None:
    capture = cv2.VideoCapture(str(path))
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    capture.release()
    if not 0.1 < rate < 1000:
        logging.warning("%s does not say how many frames a second it has", path)
        return None
    return rate
