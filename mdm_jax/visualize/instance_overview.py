"""A video of annotated frames: each object in its own colour, with its number."""

from __future__ import annotations

import pathlib

import cv2
import numpy as np
from jaxtyping import UInt8

from mdm_jax.files import image_file
from mdm_jax.masks import mask_set
from mdm_jax.sources.source import Source
from mdm_jax.visualize import video

FILE = "overview.webm"
_MAX_WIDTH = 1024
_FRAMES_PER_SECOND = 10.0
_OPACITY = 0.55


def write(folder: pathlib.Path, source: Source) -> None:
    """Writes the overview of an annotated clip next to its label maps, if it is missing.

    Args:
        folder: of the clip, see `annotation.clip_folder`.
        source: its frames.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / FILE
    if path.exists():
        return
    maps = folder / mask_set.LABEL_FOLDER
    names = source.counted(len(list(maps.iterdir()))).frame_names()
    with video.VideoWriter(path, frames_per_second=_FRAMES_PER_SECOND) as film:
        for name, image in zip(names, source.images()):
            labels = image_file.read_labels(maps / f"{name}.png")
            film.write(draw(image, labels))


def draw(
    image: UInt8[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Returns the frame with coloured objects and their numbers, of even size.

    A number has the same colour in every frame and video.
    """
    factor = min(1.0, _MAX_WIDTH / image.shape[1])
    size = tuple(2 * max(1, round(side * factor / 2)) for side in image.shape[1::-1])
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    resized = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    labels = np.asarray(resized, np.uint8)
    picture = image.copy()
    inside = labels > 0
    colours = _palette()[labels[inside]]
    picture[inside] = np.rint(
        (1 - _OPACITY) * image[inside] + _OPACITY * colours
    ).astype(np.uint8)
    for label in np.unique(labels[inside]).tolist():
        rows, columns = np.nonzero(labels == label)
        place = (int(np.median(columns)) - 8, int(np.median(rows)) + 5)
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture,
                str(label),
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                colour,
                thickness,
                cv2.LINE_AA,
            )
    return picture


def _palette() -> UInt8[np.ndarray, "256 3"]:
    """Returns a strong colour for each label; neighbours differ much in hue."""
    hue = (np.arange(256) * 0.61803399 % 1 * 180).astype(np.uint8)
    hsv = np.stack([hue, np.full(256, 220, np.uint8), np.full(256, 255, np.uint8)], -1)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
