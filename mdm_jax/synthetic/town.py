"""The static objects along the streets: buildings, fences, trees, poles, parked cars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mdm_jax.synthetic import primitives, streets

_BARK = primitives.Palette(primitives.WALL, (0.05, 0.1), (0.2, 0.5), (0.15, 0.4), 0.6)
_LEAVES = primitives.Palette(
    primitives.FOLIAGE, (0.12, 0.36), (0.3, 0.75), (0.2, 0.6), 0.7
)
_HEDGE = primitives.Palette(
    primitives.FOLIAGE, (0.2, 0.36), (0.3, 0.7), (0.4, 0.75), 0.5
)
_FENCE = primitives.Palette(primitives.WALL, (0, 1), (0, 0.4), (0.4, 0.75), 0.5)
_POST = primitives.Palette(primitives.WALL, (0, 1), (0, 0.3), (0.2, 0.7), 0.5)
_SIGN = primitives.Palette(primitives.WALL, (0, 1), (0.5, 1), (0.6, 0.95), 0.5)
_ROOF = primitives.Palette(primitives.ROOF, (-0.05, 0.08), (0.1, 0.6), (0.2, 0.5), 0.35)

# Metres between street and buildings, between buildings, and between trees.
_SETBACK = {"city": (0.2, 2.0), "suburb": (2.5, 9.0), "open": (6.0, 22.0)}
_GAP = {"city": (0.0, 3.0), "suburb": (2.0, 9.0), "open": (15.0, 50.0)}
_SPACING = {"city": (14, 40), "suburb": (8, 25), "open": (6, 22)}
_FENCE_PROBABILITY = {"city": 0.15, "suburb": 0.6, "open": 0.5}

# Where the ground under a box is checked, in units of its half width and half length.
_ACROSS, _ALONG = (
    grid.reshape(-1, 1)
    for grid in np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
)
# Only the most recent boxes can be near a new one.
_NEWEST = 150


@dataclasses.dataclass(frozen=True)
class World:
    """The streets and all static objects.

    Attributes:
        route: the streets.
        boxes: `[n 20]`, without the parked cars.
        rounds: `[n 20]`.
        parked: `[n 3]`, x, z and heading of the parked cars.
        parked_cars: their shapes, with labels from 1.
    """

    route: streets.Route
    boxes: np.ndarray
    rounds: np.ndarray
    parked: np.ndarray
    parked_cars: tuple[primitives.Car, ...]


def make_world(seed: Sequence[int], *, length: float) -> World:
    """Returns a world whose first `length` metres do not depend on `length`."""
    route = streets.make_route(seed, length=length + 600.0)
    site = _Site(route)
    for index, leg in enumerate(route.legs):
        if leg.start > length + 250.0:
            break
        builder = _LegBuilder(site, np.random.default_rng([*seed, 3, index]), index)
        builder.close_streets()
        builder.park_cars()
        for side in (-1, 1):
            builder.line_side(side)
            builder.plant_side(side)
    return World(
        route=route,
        boxes=np.array(site.boxes),
        rounds=np.array(site.rounds),
        parked=np.array(site.parked).reshape(-1, 3),
        parked_cars=tuple(site.parked_cars),
    )


class _Site:
    """Collects the primitives and keeps track of the ground that they occupy."""

    def __init__(self, route):
        self.route = route
        self.boxes, self.rounds, self.parked, self.parked_cars = [], [], [], []
        self._footprints = []  # centre, right, forward, half sizes
        self._centers = np.zeros((0, 2))
        self._reaches = np.zeros(0)

    def reserve(self, leg, place, half_width, half_length, margin=1.0):
        """Reserves the ground of a box at `(x, z, yaw)`; False if it is occupied."""
        x, z, yaw = place
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

    def box(self, place, base, size, look, taper=0.0):
        """Adds a box at `(x, z, yaw)` of `(half width, height, half length)`."""
        x, z, yaw = place
        self.boxes.append([x, base, z, yaw, *size, taper, *look, 0])

    def round(self, place, centre, size, roundness, look):
        """Adds a round object at `(x, z, heading)` of `(radius, half height)`."""
        x, z, heading = place
        self.rounds.append([x, centre, z, *size, roundness, heading, 0, *look, 0])


def _overlap(a, b):
    """Returns whether two rectangles overlap, by the separating axis theorem."""
    offset = b[0] - a[0]
    for axis in (a[1], a[2], b[1], b[2]):
        extent = sum(
            wide * abs(right @ axis) + long * abs(forward @ axis)
            for _, right, forward, wide, long in (a, b)
        )
        if abs(offset @ axis) > extent:
            return False
    return True


class _LegBuilder:
    """Places the objects along one leg of the route."""

    def __init__(self, site, rng, index):
        self.site, self.rng, self.index = site, rng, index
        self.route, self.leg = site.route, site.route.legs[index]

    def close_streets(self):
        """Places buildings across dead ends and behind T-junctions."""
        rng, leg = self.rng, self.leg
        for street in self.route.side_streets:
            if street.leg == self.index:
                x, z = street.point(street.length + rng.uniform(8, 14))
                self._building((x, z, street.heading), 6, 14)
        if leg.is_sharp:
            ahead = leg.radius + leg.half_width + leg.sidewalk + rng.uniform(6.5, 10)
            x, z, _ = self.route.at(leg.bend_start)
            x, z = x + ahead * math.sin(leg.heading), z + ahead * math.cos(leg.heading)
            self._building((x, z, leg.heading), 5, rng.uniform(8, 16))

    def park_cars(self):
        """Parks cars along the kerb, and in front of buildings with a setback."""
        rng, leg = self.rng, self.leg
        for side, parking in zip((-1, 1), leg.parking):
            s = leg.start + rng.uniform(4, 14)
            while s < leg.bend_start:
                turn = 0.0 if side > 0 else math.pi
                if parking:
                    x, z, heading = self.route.at(s, side * (leg.half_width - 1.0))
                    streets_near = (abs(t.s - s) for t in self.route.side_streets)
                    free = all(distance > 10 for distance in streets_near)
                else:
                    lateral = leg.half_width + leg.sidewalk + rng.uniform(1.5, 5)
                    x, z, heading = self.route.at(s, side * lateral)
                    turn = rng.choice([turn, math.pi / 2, -math.pi / 2])
                    turn += rng.normal(0, 0.1)
                    free = leg.style != "city" and rng.random() < 0.7
                # Kerb parking lies on the carriageway, at most 2 m from its edge.
                margin = -2.1 if parking else 0.4
                place = (x, z, heading + turn)
                if free and self.site.reserve(self.index, place, 1.0, 2.3, margin):
                    self.site.parked.append(list(place))
                    car = primitives.make_car(rng, len(self.site.parked))
                    self.site.parked_cars.append(car)
                s += 5.2 + (rng.exponential(6) if parking else rng.uniform(8, 35))

    def line_side(self, side):
        """Lines one side with buildings, and with fences or hedges between them."""
        rng, leg = self.rng, self.leg
        edge = leg.half_width + leg.sidewalk
        fence = rng.random() < _FENCE_PROBABILITY[leg.style]
        hedge, fence_height = rng.random() < 0.5, rng.uniform(0.7, 2.3)
        s = leg.start + rng.uniform(0, 6)
        while s < leg.end:
            width, depth = rng.uniform(8, 22), rng.uniform(8, 13)
            back = rng.uniform(*_SETBACK[leg.style])
            for shrink in (1.0, 0.6, 0.35):
                half_length = width * shrink / 2
                lateral = side * (edge + back + depth / 2)
                place = self.route.at(s + half_length, lateral)
                if self._building(place, half_length, depth / 2):
                    break
            s += 2 * half_length
            space = rng.uniform(*_GAP[leg.style])
            # A fence also runs in front of buildings with a setback.
            start = s - 2 * half_length if back > 2.0 else s
            if fence:
                self._fence(side, start, s + space, hedge, fence_height)
            s += space

    def plant_side(self, side):
        """Places trees and lamp posts at the kerb and behind the sidewalk."""
        rng, leg = self.rng, self.leg
        s = leg.start + rng.uniform(0, 15)
        while s < leg.end:
            behind = rng.random() < 0.5 and leg.style != "city"
            lateral = leg.half_width + (
                leg.sidewalk + rng.uniform(1.5, 6) if behind else rng.uniform(0.5, 0.9)
            )
            x, z, heading = self.route.at(s, side * lateral)
            if self.site.reserve(self.index, (x, z, heading), 0.25, 0.25, 0.35):
                seam = heading - side * math.pi / 2
                if rng.random() < 0.6:
                    self._tree((x, z, seam))
                else:
                    self._post((x, z, seam), heading)
            s += rng.uniform(*_SPACING[leg.style])

    def _building(self, place, half_length, half_width):
        """Adds a building at `(x, z, yaw)`; returns whether there was room for it."""
        rng, style = self.rng, self.leg.style
        if not self.site.reserve(self.index, place, half_width, half_length):
            return False
        floors = rng.uniform(3, 7) if style == "city" else rng.uniform(1.2, 2.6)
        height = floors * 3.0
        cell = (rng.uniform(1.8, 4.0), rng.uniform(2.7, 3.4))
        palette = primitives.Palette(
            primitives.FACADE if rng.random() < 0.85 else primitives.WALL,
            hue=(-0.03, 0.17) if rng.random() < 0.75 else (0.5, 0.7),
            saturation=(0.05, 0.55),
            value=(0.35, 0.9),
            contrast=rng.uniform(0.25, 0.5),
        )
        look = primitives.look(rng, palette, cell=cell)
        self.site.box(place, 0, (half_width, height, half_length), look)
        if style != "city" or rng.random() < 0.3:
            roof = rng.uniform(1.8, 3.5)
            half = min(half_width, half_length) + 0.3
            x, z, yaw = place
            self.site.box(
                (x, z, yaw + (math.pi / 2 if half_width < half_length else 0.0)),
                height,
                (max(half_width, half_length) + 0.3, roof, half),
                primitives.look(rng, _ROOF),
                taper=0.97 * half / roof,
            )
        return True

    def _fence(self, side, start, end, hedge, height):
        leg = self.leg
        thickness = 0.4 if hedge else 0.12
        while end - start > 1.5:
            length = min(end - start, 8.0)
            lateral = side * (leg.half_width + leg.sidewalk + 0.5)
            place = self.route.at(start + length / 2, lateral)
            half_length = length / 2 - 0.05
            if self.site.reserve(self.index, place, thickness, half_length, 0.9):
                look = primitives.look(self.rng, _HEDGE if hedge else _FENCE)
                self.site.box(place, 0, (thickness, height, half_length), look)
            start += length

    def _tree(self, place):
        rng = self.rng
        bark = primitives.look(rng, _BARK)
        trunk = rng.uniform(1.6, 3.0)
        radius = rng.uniform(0.12, 0.24)
        self.site.round(place, trunk / 2, (radius, trunk / 2 + 0.5), 0, bark)
        leaves = primitives.look(rng, _LEAVES)
        x, z, heading = place
        for _ in range(rng.integers(1, 4)):
            radius, half_height = rng.uniform(0.9, 1.7), rng.uniform(1.0, 1.8)
            dx, dz = rng.uniform(-0.8, 0.8, 2)
            centre = trunk + half_height * rng.uniform(0.6, 1.1)
            x, z = x + dx, z + dz
            self.site.round((x, z, heading), centre, (radius, half_height), 1, leaves)

    def _post(self, place, heading):
        rng = self.rng
        look = primitives.look(rng, _POST)
        height = rng.uniform(2.4, 7.0)
        radius = rng.uniform(0.06, 0.12)
        self.site.round(place, height / 2, (radius, height / 2), 0, look)
        if height < 4.5:  # a sign
            look = primitives.look(rng, _SIGN)
            half = rng.uniform(0.3, 0.55)
            x, z, _ = place
            size = (half, 2 * half, 0.13)
            self.site.box((x, z, heading), height - 2 * half, size, look)
