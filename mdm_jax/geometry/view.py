"""A view: the window that is kept of original images, and the size it is resized to.

Images, intrinsics, points and labels go through one view together, by the half-pixel
rule: `x' = (x - x0 + 0.5) s - 0.5`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.input_pipeline import transforms
from mdm_jax.sources import projection


@dataclasses.dataclass(frozen=True)
class View:
    """A window of the original image, resized.

    Attributes:
        x0: leftmost column of the window.
        y0: its topmost row.
        box: its (height, width) in the original image.
        size: (height, width) after resizing.
    """

    x0: int
    y0: int
    box: tuple[int, int]
    size: tuple[int, int]

    def image(self, image: np.ndarray) -> np.ndarray:
        """Returns an image `[h w]` or `[h w c]` seen through the view, antialiased."""
        return transforms.resize_image(self._window(image), self.size)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Returns labels `[h w]` seen through the view: the nearest pixel's."""
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(np.int64)
            for new, old in zip(self.size, self.box, strict=True)
        )
        return self._window(labels)[rows[:, None], columns[None, :]]

    def intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """Returns `[3 3]` of the view."""
        matrix = intrinsics_lib.crop(intrinsics, x0=self.x0, y0=self.y0)
        return np.asarray(
            intrinsics_lib.resize(matrix, from_size=self.box, to_size=self.size)
        )

    def points(self, points: np.ndarray) -> np.ndarray:
        """Returns the points `[n 3]` of a list that lie in the view, in its pixels."""
        return projection.inside(self.pixels(points), self.size)

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Returns float32 `[n 3]`: points (x, y, depth) in pixels of the view."""
        scale = np.array([self.size[1] / self.box[1], self.size[0] / self.box[0]])
        origin = np.array([self.x0, self.y0])
        pixels = (points[:, :2] - origin[None, :] + 0.5) * scale[None, :] - 0.5
        return np.column_stack([pixels, points[:, 2]]).astype(np.float32)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Returns float32 `[h w]`: depth where points fall, nearest first, else 0."""
        return projection.depth_map(self.points(points), self.size)

    def original_intrinsics(self, intrinsics: np.ndarray) -> np.ndarray:
        """Returns `[* 3 3]` in original pixels, given those of the view."""
        matrix = intrinsics_lib.resize(
            intrinsics, from_size=self.size, to_size=self.box
        )
        return np.asarray(intrinsics_lib.crop(matrix, x0=-self.x0, y0=-self.y0))

    def original_depth(self, depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Returns float32 `[H W]`: depth at original pixels, 0 outside of the window.

        Interpolated linearly in 1 / depth, which is exact on planes.

        Args:
            depth: `[h w]` of the view.
            size: (height, width) of the original.
        """
        inverse = 1.0 / np.maximum(depth, np.float32(1e-12))
        box = self.box[::-1]
        inverse = cv2.resize(inverse, box, interpolation=cv2.INTER_LINEAR)
        return self._placed(1.0 / inverse, size)

    def original_nearest(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Returns `[H W ...]`: the value of the nearest pixel, 0 outside of the window.

        For values that must not be averaged: masks, and motion, of which a mean of
        moving and static would be neither.
        """
        rows, columns = (
            np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
            for new, old in zip(self.box, self.size, strict=True)
        )
        return self._placed(values[rows[:, None], columns[None, :]], size)

    def original_colors(
        self, colors: np.ndarray, size: tuple[int, int], *, fill: int
    ) -> np.ndarray:
        """Returns uint8 `[H W 3]`, interpolated linearly; `fill` outside of the window."""
        box = self.box[::-1]
        colors = cv2.resize(colors, box, interpolation=cv2.INTER_LINEAR)
        return self._placed(colors, size, fill=fill)

    def _placed(
        self, values: np.ndarray, size: tuple[int, int], *, fill: int = 0
    ) -> np.ndarray:
        if self.box == tuple(size):
            return values
        original = np.full((*size, *values.shape[2:]), fill, values.dtype)
        self._window(original)[:] = values
        return original

    def _window(self, array: np.ndarray) -> np.ndarray:
        return array[self.y0 : self.y0 + self.box[0], self.x0 : self.x0 + self.box[1]]


def stretched(original: tuple[int, int], size: tuple[int, int]) -> View:
    """Returns the view that shows all of an image; pixels may not stay square."""
    return View(0, 0, original, (int(size[0]), int(size[1])))


def centred(
    original: tuple[int, int], size: tuple[int, int], crop: Sequence[float]
) -> View:
    """Returns the view of a size that keeps the shape of pixels.

    Args:
        original: (height, width) of the images.
        size: (height, width) wanted.
        crop: fractions (top, bottom, left, right) to cut away first; what remains is
            cut about its centre to the aspect ratio of `size`.

    Raises:
        ValueError: the crop leaves nothing, or the size is not positive.
    """
    if len(crop) != 4 or min(crop) < 0 or crop[0] + crop[1] >= 1 or sum(crop[2:]) >= 1:
        raise ValueError(
            "crop holds the fractions to cut away at the (top, bottom, left, right),"
            f" which must leave something, got {tuple(crop)}"
        )
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"size is (height, width) in pixels, got {tuple(size)}")
    top, bottom, left, right = crop
    y0, y1 = round(top * original[0]), original[0] - round(bottom * original[0])
    x0, x1 = round(left * original[1]), original[1] - round(right * original[1])
    height = min(y1 - y0, max(1, round((x1 - x0) * size[0] / size[1])))
    width = min(x1 - x0, max(1, round((y1 - y0) * size[1] / size[0])))
    y0 += (y1 - y0 - height) // 2
    x0 += (x1 - x0 - width) // 2
    return View(x0, y0, (height, width), (int(size[0]), int(size[1])))
