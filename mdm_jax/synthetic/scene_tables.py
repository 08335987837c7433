"""The primitives in view of one frame, as tables of fixed size.

The tables hold the nearest primitives in the field of view. They are padded to a fixed
number, so that the renderer is compiled once, and relative to the camera, so that
float32 is precise enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NUM_BOXES = 96
NUM_ROUNDS = 40
NUM_SEGMENTS = 40
_REACH = 150.0  # metres; farther primitives are not drawn


class Scene(NamedTuple):
    """The primitives in view of one frame; a leading frame axis is allowed.

    Attributes:
        camera: `[3 3]`, world_from_camera rotation.
        place: `[3]`, camera x, height above ground and z in the world.
        boxes: `[m 9]`: camera in the box's frame (right, up, forward), cosine and sine
            of its yaw, half width, height, half length, taper.
        box_looks: `[m 12]`, appearance columns of `primitives`.
        rounds: `[m 8]`: x, up and z of the centre from the camera, radius, half height,
            roundness, cosine and sine of the heading.
        round_looks: `[m 12]`.
        segments: `[m 10]` like `Route.segments`, relative to the camera.
        counts: int32 `[3]`, numbers of boxes, rounds and segments without padding.
    """

    camera: np.ndarray
    place: np.ndarray
    boxes: np.ndarray
    box_looks: np.ndarray
    rounds: np.ndarray
    round_looks: np.ndarray
    segments: np.ndarray
    counts: np.ndarray


def cull(
    boxes: np.ndarray,
    rounds: np.ndarray,
    segments: np.ndarray,
    world_from_camera: np.ndarray,
    *,
    half_view: float,
) -> Scene:
    """Returns the nearest primitives in view, padded to a fixed number.

    Args:
        boxes, rounds: `[n 20]`, tables of `primitives`.
        segments: `[n 10]`, chords of the streets.
        world_from_camera: `[4 4]`.
        half_view: half the horizontal field of view, radians.
    """
    eye = world_from_camera[:3, 3]
    ahead = world_from_camera[[0, 2], 2]
    ahead = ahead / np.linalg.norm(ahead)
    angle = half_view + 0.06  # Pitch and roll move the image corners outwards.

    def nearest(x, z, radius, limit):
        offset = np.stack([x - eye[0], z - eye[2]], axis=-1)
        forward = offset @ ahead
        aside = np.abs(offset @ np.array([ahead[1], -ahead[0]]))
        reach = forward * np.tan(angle) + radius / np.cos(angle)
        distance = np.linalg.norm(offset, axis=-1) - radius
        seen = (forward > -radius) & (aside < reach) & (distance < _REACH)
        index = np.flatnonzero(seen)
        order = np.argsort(distance[index], kind="stable")
        return np.sort(index[order[:limit]])

    radius = np.hypot(boxes[:, 4], boxes[:, 6])
    box = boxes[nearest(boxes[:, 0], boxes[:, 2], radius, NUM_BOXES)]
    ball = rounds[nearest(rounds[:, 0], rounds[:, 2], rounds[:, 3], NUM_ROUNDS)]
    middle = (segments[:, 0:2] + segments[:, 2:4]) / 2
    radius = np.linalg.norm(segments[:, 2:4] - segments[:, 0:2], axis=-1) / 2 + 12
    chord = segments[nearest(middle[:, 0], middle[:, 1], radius, NUM_SEGMENTS)]

    cos, sin = np.cos(box[:, 3]), np.sin(box[:, 3])
    dx, dz = eye[0] - box[:, 0], eye[2] - box[:, 2]
    geometry = [cos * dx - sin * dz, -eye[1] - box[:, 1], sin * dx + cos * dz]
    geometry = np.stack(
        [*geometry, cos, sin, box[:, 4], box[:, 5], box[:, 6], box[:, 7]], axis=-1
    )
    round_geometry = np.stack(
        [ball[:, 0] - eye[0], ball[:, 1] + eye[1], ball[:, 2] - eye[2]]
        + [ball[:, 3], ball[:, 4], ball[:, 5], np.cos(ball[:, 6]), np.sin(ball[:, 6])],
        axis=-1,
    )
    chord = chord.copy()
    chord[:, [0, 2]] -= eye[0]
    chord[:, [1, 3]] -= eye[2]
    chord[:, 4] %= 6000.0  # keeps float32 precise; a multiple of all pattern periods
    # Padding is never hit: a box of negative length, a far ball, a far street.
    void_box = [0, 0, 0, 1, 0, 1, 1, -1e6, 0]
    void_round = [0, -1e5, 0, 0.01, 0.01, 1, 1, 0]
    void_chord = [1e6, 1e6, 1e6 + 1, 1e6, 0, 3, 2, 0, 0, 0]
    return Scene(
        camera=world_from_camera[:3, :3].astype(np.float32),
        place=np.array([eye[0], -eye[1], eye[2]], np.float32),
        boxes=_pad(geometry, NUM_BOXES, void_box),
        box_looks=_pad(box[:, 8:], NUM_BOXES, [0] * 12),
        rounds=_pad(round_geometry, NUM_ROUNDS, void_round),
        round_looks=_pad(ball[:, 8:], NUM_ROUNDS, [0] * 12),
        segments=_pad(chord, NUM_SEGMENTS, void_chord),
        counts=np.array([len(box), len(ball), len(chord)], np.int32),
    )


def _pad(rows, count, filler):
    result = np.tile(np.asarray(filler, np.float32), (count, 1))
    result[: len(rows)] = rows
    return result
