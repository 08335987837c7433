"""A street of boxes that move over a textured ground, with exact flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest

# Left, top, width, height; steps in x and y: in pixels, and per frame. The first
# passes over the second, the last leaves the image.
_BOXES = (
    (10, 60, 40, 30, 3, 0),
    (60, 66, 30, 20, 0, 0),
    (120, 20, 24, 22, -2, 1),
    (175, 70, 36, 24, 4, 0),
)
_PAN = 2  # pixels per frame


@dataclasses.dataclass(frozen=True, eq=False)
class Street:
    """Frames, true labels and flow; `flow(one, other)` is a flow source."""

    images: np.ndarray
    labels: np.ndarray
    flow: Callable


@pytest.fixture(scope="session")
def street() -> Street:
    """Eight frames of 96 x 208."""
    rng = np.random.default_rng(0)
    count, height, width = 8, 96, 208

    def texture(size, seed_rng):
        noise = seed_rng.integers(0, 255, (*size, 3)).astype(np.uint8)
        return cv2.GaussianBlur(noise, (5, 5), 1.2)

    ground = texture((height, width + _PAN * count), rng)
    skins = [texture((box[3], box[2]), rng) for box in _BOXES]
    images = np.zeros((count, height, width, 3), np.uint8)
    labels = np.zeros((count, height, width), np.uint8)
    for i in range(count):
        images[i] = ground[:, _PAN * i : _PAN * i + width]
        # The first box is painted last: it is in front.
        for number in range(len(_BOXES), 0, -1):
            x, y, w, h, dx, dy = _BOXES[number - 1]
            x, y = x + dx * i, y + dy * i
            end = min(x + w, width)
            images[i, y : y + h, x:end] = skins[number - 1][:, : end - x]
            labels[i, y : y + h, x:end] = number
    steps = np.array([(-_PAN, 0), *(box[4:] for box in _BOXES)], np.float32)

    def flow(one, other):
        sign = 1 if other.index > one.index else -1
        return sign * steps[labels[one.index]]

    return Street(images, labels, flow)
