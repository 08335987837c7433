"""The streets of a synthetic town: one winding route and the streets that cross it.

World frame: x right, y down, z forward, in metres, ground at y = 0. A heading is the
angle of a direction in the ground plane from +z towards +x. Positions on the route are
arc lengths `s`; lateral offsets are positive to the right.

The route is a chain of legs, each a straight followed by a bend. Leg i depends only on
the seed and the legs before it, so a longer route begins like a shorter one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

_STEP = 0.25  # metres between samples of the route
_STYLES = ("city", "suburb", "open")


@dataclasses.dataclass(frozen=True)
class Leg:
    """A straight followed by a bend.

    Attributes:
        start, bend_start, end: arc lengths.
        heading: of the straight, radians.
        bend: signed angle of the bend, radians; positive turns right.
        radius: of the bend.
        half_width: of the carriageway.
        sidewalk: width of each sidewalk.
        parking: whether cars are parked along the kerb (left, right).
        style: of the surroundings, "city", "suburb" or "open".
    """

    start: float
    bend_start: float
    end: float
    heading: float
    bend: float
    radius: float
    half_width: float
    sidewalk: float
    parking: tuple[bool, bool]
    style: str

    @property
    def lane_offset(self) -> float:
        """Distance of either lane centre from the middle of the carriageway."""
        return (self.half_width - (2.1 if any(self.parking) else 0.0)) / 2

    @property
    def is_sharp(self) -> bool:
        return abs(self.bend) > 1.4


@dataclasses.dataclass(frozen=True)
class SideStreet:
    """A straight dead-end street that leaves the route at arc length `s`."""

    s: float
    x: float
    z: float
    heading: float
    length: float
    half_width: float
    side: int
    leg: int

    def point(self, along: float, lateral: float = 0.0) -> tuple[float, float]:
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        return (
            self.x + along * sin + lateral * cos,
            self.z + along * cos - lateral * sin,
        )


@dataclasses.dataclass(frozen=True)
class Route:
    """The route and its side streets.

    Attributes:
        legs: in order.
        side_streets: in order of arc length.
        samples: `[m 3]`, x, z and heading every 0.25 m.
        segments: `[n 10]`, all streets as chords for the renderer: ax, az, bx, bz, arc
            length at a, half width, sidewalk, leg, main (0 for side streets), style.
    """

    legs: tuple[Leg, ...]
    side_streets: tuple[SideStreet, ...]
    samples: np.ndarray
    segments: np.ndarray

    def at(self, s, lateral=0.0) -> np.ndarray:
        """Returns x, z and heading `[* 3]` at arc lengths and lateral offsets."""
        s = np.asarray(s, np.float64)
        grid = np.arange(len(self.samples)) * _STEP
        x, z, heading = (np.interp(s, grid, column) for column in self.samples.T)
        x = x + lateral * np.cos(heading)
        z = z - lateral * np.sin(heading)
        return np.stack([x, z, heading], axis=-1)

    def lane_offset(self, s) -> np.ndarray:
        """Returns the offset of the lane centre, blended over 20 m between legs."""
        knots, values = [0.0], [self.legs[0].lane_offset]
        for before, after in zip(self.legs, self.legs[1:]):
            knots += [before.end - 10.0, before.end + 10.0]
            values += [before.lane_offset, after.lane_offset]
        return np.interp(s, knots, values)

    def leg_at(self, s: float) -> Leg:
        ends = [leg.end for leg in self.legs]
        return self.legs[min(int(np.searchsorted(ends, s)), len(ends) - 1)]

    def clearance(self, points: np.ndarray, legs: range | None = None) -> np.ndarray:
        """Returns the distance of points `[n 2]` (x, z) from the nearest carriageway.

        The distance is negative on a carriageway. `legs` limits the search to the
        streets of these legs.
        """
        segments = self.segments
        if legs is not None:
            leg = segments[:, 7]
            segments = segments[(leg >= legs.start) & (leg < legs.stop)]
        # A segment much farther from the middle of the points than the nearest segment
        # cannot be the nearest one to any point.
        middle = points.mean(axis=0)
        reach = np.sqrt(np.max(np.sum((points - middle) ** 2, axis=-1)))
        from_middle = _distances(middle[None], segments)[0]
        segments = segments[from_middle <= from_middle.min() + 2 * reach + 1e-6]
        return np.min(_distances(points, segments), axis=1)


def _distances(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    """Returns the distances `[n m]` of points from carriageways, negative on them.

    Args:
        points: (x, z) in the world, `[n 2]`.
        segments: `[m 10]`, as `Route.segments`.
    """
    a, b = segments[:, 0:2], segments[:, 2:4]
    edge = b - a
    offset = points[:, None, :] - a[None]
    length = np.sum(edge**2, axis=-1)
    along = np.clip(np.sum(offset * edge[None], axis=-1) / length[None], 0, 1)
    distance = np.linalg.norm(offset - along[..., None] * edge[None], axis=-1)
    return distance - segments[None, :, 5]


def make_route(seed: Sequence[int], *, length: float) -> Route:
    """Returns a route of at least `length` metres."""
    legs = _make_legs(seed, length)
    samples = _sample(legs)
    route = Route(tuple(legs), (), samples, np.zeros((0, 10)))
    streets = []
    for index, leg in enumerate(legs):
        streets += _side_streets(seed, route, index, leg)
    segments = np.array(_main_segments(route) + [_street_segment(s) for s in streets])
    return Route(tuple(legs), tuple(streets), samples, segments)


def _make_legs(seed, length):
    legs, start, heading = [], 0.0, 0.0
    while start < length:
        rng = np.random.default_rng([*seed, 1, len(legs)])
        straight = rng.uniform(35, 110)
        sharp = rng.random() < 0.3
        radius = rng.uniform(11, 14) if sharp else rng.uniform(35, 80)
        bend = math.pi / 2 if sharp else math.radians(rng.uniform(15, 55))
        bend *= rng.choice([-1, 1])
        if abs(heading + bend) > math.radians(95):
            bend = -bend  # Never back, so that the route does not meet itself.
        style = _STYLES[rng.choice(3, p=[0.45, 0.4, 0.15])]
        half_width = rng.uniform(2.9, 6.5)
        parking = rng.random(2) < 0.6
        if half_width < 4.9:
            parking[:] = False
        bend_start = start + straight
        end = bend_start + abs(bend) * radius
        legs.append(
            Leg(
                start=start,
                bend_start=bend_start,
                end=end,
                heading=heading,
                bend=bend,
                radius=radius,
                half_width=half_width,
                sidewalk=rng.uniform(1.2, 3.5),
                parking=(bool(parking[0]), bool(parking[1])),
                style=style,
            )
        )
        start, heading = end, heading + bend
    return legs


def _sample(legs):
    middle = (np.arange(int(legs[-1].end / _STEP)) + 0.5) * _STEP
    nodes = np.arange(len(middle) + 1) * _STEP
    knots, headings = [0.0], [0.0]
    for leg in legs:
        knots += [leg.bend_start, leg.end]
        headings += [leg.heading, leg.heading + leg.bend]
    direction = np.interp(middle, knots, headings)
    zero = np.zeros(1)
    x = np.concatenate([zero, np.cumsum(np.sin(direction)) * _STEP])
    z = np.concatenate([zero, np.cumsum(np.cos(direction)) * _STEP])
    return np.stack([x, z, np.interp(nodes, knots, headings)], axis=-1)


def _side_streets(seed, route, index, leg):
    rng = np.random.default_rng([*seed, 2, index])
    streets = []

    def add(s, heading, side):
        x, z, _ = route.at(s)
        length, half_width = rng.uniform(40, 90), rng.uniform(2.9, 4.5)
        streets.append(
            SideStreet(s, float(x), float(z), heading, length, half_width, side, index)
        )

    s = leg.start + rng.uniform(22, 40)
    while s < leg.bend_start - 20:
        sides = [(-1,), (1,), (-1, 1)][rng.choice(3, p=[0.25, 0.25, 0.5])]
        for side in sides:
            add(s, leg.heading + side * math.pi / 2, side)
        s += rng.uniform(35, 60)
    # At a sharp bend, a side street may go straight on; otherwise it is a T-junction.
    if leg.is_sharp and rng.random() < 0.4:
        add(leg.bend_start, leg.heading, 0)
    return streets


def _main_segments(route):
    segments = []
    for index, leg in enumerate(route.legs):
        straight = np.linspace(
            leg.start, leg.bend_start, 1 + math.ceil((leg.bend_start - leg.start) / 40)
        )
        chord = max(2.5, leg.radius * 0.12)
        bend = np.linspace(
            leg.bend_start, leg.end, 1 + math.ceil((leg.end - leg.bend_start) / chord)
        )
        s = np.concatenate([straight, bend[1:]])
        points = route.at(s)[:, :2]
        style = _STYLES.index(leg.style)
        for i in range(len(s) - 1):
            segments.append(
                [*points[i], *points[i + 1], s[i], leg.half_width, leg.sidewalk]
                + [index, 1.0, style]
            )
    return segments


def _street_segment(street):
    end = street.point(street.length)
    row = [street.x, street.z, *end, 1000.0 * street.leg, street.half_width]
    return [*row, 2.0, street.leg, 0.0, 0]
