"""Scenes whose depth and flow are exact: a corridor of planes, and boards that move."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

H, W = 60, 104
INTRINSICS = np.array([[80.0, 0, 49.0], [0, 78.0, 27.5], [0, 0, 1]])
# World planes n . X = d: road, ceiling (sky has no exact depth), walls, far end.
CORRIDOR = (
    ((0, 1, 0), 1.5),
    ((0, 1, 0), -6.0),
    ((1, 0, 0), -5.0),
    ((1, 0, 0), 6.0),
    ((0, 0, 1), 60.0),
)


@dataclasses.dataclass(frozen=True)
class Board:
    """An upright rectangle facing the camera: its place, and how it moves by `step`."""

    left: float
    right: float
    top: float
    bottom: float
    z: float
    step: tuple[float, float, float] = (0.0, 0.0, 0.0)


def pose(angles=(0, 0, 0), position=(0, 0, 0)):
    """Returns world_from_camera of rotation-vector angles, and a position."""
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(np.array(angles, np.float64))[0]
    matrix[:3, 3] = position
    return matrix


def look(world_from_camera, time=0, boards=(), planes=CORRIDOR, intrinsics=INTRINSICS):
    """Returns depth, world points and the board (from 1, else 0) of every pixel."""
    x, y = np.meshgrid(np.arange(W, dtype=np.float64), np.arange(H, dtype=np.float64))
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(intrinsics).T
    rays = rays @ world_from_camera[:3, :3].T
    centre = world_from_camera[:3, 3]
    nearest, labels = np.full((H, W), np.inf), np.zeros((H, W), int)
    for normal, offset in planes:
        with np.errstate(divide="ignore"):
            depth = (offset - centre @ normal) / (rays @ np.array(normal, float))
        nearest = np.where((depth > 1e-6) & (depth < nearest), depth, nearest)
    for label, board in enumerate(boards, 1):
        shift = time * np.array(board.step)
        depth = (board.z + shift[2] - centre[2]) / rays[..., 2]
        hit = centre + depth[..., None] * rays - shift
        inside = (board.left < hit[..., 0]) & (hit[..., 0] < board.right)
        inside &= (board.top < hit[..., 1]) & (hit[..., 1] < board.bottom)
        closer = inside & (depth > 0) & (depth < nearest)
        nearest, labels = (
            np.where(closer, depth, nearest),
            np.where(closer, label, labels),
        )
    return nearest, centre + nearest[..., None] * rays, labels


def pair(first, second, boards=(), planes=CORRIDOR, intrinsics=INTRINSICS):
    """Returns flow there and back, and depth and labels of the first view."""
    views = [
        look(camera, time, boards, planes, intrinsics)
        for time, camera in enumerate((first, second))
    ]
    flows = []
    for (_, points, labels), other, sign in (
        (views[0], second, 1),
        (views[1], first, -1),
    ):
        moved = points.copy()
        for label, board in enumerate(boards, 1):
            moved[labels == label] += sign * np.array(board.step)
        inverse = np.linalg.inv(other)
        pixels = (moved @ inverse[:3, :3].T + inverse[:3, 3]) @ intrinsics.T
        pixels = pixels[..., :2] / pixels[..., 2:]
        grid = np.stack(np.meshgrid(np.arange(W), np.arange(H)), -1)
        flows.append((pixels - grid).astype(np.float32))
    return flows[0], flows[1], views[0][0], views[0][2]


def image(world_from_camera, time=0, boards=(), intrinsics=INTRINSICS):
    """Returns uint8 RGB of a view: every surface has a texture of its own points."""
    _, points, labels = look(world_from_camera, time, boards, intrinsics=intrinsics)
    for label, board in enumerate(boards, 1):
        points[labels == label] -= time * np.array(board.step) - label
    rng = np.random.default_rng(3)
    grey = np.zeros((H, W))
    for wavelength in np.geomspace(0.4, 6, 16):
        direction = rng.normal(size=3)
        direction *= 2 * np.pi / wavelength / np.linalg.norm(direction)
        grey += np.sin(points @ direction + rng.uniform(0, 6)) * wavelength**0.3
    grey = np.clip(128 + 30 * grey, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def source_from_target(target, source):
    """Returns the relative pose of two world_from_camera."""
    return np.linalg.inv(source) @ target


def angle(first, second):
    """Returns degrees between two vectors, or of the rotation between two matrices."""
    if np.ndim(first) == 2:
        vector = cv2.Rodrigues(np.asarray(first) @ np.asarray(second).T)[0]
        return np.degrees(np.linalg.norm(vector))
    cosine = np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
