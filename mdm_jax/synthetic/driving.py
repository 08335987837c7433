"""The trajectory of the camera through a synthetic town.

The camera follows the right lane, slows down in sharp bends and sometimes stops; while
it stands, it sometimes turns aside and back (pure rotation). Sway is a function of the
distance driven, so that a standing camera is exactly still.

The path begins `LEAD_IN` frames before frame 0, so that traffic already flows in it,
and ends `LEAD_OUT` frames after the last; no frame depends on the number of frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from mdm_jax.synthetic import streets

LEAD_IN = 60
LEAD_OUT = 150
_START = 110.0  # arc length of the camera at the start of its path, metres
MAX_SPEED = 1.3  # metres per frame


@dataclasses.dataclass(frozen=True)
class CameraPath:
    """The camera's trajectory; arrays start `LEAD_IN` frames before frame 0.

    Attributes:
        s: `[m]`, arc length along the route, metres.
        place: `[m 2]`, x and z, metres.
        yaw: `[m]`, viewing direction in the ground plane.
        world_from_camera: `[m 4 4]`.
    """

    s: np.ndarray
    place: np.ndarray
    yaw: np.ndarray
    world_from_camera: np.ndarray


def route_length(num_frames: int) -> float:
    """Returns an upper bound of the arc length that the camera reaches, metres."""
    return _START + MAX_SPEED * (num_frames + LEAD_IN + LEAD_OUT)


def drive_camera(
    seed: Sequence[int], route: streets.Route, *, num_frames: int
) -> CameraPath:
    """Returns the camera's path along a route; see the module for its frames."""
    rng = np.random.default_rng([*seed, 4])
    s, look = _drive(rng, route, LEAD_IN + num_frames + LEAD_OUT)
    rng = np.random.default_rng([*seed, 5])
    phase = rng.uniform(0, 2 * math.pi, 6)
    lateral = route.lane_offset(s) + 0.2 * np.sin(s / 19 + phase[0])
    sway = math.radians(rng.uniform(1, 5))
    sway = sway * np.sin(2 * math.pi * s / rng.uniform(28, 50) + phase[1])
    pitch = math.radians(rng.uniform(-4.5, -0.5))
    pitch = pitch + math.radians(0.5) * np.sin(s / 7 + phase[2])
    roll = math.radians(0.5) * np.sin(s / 15 + phase[3])
    height = rng.uniform(1.4, 1.8) + 0.02 * np.sin(s / 5 + phase[4])
    x, z, heading = route.at(s, lateral).T
    yaw = heading + sway + look
    pose = np.tile(np.eye(4), (len(s), 1, 1))
    pose[:, :3, :3] = _rotation(yaw, pitch, roll)
    pose[:, :3, 3] = np.stack([x, -height, z], axis=-1)
    return CameraPath(s, np.stack([x, z], axis=-1), yaw, pose)


def _drive(rng, route, num_frames):
    """Returns the arc length and the extra yaw angle of each frame."""
    cruise = rng.uniform(0.88, 1.18)
    phase = rng.uniform(0, 2 * math.pi)
    s, speed = _START, cruise
    next_stop = LEAD_IN + rng.integers(12, 70)
    pause: list[float] = []  # remaining yaw angles of a stop
    distances, angles = [], []
    for frame in range(num_frames):
        distances.append(s)
        angles.append(pause.pop(0) if pause and speed == 0 else 0.0)
        if frame == next_stop:
            pause = [0.0] * int(rng.integers(4, 8))
            if rng.random() < 0.7:
                turn, count = math.radians(rng.uniform(6, 10)), rng.integers(14, 19)
                turn *= rng.choice([-1, 1])
                pause += list(turn * np.sin(math.pi * np.arange(count) / count))
            next_stop = frame + rng.integers(75, 130)
        leg = route.leg_at(s + 6.0)
        wish = cruise * (1 + 0.1 * math.sin(s / 25 + phase))
        if leg.is_sharp and leg.bend_start - 8 < s + 6.0:
            wish = 0.6
        if pause:
            wish = 0.0
        speed += min(max(wish - speed, -0.2), 0.15)
        s += speed
    return np.array(distances), np.array(angles)


def _rotation(yaw, pitch, roll):
    """Returns Ry(yaw) Rx(pitch) Rz(roll) `[m 3 3]`; positive pitch is upwards."""
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)

    def stack(*rows):
        return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)

    sin, cos = np.sin, np.cos
    about_y = stack(
        (cos(yaw), zero, sin(yaw)), (zero, one, zero), (-sin(yaw), zero, cos(yaw))
    )
    about_x = stack(
        (one, zero, zero),
        (zero, cos(pitch), -sin(pitch)),
        (zero, sin(pitch), cos(pitch)),
    )
    about_z = stack(
        (cos(roll), -sin(roll), zero), (sin(roll), cos(roll), zero), (zero, zero, one)
    )
    return about_y @ about_x @ about_z
