"""What stands along the streets: buildings, walls, hedges, trees, poles, parked cars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mdm_jax.synthetic import primitives, streets


@dataclasses.dataclass(frozen=True)
class World:
    """A street with everything in it that does not move.

    Attributes:
        route: the streets.
        boxes: `[n 20]`, parked cars not included.
        rounds: `[n 20]`.
        parked: `[n 3]`, x, z and heading of the parked cars.
        parked_cars: their shapes, labels counting from 1.
    """

    route: streets.Route
    boxes: np.ndarray
    rounds: np.ndarray
    parked: np.ndarray
    parked_cars: tuple[primitives.Car, ...]


def make_world(seed: Sequence[int], *, length: float) -> World:
    """Returns a world whose first `length` metres do not depend on `length`."""
    route = streets.make_route(seed, length=length + 600.0)
    builder = _Builder(route)
    for index, leg in enumerate(route.legs):
        if leg.start > length + 250.0:
            break
        _furnish_leg(builder, np.random.default_rng([*seed, 3, index]), index, leg)
    return World(
        route=route,
        boxes=np.array(builder.boxes),
        rounds=np.array(builder.rounds),
        parked=np.array(builder.parked).reshape(-1, 3),
        parked_cars=tuple(builder.parked_cars),
    )


# A box's ground is looked at in these places, in halves of its width and length.
_ACROSS, _ALONG = (
    grid.reshape(-1, 1)
    for grid in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
)
# Only so many of the newest boxes can be near a new one.
_NEWEST = 150


class _Builder:
    """Collects primitives and refuses those that stand in the way of others."""

    def __init__(self, route):
        self.route = route
        self.boxes, self.rounds, self.parked, self.parked_cars = [], [], [], []
        self._footprints = []  # centre, right, forward, half sizes
        self._centers = np.zeros((0, 2))
        self._reaches = np.zeros(0)

    def try_box(self, leg, x, z, yaw, half_width, half_length, margin=1.0):
        """Reserves ground for a box; False where it is taken."""
        right = np.array([math.cos(yaw), -math.sin(yaw)])
        forward = np.array([math.sin(yaw), math.cos(yaw)])
        points = np.array([x, z]) + (_ACROSS * half_width) * right[None]
        points = points + (_ALONG * half_length) * forward[None]
        if self.route.clearance(points, range(leg - 2, leg + 3)).min() < margin:
            return False
        box = (np.array([x, z]), right, forward, half_width, half_length)
        reach = math.hypot(half_width, half_length)
        offset = self._centers - box[0]
        near = np.sum(offset**2, axis=-1) <= (self._reaches + reach) ** 2
        if any(_overlap(box, self._footprints[i]) for i in np.flatnonzero(near)):
            return False
        self._footprints = [*self._footprints, box][-_NEWEST:]
        self._centers = np.vstack([self._centers, box[0]])[-_NEWEST:]
        self._reaches = np.append(self._reaches, reach)[-_NEWEST:]
        return True

    def box(self, x, base, z, yaw, half_width, height, half_length, taper, look):
        row = [x, base, z, yaw, half_width, height, half_length, taper, *look, 0]
        self.boxes.append(row)

    def round(self, x, centre, z, radius, half_height, roundness, heading, look):
        row = [x, centre, z, radius, half_height, roundness, heading, 0, *look, 0]
        self.rounds.append(row)


def _overlap(a, b):
    offset = b[0] - a[0]
    for axis in (a[1], a[2], b[1], b[2]):
        extent = sum(
            wide * abs(right @ axis) + long * abs(forward @ axis)
            for _, right, forward, wide, long in (a, b)
        )
        if abs(offset @ axis) > extent:
            return False
    return True


def _furnish_leg(builder, rng, index, leg):
    _close_streets(builder, rng, index, leg)
    _park_cars(builder, rng, index, leg)
    for side in (-1, 1):
        _line_side(builder, rng, index, leg, side)
        _plant_side(builder, rng, index, leg, side)


def _close_streets(builder, rng, index, leg):
    """Buildings across the blind ends of streets and behind T-junctions."""
    route = builder.route
    for street in route.side_streets:
        if street.leg == index:
            x, z = street.point(street.length + rng.uniform(8, 14))
            _building(builder, rng, index, leg, x, z, street.heading, 6, 14)
    if leg.is_sharp:
        ahead = leg.radius + leg.half_width + leg.sidewalk + rng.uniform(6.5, 10)
        x, z, _ = route.at(leg.bend_start)
        x, z = x + ahead * math.sin(leg.heading), z + ahead * math.cos(leg.heading)
        _building(builder, rng, index, leg, x, z, leg.heading, 5, rng.uniform(8, 16))


def _building(builder, rng, index, leg, x, z, yaw, half_length, half_width):
    """A building whose forward axis is `yaw`; True if there was room for it."""
    if not builder.try_box(index, x, z, yaw, half_width, half_length):
        return False
    floors = rng.uniform(3, 7) if leg.style == "city" else rng.uniform(1.2, 2.6)
    height = floors * 3.0
    cell = (rng.uniform(1.8, 4.0), rng.uniform(2.7, 3.4))
    look = primitives.look(
        rng,
        primitives.FACADE if rng.random() < 0.85 else primitives.WALL,
        hue=(-0.03, 0.17) if rng.random() < 0.75 else (0.5, 0.7),
        saturation=(0.05, 0.55),
        value=(0.35, 0.9),
        contrast=rng.uniform(0.25, 0.5),
        cell=cell,
    )
    builder.box(x, 0, z, yaw, half_width, height, half_length, 0.0, look)
    if leg.style != "city" or rng.random() < 0.3:
        roof = rng.uniform(1.8, 3.5)
        half = min(half_width, half_length) + 0.3
        turned = half_width < half_length
        look = primitives.look(
            rng,
            primitives.ROOF,
            hue=(-0.05, 0.08),
            saturation=(0.1, 0.6),
            value=(0.2, 0.5),
            contrast=0.35,
        )
        builder.box(
            x,
            height,
            z,
            yaw + (math.pi / 2 if turned else 0.0),
            max(half_width, half_length) + 0.3,
            roof,
            half,
            0.97 * half / roof,
            look,
        )
    return True


def _line_side(builder, rng, index, leg, side):
    """Buildings, with walls, hedges and fences in the gaps."""
    route = builder.route
    edge = leg.half_width + leg.sidewalk
    setback = {"city": (0.2, 2.0), "suburb": (2.5, 9.0), "open": (6.0, 22.0)}[leg.style]
    gap = {"city": (0.0, 3.0), "suburb": (2.0, 9.0), "open": (15.0, 50.0)}[leg.style]
    fence = rng.random() < {"city": 0.15, "suburb": 0.6, "open": 0.5}[leg.style]
    hedge, fence_height = rng.random() < 0.5, rng.uniform(0.7, 2.3)
    s = leg.start + rng.uniform(0, 6)
    while s < leg.end:
        width, depth = rng.uniform(8, 22), rng.uniform(8, 13)
        back = rng.uniform(*setback)
        for shrink in (1.0, 0.6, 0.35):
            half_length = width * shrink / 2
            middle = s + half_length
            x, z, heading = route.at(middle, side * (edge + back + depth / 2))
            if _building(
                builder, rng, index, leg, x, z, heading, half_length, depth / 2
            ):
                break
        s += 2 * half_length
        space = rng.uniform(*gap)
        # A fence also runs in front of houses that stand back.
        start = s - 2 * half_length if back > 2.0 else s
        if fence:
            _fence(
                builder, rng, index, leg, side, start, s + space, hedge, fence_height
            )
        s += space


def _fence(builder, rng, index, leg, side, start, end, hedge, height):
    route = builder.route
    while end - start > 1.5:
        length = min(end - start, 8.0)
        middle = start + length / 2
        lateral = side * (leg.half_width + leg.sidewalk + 0.5)
        x, z, heading = route.at(middle, lateral)
        thickness = 0.4 if hedge else 0.12
        if builder.try_box(index, x, z, heading, thickness, length / 2 - 0.05, 0.9):
            hue, saturation = ((0.2, 0.36), (0.3, 0.7)) if hedge else ((0, 1), (0, 0.4))
            look = primitives.look(
                rng,
                primitives.FOLIAGE if hedge else primitives.WALL,
                hue=hue,
                saturation=saturation,
                value=(0.4, 0.75),
                contrast=0.5,
            )
            builder.box(x, 0, z, heading, thickness, height, length / 2 - 0.05, 0, look)
        start += length


def _plant_side(builder, rng, index, leg, side):
    """Trees and lamp posts at the kerb and behind the sidewalk."""
    route = builder.route
    spacing = {"city": (14, 40), "suburb": (8, 25), "open": (6, 22)}[leg.style]
    s = leg.start + rng.uniform(0, 15)
    while s < leg.end:
        behind = rng.random() < 0.5 and leg.style != "city"
        lateral = leg.half_width + (
            leg.sidewalk + rng.uniform(1.5, 6) if behind else rng.uniform(0.5, 0.9)
        )
        x, z, heading = route.at(s, side * lateral)
        if builder.try_box(index, x, z, heading, 0.25, 0.25, 0.35):
            if rng.random() < 0.6:
                _tree(builder, rng, x, z, heading - side * math.pi / 2)
            else:
                _post(builder, rng, x, z, heading, side)
        s += rng.uniform(*spacing)


def _tree(builder, rng, x, z, heading):
    bark = primitives.look(
        rng,
        primitives.WALL,
        hue=(0.05, 0.1),
        saturation=(0.2, 0.5),
        value=(0.15, 0.4),
        contrast=0.6,
    )
    trunk = rng.uniform(1.6, 3.0)
    radius = rng.uniform(0.12, 0.24)
    builder.round(x, trunk / 2, z, radius, trunk / 2 + 0.5, 0, heading, bark)
    leaves = primitives.look(
        rng,
        primitives.FOLIAGE,
        hue=(0.12, 0.36),
        saturation=(0.3, 0.75),
        value=(0.2, 0.6),
        contrast=0.7,
    )
    for _ in range(rng.integers(1, 4)):
        radius, half_height = rng.uniform(0.9, 1.7), rng.uniform(1.0, 1.8)
        dx, dz = rng.uniform(-0.8, 0.8, 2)
        centre = trunk + half_height * rng.uniform(0.6, 1.1)
        x, z = x + dx, z + dz
        builder.round(x, centre, z, radius, half_height, 1, heading, leaves)


def _post(builder, rng, x, z, heading, side):
    look = primitives.look(
        rng,
        primitives.WALL,
        saturation=(0, 0.3),
        value=(0.2, 0.7),
        contrast=0.5,
    )
    height = rng.uniform(2.4, 7.0)
    radius, seam = rng.uniform(0.06, 0.12), heading - side * math.pi / 2
    builder.round(x, height / 2, z, radius, height / 2, 0, seam, look)
    if height < 4.5:  # a sign
        look = primitives.look(
            rng,
            primitives.WALL,
            saturation=(0.5, 1),
            value=(0.6, 0.95),
            contrast=0.5,
        )
        half = rng.uniform(0.3, 0.55)
        builder.box(x, height - 2 * half, z, heading, half, 2 * half, 0.13, 0, look)


def _park_cars(builder, rng, index, leg):
    """Cars along the kerb, and in front of houses that stand back."""
    route = builder.route
    for side, parking in zip((-1, 1), leg.parking):
        s = leg.start + rng.uniform(4, 14)
        while s < leg.bend_start:
            turn = 0.0 if side > 0 else math.pi
            if parking:
                x, z, heading = route.at(s, side * (leg.half_width - 1.0))
                free = all(abs(street.s - s) > 10 for street in route.side_streets)
            else:
                lateral = leg.half_width + leg.sidewalk + rng.uniform(1.5, 5)
                x, z, heading = route.at(s, side * lateral)
                turn = rng.choice([turn, math.pi / 2, -math.pi / 2])
                turn += rng.normal(0, 0.1)
                free = leg.style != "city" and rng.random() < 0.7
            # Those at the kerb stand on the carriageway, at most 2 m from its edge.
            margin = -2.1 if parking else 0.4
            yaw = heading + turn
            if free and builder.try_box(index, x, z, yaw, 1.0, 2.3, margin):
                builder.parked.append([x, z, yaw])
                builder.parked_cars.append(
                    primitives.make_car(rng, len(builder.parked))
                )
            s += 5.2 + (rng.exponential(6) if parking else rng.uniform(8, 35))
