"""The relative pose of two frames from their flow: MAGSAC, cheirality, refinement.

MAGSAC++ (Barath et al. 2020) as in OpenCV gives the essential matrix; among its four
poses the one that turns the camera less is right for frames of a video, and the sign of
t is where more of the inliers' depth is positive.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.two_view import refinement

Array = np.ndarray

# Five points determine a pose; fewer than this are no evidence for it.
MIN_POINTS = 50
# Of points that a homography explains where they lie in a plane.
_PLANAR_SHARE = 0.98


class RelativePose(NamedTuple):
    """A pose source_from_target without length, and the evidence for it.

    Attributes:
        rotation: R.
        direction: t, of length 1.
        inliers: share of the points that obey the epipolar constraint.
        positive: share of the inliers with parallax that have positive depth; about
            one half where parallax does not determine the sign of t.
    """

    rotation: Float[Array, "3 3"]
    direction: Float[Array, " 3"]
    inliers: float
    positive: float

    def with_opposite_direction(self) -> RelativePose:
        """Returns the pose with the opposite sign of t."""
        return self._replace(direction=-self.direction, positive=1 - self.positive)

    def inverse(self) -> RelativePose:
        """Returns target_from_source."""
        return self._replace(
            rotation=self.rotation.T, direction=-self.rotation.T @ self.direction
        )


class Correspondences(NamedTuple):
    """Matching points of the two frames, in pixels (x, y)."""

    target: Float[Array, "n 2"]
    source: Float[Array, "n 2"]

    def swapped(self) -> Correspondences:
        """Returns the points with the frames exchanged."""
        return Correspondences(self.source, self.target)

    def joined(self, other: Correspondences) -> Correspondences:
        """Returns the points of both."""
        return Correspondences(
            np.concatenate([self.target, other.target]),
            np.concatenate([self.source, other.source]),
        )


def sample(
    flow: Float[Array, "h w 2"],
    trusted: Bool[Array, "h w"],
    *,
    num_points: int,
    seed: int = 0,
) -> Correspondences:
    """Returns trusted pixels, drawn evenly without repetition, and where they move."""
    rows, columns = np.nonzero(trusted)
    if len(rows) > num_points:
        chosen = np.random.default_rng(seed).choice(len(rows), num_points, False)
        rows, columns = rows[chosen], columns[chosen]
    target = np.stack([columns, rows], axis=-1).astype(np.float64)
    return Correspondences(target, target + flow[rows, columns])


def estimate(
    points: Correspondences,
    intrinsics: Float[Array, "3 3"],
    *,
    threshold: float = 0.5,
    refine: bool = True,
) -> RelativePose | None:
    """Returns the pose that most points agree with, None where there is none.

    Args:
        points: see `sample`.
        intrinsics: pixels.
        threshold: distance from the epipolar line, pixels.
        refine: whether to minimise the Sampson distance of all inliers.
    """
    if len(points.target) < MIN_POINTS:
        return None
    matrix, _ = cv2.findEssentialMat(
        points.target,
        points.source,
        np.asarray(intrinsics, np.float64),
        method=cv2.USAC_MAGSAC,
        prob=0.9999,
        threshold=threshold,
    )
    if matrix is None or matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        return None
    first, second, direction = cv2.decomposeEssentialMat(matrix)
    # The two differ by half a turn about t; a video's camera does not turn that much.
    rotation = max(first, second, key=np.trace)
    direction = direction[:, 0]
    rays_target = rays(points.target, intrinsics)
    rays_source = rays(points.source, intrinsics)
    scale = threshold / math.sqrt(intrinsics[0, 0] * intrinsics[1, 1])

    def agree(rotation, direction):
        distance = refinement.sampson(rays_target, rays_source, rotation, direction)
        return np.abs(distance) < 2 * scale

    inliers = agree(rotation, direction)
    if refine and inliers.sum() >= MIN_POINTS:
        rotation, direction = refinement.refine(
            rays_target[inliers],
            rays_source[inliers],
            rotation,
            direction,
            scale=scale,
        )
        inliers = agree(rotation, direction)
    positive = _positive(
        rays_target[inliers], rays_source[inliers], rotation, direction, scale
    )
    pose = RelativePose(rotation, direction, float(inliers.mean()), positive)
    return pose if positive >= 0.5 else pose.with_opposite_direction()


def planar(points: Correspondences, *, threshold: float = 0.5) -> bool:
    """Returns whether one plane explains nearly all points.

    Then two poses explain them as well as each other (Longuet-Higgins 1986), and noise
    decides which of them has more inliers.
    """
    if len(points.target) < MIN_POINTS:
        return False
    _, inliers = cv2.findHomography(
        points.target, points.source, cv2.USAC_MAGSAC, threshold, maxIters=200
    )
    return inliers is not None and float(np.mean(inliers)) >= _PLANAR_SHARE


def rays(
    points: Float[Array, "n 2"], intrinsics: Float[Array, "3 3"]
) -> Float[Array, "n 3"]:
    """Returns `K^-1 p~`, with third component 1."""
    x = (points[:, 0] - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (points[:, 1] - intrinsics[1, 2]) / intrinsics[1, 1]
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def _positive(rays_target, rays_source, rotation, direction, scale) -> float:
    """Returns the share of points with parallax that lie in front of the camera."""
    turned = rays_target @ rotation.T
    turned = turned / turned[:, 2:]
    # z (Rp - q (Rp)_3) = q t_3 - t, with the third components of Rp and q equal to 1.
    shift = rays_source - turned
    away = direction - rays_source * direction[2]
    depth_sign = np.sum(shift * away, axis=-1)
    parallax = np.linalg.norm(shift, axis=-1) > 2 * scale
    if not parallax.any():
        return 0.5
    return float(np.mean(depth_sign[parallax] > 0))
