"""Regions fixed to the camera: the hood, burnt-in text, a player's icons.

Their flow stays zero while the world moves, and their edges stay in place. Both are
needed: the sky and the far end of a straight road have no flow either, a bland road
gives none to be found, and an edge along the motion looks as if it stood still.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mdm_jax.two_view.essential import RelativePose

Array = np.ndarray

# Pairs with less motion say nothing.
_MIN_FLOW = 1.0
# Flow below this share of the median counts as none, and below this many pixels.
_SHARE_OF_MEDIAN, _ZERO = 0.15, 0.4
# A pixel must have had no flow in this share of the pairs, at least so many.
_MIN_PERSISTENCE, _MIN_PAIRS = 0.85, 5
# Above the horizon all may be far: then only rotation, of this many pixels, tells.
_MIN_TURN = 1.5
# Radius around the epipole, relative to the image's width, in which flow is small.
_EPIPOLE = 0.15
# Mean gradient of a static edge, in grey levels per pixel, and how much of it the mean
# of all frames must retain.
_MIN_EDGE, _MIN_RETAINED = 4.0, 0.6
# |cos| between gradient and motion: less is an edge along the motion.
_MIN_ACROSS = 0.5
# Of a region: least share of the image, and of static edges among its pixels.
_MIN_AREA, _MIN_EDGES = 5e-4, 0.02


class Accumulator:
    """Collects evidence from pairs of frames; `mask` gives the regions."""

    def __init__(self, size: tuple[int, int], intrinsics: Float[Array, "3 3"]):
        """Starts without evidence.

        Args:
            size: height and width of the frames.
            intrinsics: pixels.
        """
        self._intrinsics = np.asarray(intrinsics, np.float64)
        height, width = size
        self._x = np.arange(width, dtype=np.float32)[None, :]
        self._y = np.arange(height, dtype=np.float32)[:, None]
        self._still, self._asked, self._across = np.zeros((3, *size), np.float32)
        self._grey, self._edges = np.zeros(size, np.float64), np.zeros(size)
        self._count = 0

    def add(
        self,
        image: UInt8[Array, "h w 3"],
        flow: Float[Array, "h w 2"],
        median_flow: float,
        pose: RelativePose | None,
    ) -> None:
        """Adds one frame and its flow to the next.

        Args:
            image: RGB.
            flow: pixels.
            median_flow: of the trusted flow, pixels.
            pose: later_from_earlier; a pair without one adds nothing.
        """
        if pose is None or median_flow < _MIN_FLOW:
            return
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        gradient = _gradient(grey)
        self._grey += grey
        self._edges += np.hypot(*gradient)
        self._count += 1
        epipole = self._epipole(pose)
        out_x, out_y = self._x - epipole[0], self._y - epipole[1]
        distance = np.hypot(out_x, out_y) + 1e-6
        length = np.hypot(*gradient) + 1e-6
        cosine = (gradient[0] * out_x + gradient[1] * out_y) / (length * distance)
        asked = (distance > _EPIPOLE * grey.shape[1]) & (out_y > 0)
        asked |= self._turn(pose) > _MIN_TURN
        limit = min(_ZERO, _SHARE_OF_MEDIAN * median_flow)
        still = np.hypot(flow[..., 0], flow[..., 1]) < max(limit, 0.2)
        self._asked += asked
        self._still += still & asked
        self._across += np.abs(cosine) > _MIN_ACROSS

    def mask(self) -> Bool[Array, "h w"]:
        """Returns the pixels that see no world; none without enough evidence."""
        persistent = self._still >= _MIN_PERSISTENCE * self._asked
        persistent &= self._asked >= _MIN_PAIRS
        if not persistent.any():
            return persistent
        retained = np.hypot(*_gradient((self._grey / self._count).astype(np.float32)))
        edges = self._edges / self._count
        static_edge = (
            persistent
            & (edges > _MIN_EDGE)
            & (retained > _MIN_RETAINED * edges)
            & (self._across > 0.5 * self._count)
        )
        kernel = np.ones((5, 5), np.uint8)
        closed = cv2.morphologyEx(persistent.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
        labels = np.asarray(labels, np.int32)
        num_edges = np.bincount(labels[static_edge], minlength=count)
        area = stats[:, cv2.CC_STAT_AREA]
        kept = (area > _MIN_AREA * labels.size) & (num_edges > _MIN_EDGES * area)
        kept[0] = False
        # Flow is smooth: around a region it is drawn towards zero.
        return np.asarray(cv2.dilate(kept[labels].astype(np.uint8), kernel)) > 0

    def _epipole(self, pose: RelativePose) -> Array:
        """Returns the pixel that motion radiates from, far outside if sideways."""
        inverse = pose.rotation.T @ pose.direction
        z = np.copysign(max(abs(inverse[2]), 1e-3), inverse[2])
        return self._intrinsics[:2, :2] @ inverse[:2] / z + self._intrinsics[:2, 2]

    def _turn(self, pose: RelativePose) -> Array:
        """Returns the length of the flow of points infinitely far away, pixels."""
        matrix = self._intrinsics @ pose.rotation @ np.linalg.inv(self._intrinsics)
        x, y, z = (row[0] * self._x + row[1] * self._y + row[2] for row in matrix)
        return np.hypot(x / z - self._x, y / z - self._y)


def _gradient(grey: Array) -> tuple[Array, Array]:
    """Returns central differences in x and y, grey levels per pixel."""
    return (
        cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
