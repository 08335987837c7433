"""Masks of moving objects from two-view geometry, without a segmentation network.

Pixels whose flow contradicts the rigid motion of the camera are moving (`two_view.moving`).
A region of them is an object if it is large and compact and moves relative to both the
previous and the next frame; `linking.Options.min_length` then drops short tracks. Vehicles
that move at the camera's velocity, or that the camera overtakes along the epipolar lines
of the street, agree with the camera's motion and get no mask.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import cv2
import numpy as np
from absl import logging
from jaxtyping import Bool, Float

from mdm_jax.flow.video_frame import Frame
from mdm_jax.geometry import view as view_lib
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances
from mdm_jax.sources.source import Source
from mdm_jax.two_view import drive_geometry, moving

Array = np.ndarray

_WIDTH = 640  # Wider frames are reduced to it.
_SURVEYED = 24  # pairs
# Pixels at _WIDTH: two neighbours agree within this distance, and gaps up to it close.
_TOLERANCE = 9
# Shares of the image and of the bounding box. Smaller or thinner regions are mostly wrong
# flow on shadows, reflections or bare road.
_MIN_SHARE, _MIN_EXTENT = 0.003, 0.35


class MovingObjects:
    """A mask source for the frames of one video, in order of time."""

    def __init__(self, source: Source):
        self._source = source
        self._next = 0
        self._regions = self._moving()

    def __call__(self, frame: Frame) -> Instances:
        """Returns the moving objects of a frame; classes are unknown.

        Raises:
            ValueError: an earlier frame than that of the last call is asked for.
        """
        if frame.index < self._next:
            raise ValueError(
                f"moving objects expect frames in order of time, got {frame.index} after"
                f" {self._next - 1}"
            )
        skipped, self._next = frame.index - self._next, frame.index + 1
        regions = next(itertools.islice(self._regions, skipped, None))
        height, width = frame.image.shape[:2]
        masks = [
            cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0
            for mask in objects(regions).astype(np.uint8)
        ]
        return instances.create(np.array(masks, bool).reshape(-1, height, width))

    def _moving(self) -> Iterator[Array]:
        source = self._source
        factor = min(1.0, _WIDTH / source.size[1])
        size = round(source.size[0] * factor), round(source.size[1] * factor)
        if len(source) < 2:
            return iter([np.zeros(size, bool)])

        def images() -> Iterator[Array]:
            return source.images(apply=lambda image: view_lib.resize_image(image, size))

        guess = drive_geometry.first_intrinsics(source, size)
        starts = np.linspace(0, max(len(source) - 2, 0), _SURVEYED).astype(int)
        chosen = set(starts.tolist())
        pairs = itertools.pairwise(images())
        survey = drive_geometry.survey(
            (pair for index, pair in enumerate(pairs) if index in chosen), guess
        )
        intrinsics = guess if source.intrinsics is not None else survey.refine(guess)
        logging.info(
            "%s: moving objects at %d x %d, focal length %.0f px",
            source.name,
            *size[::-1],
            intrinsics[0, 0],
        )
        return agreed(images(), intrinsics, survey.usable)


def agreed(
    frames: Iterator[Array], intrinsics: Float[Array, "3 3"], usable: Bool[Array, "h w"]
) -> Iterator[Bool[Array, "h w"]]:
    """Yields for each frame the pixels that move by the geometry with both neighbours.

    The first and the last frame have one neighbour only.

    Args:
        frames: uint8 RGB `[h w 3]`, at least two, in order of time.
        intrinsics: pixels of the frames.
        usable: pixels that see the world, see `drive_geometry.survey`.
    """
    kernel = np.ones((_TOLERANCE, _TOLERANCE), np.uint8)
    previous = None
    for pair in drive_geometry.neighbours(frames, intrinsics, usable=usable):
        moves = pair.ahead.motion == moving.MOVES
        if previous is not None:
            moves &= cv2.dilate(previous, kernel) > 0
        yield moves
        previous = (pair.behind.motion == moving.MOVES).astype(np.uint8)
    if previous is not None:
        yield previous > 0


def objects(moves: Bool[Array, "h w"]) -> Bool[Array, "k h w"]:
    """Returns the large and compact regions of a mask, with small gaps closed."""
    kernel = np.ones((_TOLERANCE, _TOLERANCE), np.uint8)
    closed = cv2.morphologyEx(moves.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    area = np.bincount(labels[moves], minlength=count)
    box = stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT]
    chosen = (area >= _MIN_SHARE * moves.size) & (area >= _MIN_EXTENT * box)
    chosen[0] = False
    return labels == np.flatnonzero(chosen)[:, None, None]
