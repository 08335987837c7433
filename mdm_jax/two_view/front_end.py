"""The front end: everything that two frames tell about depth, egomotion and motion."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, UInt8

from mdm_jax.two_view import (
    essential,
    flow_error,
    heading,
    moving,
    triangulation,
    trust,
    turning,
)

Array = np.ndarray

# What a pair of frames can be. Only a moving pair has depth and a direction.
MOVING = "moving"
STANDING = "standing"  # median flow close to zero
TURNING = "turning"  # rotation alone explains the flow
PLANE = "plane"  # one plane fills the picture: two motions explain it equally well
CUT = "cut"  # hardly any flow agrees with its reverse
INCONSISTENT = "inconsistent"  # no rigid motion explains enough of the flow
STATES = (MOVING, STANDING, TURNING, PLANE, CUT, INCONSISTENT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How pairs are read. Lengths are pixels of the frames given.

    Attributes:
        limits: of trusted pixels.
        forward: whether the camera is expected to move forward; see `heading`.
        standing_flow: median flow below which the camera stands.
        cut_share: a pair with a smaller share of consistent flow is a cut.
        num_points: drawn for the essential matrix.
        threshold: of the essential matrix: distance from the epipolar line.
        turning_parallax: median distance that rotation leaves unexplained below which
            the camera only turns.
        min_inliers: share of points that must agree on one rigid motion.
    """

    limits: trust.Limits = dataclasses.field(default_factory=trust.Limits)
    forward: bool = True
    standing_flow: float = 0.3
    cut_share: float = 0.15
    num_points: int = 3000
    threshold: float = 0.5
    turning_parallax: float = 0.3
    min_inliers: float = 0.4


DEFAULT = Options()


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PairGeometry:
    """What a directed pair (target, source) tells.

    Attributes:
        state: one of STATES.
        median_flow: pixels, over consistent flow.
        consistent: share of pixels whose flow agrees with its reverse.
        rotation: of source_from_target; None unless MOVING, STANDING or TURNING.
        pose: source_from_target with |t| = 1; None unless MOVING.
        depth: of the target, in units of |t|, 0 where not trusted.
        weight: of that depth in [0, 1), 0 where not trusted.
        motion: `moving.UNKNOWN`, STATIC or MOVES.
    """

    state: str
    median_flow: float
    consistent: float
    rotation: Float[Array, "3 3"] | None
    pose: essential.RelativePose | None
    depth: Float[Array, "h w"]
    weight: Float[Array, "h w"]
    motion: UInt8[Array, "h w"]

    @property
    def trusted(self) -> Bool[Array, "h w"]:
        """Where depth is known."""
        return self.weight > 0


@dataclasses.dataclass(frozen=True, eq=False)
class Egomotion:
    """State and pose of a pair; the latter None unless MOVING."""

    state: str
    rotation: Float[Array, "3 3"] | None = None
    pose: essential.RelativePose | None = None

    def inverse(self) -> Egomotion:
        """Returns the egomotion from the other frame to this one."""
        rotation = None if self.rotation is None else self.rotation.T
        pose = None if self.pose is None else self.pose.inverse()
        return Egomotion(self.state, rotation, pose)


def front_end(
    flow: Float[Array, "h w 2"],
    backward: Float[Array, "h w 2"],
    intrinsics: Float[Array, "3 3"],
    *,
    usable: tuple[Bool[Array, "h w"], Bool[Array, "h w"]] | None = None,
    previous: Float[Array, " 3"] | None = None,
    options: Options = DEFAULT,
) -> tuple[PairGeometry, PairGeometry]:
    """Returns the geometry of a pair of frames, (earlier, later) and (later, earlier).

    One egomotion is estimated from the flow of both directions.

    Args:
        flow: from the earlier frame to the later, pixels; NaN where unknown.
        backward: from the later frame to the earlier.
        intrinsics: pixels of these frames.
        usable: pixels of the earlier and of the later frame that may be trusted: those
            with texture that see the world, not the hood or burnt-in text.
        previous: direction (`pose.direction`) of the pair before, for continuity.
        options: thresholds.

    Raises:
        ValueError: flow and intrinsics have unexpected shapes.
    """
    _check(flow, backward, intrinsics)
    intrinsics = np.asarray(intrinsics, np.float64)
    errors = [
        flow_error.forward_backward(flow, backward),
        flow_error.forward_backward(backward, flow),
    ]
    if usable is not None:
        errors = [
            np.where(mask, error, np.float32(np.inf))
            for mask, error in zip(usable, errors, strict=True)
        ]
    camera = egomotion(
        (flow, backward), errors, intrinsics, previous=previous, options=options
    )
    return (
        _describe(flow, errors[0], intrinsics, camera, options),
        _describe(backward, errors[1], intrinsics, camera.inverse(), options),
    )


def egomotion(
    flows: tuple[Float[Array, "h w 2"], Float[Array, "h w 2"]],
    errors: list[Float[Array, "h w"]],
    intrinsics: Float[Array, "3 3"],
    *,
    previous: Float[Array, " 3"] | None = None,
    options: Options = DEFAULT,
) -> Egomotion:
    """Returns the egomotion later_from_earlier.

    Args:
        flows: forward and backward.
        errors: their forward-backward errors; inf where not usable.
        intrinsics: pixels.
        previous: see `front_end`.
        options: thresholds.
    """
    limit = options.limits.error
    consistent = [error < limit for error in errors]
    enough = max(options.cut_share * errors[0].size, essential.MIN_POINTS)
    if consistent[0].sum() < enough:
        return Egomotion(CUT)
    length = flow_error.median_length(flows[0], errors[0], max_error=limit)
    if length < options.standing_flow:
        return Egomotion(STANDING, np.eye(3))
    half = options.num_points // 2
    points = essential.sample(flows[0], consistent[0], num_points=half)
    if consistent[1].any():
        reverse = essential.sample(flows[1], consistent[1], num_points=half)
        points = points.joined(reverse.swapped())
    rotation, unexplained = turning.rotation_only(points, intrinsics)
    if unexplained < options.turning_parallax:
        return Egomotion(TURNING, rotation)
    if essential.planar(points, threshold=options.threshold):
        return Egomotion(PLANE)
    pose = essential.estimate(points, intrinsics, threshold=options.threshold)
    if pose is None or pose.inliers < options.min_inliers:
        return Egomotion(INCONSISTENT)
    pose = heading.resolve(pose, previous=previous, forward=options.forward)
    return Egomotion(MOVING, pose.rotation, pose)


def _describe(
    flow: Array, error: Array, intrinsics: Array, camera: Egomotion, options: Options
) -> PairGeometry:
    """Returns the geometry of a directed pair whose egomotion is known."""
    shape = flow.shape[:2]
    depth, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    motion = np.full(shape, moving.UNKNOWN, np.uint8)
    pose, limits = camera.pose, options.limits
    if pose is not None:
        views = triangulation.triangulate(
            flow, intrinsics, pose.rotation, pose.direction
        )
        trusted = trust.trusted(views, error, limits)
        depth = np.where(trusted, views.depth, np.float32(0))
        weight = trust.weights(views, trusted)
        motion = moving.classify(views, error, trusted, max_error=limits.error)
    return PairGeometry(
        state=camera.state,
        median_flow=flow_error.median_length(flow, error, max_error=limits.error),
        consistent=float(np.mean(error < limits.error)),
        rotation=camera.rotation,
        pose=pose,
        depth=depth,
        weight=weight,
        motion=motion,
    )


def _check(flow: Array, backward: Array, intrinsics: Array) -> None:
    if flow.ndim != 3 or flow.shape[-1] != 2 or flow.shape != backward.shape:
        raise ValueError(
            f"flow expects two fields [h w 2] of one size, got {list(flow.shape)} and"
            f" {list(backward.shape)}"
        )
    if np.shape(intrinsics) != (3, 3) or not np.isfinite(intrinsics).all():
        raise ValueError(f"intrinsics expect a finite [3 3] matrix, got {intrinsics}")
