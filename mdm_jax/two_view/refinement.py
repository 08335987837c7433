"""Refinement of a relative pose on all its inliers, by robust Gauss-Newton steps.

Minimises the Sampson distance, the first-order approximation of the distance of a
correspondence to the epipolar constraint (Hartley and Zisserman 2004, section 11.4.3),
over the five degrees of freedom of the pose: three of rotation, two of direction.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

Array = np.ndarray

_STEPS = 10
_CONVERGED = 1e-8  # radians


def refine(
    rays_target: Float[Array, "n 3"],
    rays_source: Float[Array, "n 3"],
    rotation: Float[Array, "3 3"],
    direction: Float[Array, " 3"],
    *,
    scale: float,
) -> tuple[Float[Array, "3 3"], Float[Array, " 3"]]:
    """Returns rotation and unit direction of source_from_target, refined.

    Args:
        rays_target: `K^-1 p~`, the third component 1.
        rays_source: the same of the corresponding points in the source frame.
        rotation: first guess.
        direction: first guess, of length 1.
        scale: Sampson distance, on the plane z = 1, from which a correspondence loses
            weight (Geman and McClure's function).
    """
    best = (rotation, direction)
    best_cost = _cost(rays_target, rays_source, *best, scale)
    damping = 1e-6
    for _ in range(_STEPS):
        rotation, direction = best
        jacobian, distance = _linearise(rays_target, rays_source, rotation, direction)
        weight = 1 / (1 + (distance / scale) ** 2) ** 2
        weighted = jacobian * weight[:, None]
        normal = weighted.T @ jacobian
        gradient = weighted.T @ distance
        normal += damping * np.diag(np.diag(normal) + 1e-12)
        step = -np.linalg.solve(normal, gradient)
        turned = cv2.Rodrigues(step[:3])[0] @ rotation
        moved = direction + _tangents(direction) @ step[3:]
        moved = moved / np.linalg.norm(moved)
        cost = _cost(rays_target, rays_source, turned, moved, scale)
        if cost < best_cost:
            best, best_cost, damping = (turned, moved), cost, damping / 10
        else:
            damping = max(10 * damping, 1e-6)
        if np.abs(step).max() < _CONVERGED:
            break
    return best


def sampson(
    rays_target: Float[Array, "n 3"],
    rays_source: Float[Array, "n 3"],
    rotation: Float[Array, "3 3"],
    direction: Float[Array, " 3"],
) -> Float[Array, " n"]:
    """Returns signed Sampson distances on the plane z = 1.

    Times the focal length these are pixels. 0 at an epipole, where every
    correspondence agrees.
    """
    essential = _cross(direction) @ rotation
    line_source = rays_target @ essential.T
    line_target = rays_source @ essential
    algebraic = np.sum(rays_source * line_source, axis=-1)
    length = np.sqrt(
        np.sum(line_source[:, :2] ** 2, -1) + np.sum(line_target[:, :2] ** 2, -1)
    )
    return algebraic / np.maximum(length, 1e-12)


def _cost(rays_target, rays_source, rotation, direction, scale) -> float:
    squared = (sampson(rays_target, rays_source, rotation, direction) / scale) ** 2
    return float(np.sum(squared / (1 + squared)))


def _linearise(rays_target, rays_source, rotation, direction):
    """Returns the Jacobian `[n 5]` of the Sampson distances, and these.

    The denominators are held constant, as is usual: they change slowly.
    """
    turned = rays_target @ rotation.T
    essential = _cross(direction) @ rotation
    line_source = rays_target @ essential.T
    line_target = rays_source @ essential
    length = np.sqrt(
        np.sum(line_source[:, :2] ** 2, -1) + np.sum(line_target[:, :2] ** 2, -1)
    )
    length = np.maximum(length, 1e-12)[:, None]
    # q . (t x Rp) = t . (Rp x q) = (q x t) . Rp; d(Rp) = w x Rp.
    by_direction = np.cross(turned, rays_source) @ _tangents(direction)
    by_rotation = np.cross(turned, np.cross(rays_source, direction))
    jacobian = np.concatenate([by_rotation, by_direction], axis=-1) / length
    distance = np.sum(rays_source * line_source, axis=-1) / length[:, 0]
    return jacobian, distance


def _tangents(direction: Array) -> Array:
    """Returns two orthonormal columns perpendicular to a unit vector, `[3 2]`."""
    return np.linalg.svd(direction[None])[2][1:].T


def _cross(vector: Array) -> Array:
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
