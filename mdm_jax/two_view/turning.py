"""The rotation that explains a pair's flow alone, as if everything were far away."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mdm_jax.two_view import essential

Array = np.ndarray

_STEPS = 8
# Pixels; a point this far off has half the weight of one that fits.
_SCALE = 0.1


def rotation_only(
    points: essential.Correspondences, intrinsics: Float[Array, "3 3"]
) -> tuple[Float[Array, "3 3"], float]:
    """Returns the rotation of source_from_target, and the median distance it leaves.

    Iteratively reweighted alignment of the rays (Kabsch), which outliers and near
    points with parallax influence little. The distance is between the ends of the flow
    and where the rotation takes the points, in pixels.
    """
    target = essential.rays(points.target, intrinsics)
    source = essential.rays(points.source, intrinsics)
    target /= np.linalg.norm(target, axis=-1, keepdims=True)
    source /= np.linalg.norm(source, axis=-1, keepdims=True)
    focal = float(np.sqrt(intrinsics[0, 0] * intrinsics[1, 1]))
    weight = np.ones(len(target))
    rotation, distance = np.eye(3), np.zeros(len(target))
    for _ in range(_STEPS):
        left, _, right = np.linalg.svd((weight[:, None] * source).T @ target)
        sign = np.sign(np.linalg.det(left @ right))
        rotation = left @ np.diag([1, 1, sign]) @ right
        distance = focal * np.linalg.norm(source - target @ rotation.T, axis=-1)
        weight = 1 / (_SCALE + distance)
    return rotation, float(np.median(distance))
