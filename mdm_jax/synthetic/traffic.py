"""The moving cars of a synthetic town.

There are three kinds: leading cars, which stay ahead of the camera between two side
streets; oncoming cars; and cars that cross or turn at side streets. No two cars touch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mdm_jax.synthetic import driving, primitives, town


@dataclasses.dataclass(frozen=True)
class MovingCar:
    """A car with its poses `[m 3]` (x, z, heading) from frame `start` on."""

    car: primitives.Car
    start: int
    poses: np.ndarray


def make_traffic(
    seed: Sequence[int],
    world: town.World,
    camera: driving.CameraPath,
) -> list[MovingCar]:
    """Returns the moving cars, which never collide."""
    traffic = _Traffic(world, camera)
    _add_leading(np.random.default_rng([*seed, 6]), traffic)
    _add_oncoming(np.random.default_rng([*seed, 7]), traffic)
    streets = {}
    for street in world.route.side_streets:
        streets.setdefault((street.leg, street.s), []).append(street)
    for index, group in enumerate(streets.values()):
        _add_at_junction(np.random.default_rng([*seed, 8, index]), traffic, group)
    return traffic.cars


class _Traffic:
    """Collects cars that hit neither each other, the camera, nor parked cars."""

    def __init__(self, world, camera):
        self.world, self.camera, self.cars = world, camera, []

    def frame_at(self, s):
        """Returns the first frame in which the camera has reached arc length s."""
        return int(np.searchsorted(self.camera.s, s)) - driving.LEAD_IN

    def add(self, rng, start, poses, check_ends=True):
        """Adds a car if it hits nothing and, with `check_ends`, neither appears nor
        disappears in view; returns whether it was added."""
        label = 1 + len(self.world.parked_cars) + len(self.cars)
        car = primitives.make_car(rng, label)
        # Frames before the first of the camera's path are never visible.
        late = max(-driving.LEAD_IN - start, 0)
        start, poses = start + late, poses[late:]
        poses = poses[: max(len(self.camera.s) - driving.LEAD_IN - start, 0)]
        if len(poses) < 4 or self._collides(start, poses):
            return False
        if check_ends and (
            (start > -driving.LEAD_IN and self._in_view(start, poses[0]))
            or self._in_view(start + len(poses) - 1, poses[-1])
        ):
            return False
        self.cars.append(MovingCar(car, start, poses))
        return True

    def _collides(self, start, poses):
        discs = _discs(poses)
        index = np.arange(start, start + len(poses)) + driving.LEAD_IN
        eye, yaw = self.camera.place[index], self.camera.yaw[index]
        ego = np.concatenate([eye, yaw[:, None]], axis=-1)
        if _touch(discs, _discs(ego), 2.4):
            return True
        parked = self.world.parked
        centre = poses[:, :2].mean(axis=0)
        reach = np.linalg.norm(poses[:, :2] - centre, axis=-1).max() + 6
        near = np.linalg.norm(parked[:, :2] - centre, axis=-1) < reach
        for pose in parked[near]:
            if _touch(discs, _discs(np.broadcast_to(pose, poses.shape)), 1.8):
                return True
        for other in self.cars:
            first = max(start, other.start)
            last = min(start + len(poses), other.start + len(other.poses))
            if first < last and _touch(
                discs[first - start : last - start],
                _discs(other.poses[first - other.start : last - other.start]),
                2.3,
            ):
                return True
        return False

    def _in_view(self, frame, pose):
        index = frame + driving.LEAD_IN
        offset = pose[:2] - self.camera.place[index]
        bearing = math.atan2(offset[0], offset[1]) - self.camera.yaw[index]
        bearing = (bearing + math.pi) % (2 * math.pi) - math.pi
        distance = float(np.hypot(*offset))
        return distance < 45 and abs(bearing) < math.radians(37) + 2.5 / max(
            distance, 2
        )


def _discs(poses):
    """Returns the centres `[m 2 2]` of two discs that approximate a car."""
    forward = np.stack([np.sin(poses[:, 2]), np.cos(poses[:, 2])], axis=-1)
    return poses[:, None, :2] + 1.2 * forward[:, None] * np.array([[-1.0], [1.0]])


def _touch(a, b, distance):
    gaps = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    return bool(gaps.min() < distance)


def _follow(path, along):
    """Returns the poses at arc lengths `along` of a path `[m 3]` (arc length, x, z).

    Arc lengths outside the path are dropped; the index of the first one inside is
    returned as well.
    """
    sigma, x, z = path.T
    inside = (along >= sigma[0]) & (along <= sigma[-1])
    if not inside.any():
        return 0, np.zeros((0, 3))
    first = int(np.argmax(inside))
    along = along[inside]

    def at(value):
        return np.stack([np.interp(value, sigma, x), np.interp(value, sigma, z)], -1)

    ahead, behind = at(along + 0.6), at(along - 0.6)
    step = ahead - behind
    heading = np.unwrap(np.arctan2(step[:, 0], step[:, 1]))
    return first, np.concatenate([at(along), heading[:, None]], axis=-1)


def _lane(route, start, end):
    """Returns lane centres `[m 2]` along the route; end < start drives backwards."""
    count = max(2, int(abs(end - start) / 0.5))
    s = np.linspace(start, end, count)
    side = 1.0 if end > start else -1.0
    return route.at(s, side * route.lane_offset(s))[:, :2]


def _street_lane(street, start, end):
    """Returns lane centres `[m 2]` of a side street, by distance from the route."""
    side = 1.0 if end > start else -1.0
    along = np.linspace(start, end, max(2, int(abs(end - start) / 0.5)))
    x, z = street.point(along, side * min(street.half_width, 3.4) / 2)
    return np.stack([x, z], axis=-1)


def _join(first, second):
    """Returns two lanes joined by a cubic Bezier curve."""
    a, b = first[-1], second[0]
    reach = 0.39 * np.linalg.norm(b - a)
    leave = (first[-1] - first[-2]) / np.linalg.norm(first[-1] - first[-2])
    enter = (second[1] - second[0]) / np.linalg.norm(second[1] - second[0])
    w = np.linspace(0, 1, 24)[1:-1, None]
    curve = (
        (1 - w) ** 3 * a
        + 3 * (1 - w) ** 2 * w * (a + reach * leave)
        + 3 * (1 - w) * w**2 * (b - reach * enter)
        + w**3 * b
    )
    return np.concatenate([first, curve, second])


def _measured(points, origin_index, origin):
    """Returns points with a first column of arc lengths, `origin` at the given point."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    sigma = np.concatenate([np.zeros(1), np.cumsum(step)])
    sigma = sigma - sigma[origin_index] + origin
    return np.concatenate([sigma[:, None], points], axis=-1)


def _mouth(route, street):
    """Returns where turns begin: distances from the crossing, on route and street."""
    along_street = route.leg_at(street.s).half_width + 3.5
    return street.half_width + 4.0, along_street


def _add_leading(rng, traffic):
    """Adds cars ahead of the camera, one at a time, each for 40 to 150 metres.

    One in three drives at exactly the speed of the camera; the gap of the others varies.
    """
    route, camera = traffic.world.route, traffic.camera
    turns = [street for street in route.side_streets if street.side != 0]
    join = None  # The car leads from the first frame on.
    if rng.random() > 0.4:
        first_join = camera.s[0] + rng.uniform(20, 120)
        join = next((street for street in turns if street.s > first_join), None)
        if join is None:
            return
    while True:
        gap = rng.uniform(13.0, 28.0)  # One or two seconds.
        sway = rng.uniform(1.0, 3.0) if rng.random() < 2 / 3 else 0.0
        wave = 2 * math.pi * camera.s / rng.uniform(30, 60) + rng.uniform(0, 6)
        along = camera.s + gap + sway * np.sin(wave)
        begin = along[0] if join is None else join.s
        leave_after = begin + rng.uniform(40, 150)
        later = [street for street in turns if street.s > leave_after]
        if not later:
            return
        leave = later[0]
        off, street_off = _mouth(route, leave)
        start = begin if join is None else begin + _mouth(route, join)[0]
        main = _lane(route, start, leave.s - off)
        out = _street_lane(leave, street_off, leave.length - 5)
        points, origin = _join(main, out), 0
        if join is not None:
            _, street_on = _mouth(route, join)
            into = _street_lane(join, min(45.0, join.length - 5), street_on)
            origin = len(into) + 22
            points = _join(into, points)
        first, poses = _follow(_measured(points, origin, start), along)
        traffic.add(rng, first - driving.LEAD_IN, poses, check_ends=False)
        join_after = leave.s + rng.uniform(30, 200)
        following = [street for street in turns if street.s >= join_after]
        if not following:
            return
        join = following[0]


def _add_oncoming(rng, traffic):
    """Adds cars in the opposite lane of the route."""
    camera, route = traffic.camera, traffic.world.route
    meeting = -driving.LEAD_IN
    while True:
        meeting += int(rng.integers(12, 36))
        if meeting + driving.LEAD_IN >= len(camera.s):
            return
        speed = rng.uniform(0.4, 1.1)
        frames = np.arange(meeting - 75, meeting + 12)
        s = camera.s[meeting + driving.LEAD_IN] - speed * (frames - meeting)
        keep = (s > 2) & (s < camera.s[-1] + 90)
        pose = route.at(s[keep], -route.lane_offset(s[keep]))
        pose[:, 2] += math.pi
        if keep.any():
            traffic.add(rng, int(frames[keep][0]), pose)


def _add_at_junction(rng, traffic, streets):
    """Adds cars that cross the route, or turn into or out of it, ahead of the camera."""
    route = traffic.world.route
    accepted = 0
    for _ in range(10):
        street = streets[rng.integers(len(streets))]
        off, street_off = _mouth(route, street)
        other = streets[-1 - streets.index(street)]
        # The lanes by which the car enters and leaves the junction.
        into = _street_lane(street, min(48.0, street.length - 5), street_off)
        ways = ["cross"] * 3 * (other is not street) + ["in"] * 2 + ["out"] * 2
        way = ways[rng.integers(len(ways))]
        if street.side == 0:
            continue
        if way == "cross":
            out = _street_lane(other, street_off, min(48.0, other.length - 5))
        elif way == "in":
            out = _lane(route, street.s - off, street.s - 90)
        else:
            into = _lane(route, street.s + 80, street.s + off)
            out = _street_lane(street, street_off, min(48.0, street.length - 5))
        path = _measured(_join(into, out), len(into) + 11, 0.0)
        arrival = traffic.frame_at(street.s - rng.uniform(9, 26))
        frames = np.arange(arrival - 110, arrival + 111)
        first, poses = _follow(path, rng.uniform(0.4, 0.9) * (frames - arrival))
        accepted += traffic.add(rng, int(frames[first]), poses)
        if accepted == 2:
            return
