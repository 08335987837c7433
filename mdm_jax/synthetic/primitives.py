"""The two primitives of synthetic worlds, and the cars built from them.

A primitive is a row of one of two tables.

*Box* columns: x, base height, z, yaw, half width, height, half length, taper, then
appearance. Its axes are right, up and forward, with the origin in the middle of the
base; the half length shrinks by `taper` metres per metre of height, which makes roofs
and windscreens.

*Round* columns: x, centre height, z, radius, half height, roundness, heading, unused,
then appearance: a vertical ellipsoid (roundness 1) or cylinder (0). The seam of the
texture is opposite to the heading.

*Appearance*: material, seed, colour A (3), colour B (3), contrast, cell width, cell
height, label.
"""

from __future__ import annotations

import colorsys
import dataclasses
import math
from typing import NamedTuple

import numpy as np

# Materials, which `textures` paints.
FACADE, WALL, FOLIAGE, CAR_BODY, CAR_CABIN, ROOF = range(6)
LABEL = 19  # the last column


class Palette(NamedTuple):
    """A material, with the ranges of hue, saturation and value of its two colours."""

    material: int
    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]
    contrast: float


@dataclasses.dataclass(frozen=True)
class Car:
    """The `boxes [2 20]` of a car in its own frame, and its label, 1 + its index."""

    boxes: np.ndarray
    label: int


def make_car(rng: np.random.Generator, label: int) -> Car:
    """Returns a car of about 4.2 x 1.8 x 1.5 m: a body and a tapered cabin."""
    length, width = rng.uniform(3.9, 4.6), rng.uniform(1.7, 1.9)
    body, cabin = rng.uniform(0.8, 0.95), rng.uniform(0.5, 0.62)
    shift, share, taper = rng.uniform(-0.45, -0.1), rng.uniform(0.52, 0.62), 0.75
    if rng.random() < 0.2:  # a van
        body, cabin, shift, share, taper = 1.05, rng.uniform(0.75, 1.0), -0.3, 0.8, 0.3
    paint_a = colour(rng, saturation=(0.0, 0.9), value=(0.25, 0.95))
    paint_b = colour(rng, saturation=(0.0, 0.9), value=(0.2, 0.95))
    paint = [rng.integers(1, 1 << 16), *paint_a, *paint_b, rng.uniform(0.4, 0.6)]
    rows = [
        [0, 0, 0, 0, width / 2, body, length / 2, 0.06]
        + [CAR_BODY, *paint, length, body, label],
        [0, body, shift, 0, width / 2 - 0.1, cabin, share * length / 2, taper]
        + [CAR_CABIN, *paint, share * length, cabin, label],
    ]
    return Car(np.array(rows, np.float64), label)


def place_car(car: Car, x: float, z: float, heading: float) -> np.ndarray:
    """Returns the boxes `[2 20]` of a car in the world."""
    boxes = car.boxes.copy()
    boxes[:, 0] = x + car.boxes[:, 2] * math.sin(heading)
    boxes[:, 2] = z + car.boxes[:, 2] * math.cos(heading)
    boxes[:, 3] = heading
    return boxes


def colour(rng, *, saturation, value, hue=(0.0, 1.0)):
    """Returns a random RGB colour, uniform within ranges of hue, saturation, value."""
    hsv = rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    return colorsys.hsv_to_rgb(*hsv)


def look(rng: np.random.Generator, palette: Palette, *, cell=(3.0, 3.0)) -> list:
    """Returns a random appearance: all of its columns except the label."""
    material, hue, saturation, value, contrast = palette
    one = colour(rng, hue=hue, saturation=saturation, value=value)
    two = colour(rng, hue=hue, saturation=saturation, value=value)
    return [material, rng.integers(1, 1 << 16), *one, *two, contrast, *cell]
