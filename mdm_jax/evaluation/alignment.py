"""Alignment of a predicted trajectory to the true one: scale, rigid or similarity.

Positions are `[n 3]`, in any unit for the prediction and in metres for the truth. Equation
numbers refer to Umeyama, Least-squares estimation of transformation parameters between
two point patterns, IEEE PAMI 13(4), 1991; x is the prediction, y the truth, and
`y ~ c R x + t`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

# As published evaluators name them.
KINDS = ("none", "scale", "similarity_scale", "rigid", "similarity")


@dataclasses.dataclass(frozen=True, eq=False)
class Similarity:
    """The map `X -> scale * rotation @ X + translation` from prediction to truth."""

    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, " 3"]
    scale: float

    def apply(self, poses: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
        """Returns `world_from_camera` poses in the world and the unit of the truth.

        Camera axes are rotated and positions mapped; rotations stay rotations.
        """
        result = np.array(poses, np.float64)
        result[:, :3, :3] = self.rotation @ result[:, :3, :3]
        positions = self.scale * result[:, :3, 3] @ self.rotation.T
        result[:, :3, 3] = positions + self.translation
        return result


def align(
    predicted: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"], kind: str
) -> Similarity:
    """Returns the map that brings predicted positions closest to the true ones.

    Args:
        predicted: positions.
        true: positions at the same times, metres.
        kind: `none`, the identity; `scale`, one least-squares factor about the origin,
            for trajectories that start there; `rigid` (6 degrees of freedom) or
            `similarity` (7), Umeyama's solutions; `similarity_scale`, only the scale of
            the similarity.

    Raises:
        ValueError: the kind is unknown, or it needs a scale and all predicted positions
            are equal.
    """
    scale = 1.0
    if kind in ("rigid", "similarity"):
        return umeyama(predicted, true, with_scale=kind == "similarity")
    if kind == "scale":
        scale = least_squares_scale(predicted, true)
    elif kind == "similarity_scale":
        scale = umeyama(predicted, true, with_scale=True).scale
    elif kind != "none":
        raise ValueError(f"alignment must be one of {', '.join(KINDS)}, got {kind!r}")
    return Similarity(np.eye(3), np.zeros(3), scale)


def least_squares_scale(
    predicted: Float[np.ndarray, "n 3"], true: Float[np.ndarray, "n 3"]
) -> float:
    """Returns the factor s that minimises the sum of `|s x - y|^2`.

    Raises:
        ValueError: all predicted positions are at the origin.
    """
    power = float(np.sum(predicted**2))
    if power == 0:
        raise ValueError("a predicted trajectory that never moves has no scale")
    return float(np.sum(predicted * true)) / power


def umeyama(
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    *,
    with_scale: bool,
) -> Similarity:
    """Returns the rotation, translation and scale that minimise `|y - (c R x + t)|^2`.

    For positions on a straight line, the rotation about it is arbitrary. Distances to
    the truth and relative poses do not depend on it.

    Args:
        predicted: x.
        true: y.
        with_scale: False to keep the prediction's unit, `c = 1`.

    Raises:
        ValueError: with scale, and all predicted positions are equal.
    """
    mean_x = predicted.mean(axis=0)  # eq. 34
    mean_y = true.mean(axis=0)  # eq. 35
    x, y = predicted - mean_x, true - mean_y
    variance_x = float(np.mean(np.sum(x**2, axis=-1)))  # eq. 36
    covariance = y.T @ x / len(x)  # eq. 38
    u, singular_values, v_transposed = np.linalg.svd(covariance)
    signs = np.ones(3)  # the diagonal of S, eq. 39 and 43
    if np.linalg.det(u) * np.linalg.det(v_transposed) < 0:
        signs[2] = -1.0  # a rotation, not a reflection
    rotation = (u * signs) @ v_transposed  # U S V^T, eq. 40
    scale = 1.0
    if with_scale:
        if variance_x == 0:
            raise ValueError("a predicted trajectory that never moves has no scale")
        scale = float(np.sum(singular_values * signs)) / variance_x  # eq. 42
    translation = mean_y - scale * rotation @ mean_x  # eq. 41
    return Similarity(rotation, translation, scale)
