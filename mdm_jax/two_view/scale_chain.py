"""Carries the scale of depth and translation along a drive.

Each pair gives depth in units of its own baseline. A frame between two pairs is
triangulated twice, and the ratio of the two depths is the ratio of the baselines. The
scale of the drive is that of its first pair; errors of the ratios add up, so it drifts.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from mdm_jax.two_view import front_end, trust
from mdm_jax.two_view.front_end import PairGeometry

Array = np.ndarray

# Fewer pixels that both pairs triangulate say nothing about the ratio.
_MIN_OVERLAP = 200
# A camera changes its speed by less than this factor from frame to frame; more is an
# error of an overlap that is small or full of other movers.
_MAX_CHANGE = 3.0


@dataclasses.dataclass(frozen=True)
class Step:
    """How the camera gets from one frame to the next.

    Attributes:
        length: baseline in the unit of the drive; 0 while standing or turning.
        carried: whether the length follows from overlap; else it is that of the last
            moving pair (the first pair of a drive defines the unit and is carried).
        earlier_from_later: 4x4, with that length.
    """

    length: float
    carried: bool
    earlier_from_later: Float[Array, "4 4"]


class Chain:
    """Adds pair after pair; see `step` and `world_from_camera`."""

    def __init__(self):
        self._length: float | None = None
        # Depth of the last frame from the last moving pair, in the drive's unit, while
        # the view has not changed since.
        self._depth: tuple[Array, Array] | None = None
        self._pose = np.eye(4)
        self.world_from_camera = [np.eye(4)]
        self.steps: list[Step] = []

    def add(self, ahead: PairGeometry, behind: PairGeometry) -> Step:
        """Returns the step between two frames, which continues the trajectory.

        Args:
            ahead: geometry of (earlier, later).
            behind: geometry of (later, earlier).
        """
        relative, length, carried = np.eye(4), 0.0, True
        if ahead.pose is not None and behind.pose is not None:
            length, carried = self._next_length(ahead)
            relative[:3, :3] = behind.pose.rotation
            relative[:3, 3] = length * behind.pose.direction
            self._length = length
            self._depth = (behind.depth * np.float32(length), behind.weight)
        elif ahead.state != front_end.STANDING:
            # The view has changed in a way that depth was not followed through.
            carried = ahead.state == front_end.TURNING
            self._depth = None
            if behind.rotation is not None:
                relative[:3, :3] = behind.rotation
        self._pose = self._pose @ relative
        self.world_from_camera.append(self._pose)
        self.steps.append(Step(length, carried, relative))
        return self.steps[-1]

    def _next_length(self, ahead: PairGeometry) -> tuple[float, bool]:
        if self._length is None:
            return 1.0, True
        if self._depth is None:
            return self._length, False
        depth, weight = self._depth
        common = np.minimum(weight, ahead.weight)
        both = common > 0
        if both.sum() < _MIN_OVERLAP:
            return self._length, False
        ratio = np.log(depth[both]) - np.log(ahead.depth[both])
        length = float(np.exp(trust.weighted_median(ratio, common[both])))
        change = length / self._length
        if not 1 / _MAX_CHANGE < change < _MAX_CHANGE:
            return self._length, False
        return length, True
