"""The sign of the translation: a vehicle drives forward, and keeps its direction.

Where all motion is along one axis, overtaking traffic shares the epipolar lines of the
street and can outvote it. Then the essential matrix is right and the sign of t is not.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from mdm_jax.two_view.essential import RelativePose

# Cosine from which a direction counts as along the optical axis: 45 degrees.
_ALONG = 0.7
# Weights beside the points' vote, which counts from -1 (all lie behind the camera) to 1
# (all lie in front). Along the axis the prior decides alone.
_FORWARD = 1.5
_CONTINUITY = 0.5


def resolve(
    pose: RelativePose,
    *,
    previous: Float[np.ndarray, " 3"] | None = None,
    forward: bool = True,
) -> RelativePose:
    """Returns the pose with the most likely sign of t.

    The points vote by the sign of their depth, the camera is expected to move forward if
    it moves along its axis, and to move on as it did before.

    Args:
        pose: later_from_earlier: where the camera moves forward, points come nearer and
            t points backward.
        previous: the direction of the pair before.
        forward: whether the camera is expected to move forward.
    """
    score = 2 * pose.positive - 1
    if forward and abs(pose.direction[2]) > _ALONG:
        score -= _FORWARD * float(np.sign(pose.direction[2]))
    if previous is not None:
        score += _CONTINUITY * float(previous @ pose.direction)
    return pose if score >= 0 else pose.with_opposite_direction()
