"""A view: a window of the original images, resized. Everything goes through it and back.

Images, intrinsics, points, depth and labels follow one half-pixel rule,
`x' = (x - x0 + 0.5) s - 0.5`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import points as points_lib

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class View:
    """A window of an original image, resized.

    Attributes:
        x0: leftmost column of the window.
        y0: its topmost row.
        box: its (height, width) in the original image.
        size: (height, width) after resizing.
        original: (height, width) of the original image.

    Raises:
        ValueError: at construction, for a window that is empty or leaves the image.
    """

    x0: int
    y0: int
    box: Size
    size: Size
    original: Size

    def __post_init__(self):
        (height, width), (rows, columns) = self.box, self.original
        fits = 0 <= self.y0 < self.y0 + height <= rows
        if not (fits and 0 <= self.x0 < self.x0 + width <= columns):
            raise ValueError(
                f"a window of {height}x{width} pixels (height x width) at (x, y) ="
                f" ({self.x0}, {self.y0}) does not fit in an image of {rows}x{columns}"
            )
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(
                f"size expects (height, width) in pixels, got {tuple(self.size)}"
            )

    def image(self, image: np.ndarray) -> np.ndarray:
        """Returns an image `[h w]` or `[h w c]` seen through the view, antialiased."""
        return resize_image(self.window(image), self.size)

    def labels(self, values: np.ndarray) -> np.ndarray:
        """Returns values `[... h w]` of the nearest pixels, for what must not be mixed.

        A mean of two labels, or of the depth of two surfaces, would be neither.
        """
        window = values[..., self.y0 : self.y0 + self.box[0], :]
        window = window[..., self.x0 : self.x0 + self.box[1]]
        if self.size == self.box:
            return window
        rows, columns = _nearest(self.size, self.box)
        return window[..., rows[:, None], columns[None, :]]

    def intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """Returns the intrinsics `[* 3 3]` of the view."""
        matrix = intrinsics_lib.crop(intrinsics, x0=self.x0, y0=self.y0)
        if self.size == self.box:
            return matrix
        return intrinsics_lib.resize(matrix, from_size=self.box, to_size=self.size)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Returns the points `[n 3]` of a list that lie in the view, in its pixels."""
        return points_lib.inside(self.pixels(points), self.size)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Returns float32 `[n 3]`: points (x, y, depth) in pixels of the view."""
        scale = np.array([self.size[1] / self.box[1], self.size[0] / self.box[0]])
        origin = np.array([self.x0, self.y0])
        pixels = (points[:, :2] - origin[None, :] + 0.5) * scale[None, :] - 0.5
        return np.column_stack([pixels, points[:, 2]]).astype(np.float32)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Returns float32 `[h w]`: the depth of the nearest point at a pixel, else 0."""
        return points_lib.depth_map(self.points(points), self.size)

    def original_intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """Returns `[* 3 3]` in original pixels, of intrinsics of the view."""
        matrix = intrinsics_lib.resize(
            intrinsics, from_size=self.size, to_size=self.box
        )
        return intrinsics_lib.crop(matrix, x0=-self.x0, y0=-self.y0)

    def original_depth(self, depth: np.ndarray) -> np.ndarray:
        """Returns float32 `[H W]`: depth at original pixels, 0 outside of the view.

        Interpolated linearly in 1 / depth, which is exact on planes.
        """
        inverse = 1.0 / np.maximum(depth, np.float32(1e-12))
        box = self.box[::-1]
        return self._placed(
            1.0 / cv2.resize(inverse, box, interpolation=cv2.INTER_LINEAR)
        )

    def original_nearest(self, values: np.ndarray) -> np.ndarray:
        """Returns `[H W ...]`: values of the nearest pixels, 0 outside of the view.

        For what must not be mixed: masks, and motion, where the mean of a moving and a
        static pixel would be neither.
        """
        rows, columns = _nearest(self.box, self.size)
        return self._placed(values[rows[:, None], columns[None, :]])

    def original_colors(self, colors: np.ndarray, *, fill: int) -> np.ndarray:
        """Returns uint8 `[H W 3]`, interpolated linearly; `fill` outside of the view."""
        box = self.box[::-1]
        colors = cv2.resize(colors, box, interpolation=cv2.INTER_LINEAR)
        return self._placed(colors, fill=fill)

    def window(self, image: np.ndarray) -> np.ndarray:
        """Returns the window of an image `[h w ...]`, before resizing."""
        return image[self.y0 : self.y0 + self.box[0], self.x0 : self.x0 + self.box[1]]

    def _placed(self, values: np.ndarray, *, fill: int = 0) -> np.ndarray:
        if self.box == self.original:
            return values
        image = np.full((*self.original, *values.shape[2:]), fill, values.dtype)
        self.window(image)[:] = values
        return image


def centred(original: Size, size: Sequence[int], crop: Sequence[float] = ()) -> View:
    """Returns the view of a size that keeps the shape of pixels.

    Args:
        original: (height, width) of the images.
        size: (height, width) of the view.
        crop: fractions (top, bottom, left, right) to cut away first; the rest is
            cropped about its centre to the aspect ratio of `size`.

    Raises:
        ValueError: the crop leaves nothing, or the size is not positive.
    """
    whole = stretched(original, size, crop)
    rows, columns = whole.box
    height = min(rows, max(1, round(columns * size[0] / size[1])))
    width = min(columns, max(1, round(rows * size[1] / size[0])))
    return dataclasses.replace(
        whole,
        x0=whole.x0 + (columns - width) // 2,
        y0=whole.y0 + (rows - height) // 2,
        box=(height, width),
    )


def stretched(original: Size, size: Sequence[int], crop: Sequence[float] = ()) -> View:
    """Returns the view of a size that shows all that a crop leaves.

    Its pixels are not square unless the aspect ratios are equal; the intrinsics account
    for that.

    Args:
        original: (height, width) of the images.
        size: (height, width) of the view.
        crop: fractions (top, bottom, left, right) to cut away first.

    Raises:
        ValueError: the crop leaves nothing, or the size is not positive.
    """
    crop = tuple(crop) or (0, 0, 0, 0)
    if len(crop) != 4 or min(crop) < 0 or crop[0] + crop[1] >= 1 or sum(crop[2:]) >= 1:
        raise ValueError(
            "crop holds the fractions to cut away at the (top, bottom, left, right),"
            f" which must leave something, got {crop}"
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size expects (height, width) in pixels, got {tuple(size)}")
    top, bottom, left, right = crop
    y0, y1 = round(top * original[0]), original[0] - round(bottom * original[0])
    x0, x1 = round(left * original[1]), original[1] - round(right * original[1])
    return View(x0, y0, (y1 - y0, x1 - x0), (int(size[0]), int(size[1])), original)


# How frames are brought to a size, see `config.dataset.fit`.
FITS = {"crop": centred, "stretch": stretched}


def resize_image(image: np.ndarray, size: Size) -> np.ndarray:
    """Returns an image `[h w]` or `[h w c]` at a size (height, width), antialiased.

    Averaged over areas where it shrinks, interpolated linearly where it grows.
    """
    # INTER_AREA averages only if no side grows, so the sides that shrink come first.
    shrunk = tuple(np.minimum(image.shape[:2], size).tolist())
    if shrunk != image.shape[:2]:
        image = cv2.resize(image, shrunk[::-1], interpolation=cv2.INTER_AREA)
    if shrunk != tuple(size):
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return image


def _nearest(to_size: Size, from_size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and columns of the pixels nearest to those of another size."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
        for new, old in zip(to_size, from_size, strict=True)
    )
    return rows, columns
