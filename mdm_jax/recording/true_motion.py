"""The true motion between two frames of a recording, derived in float64.

It follows from depth, camera poses and object poses and is never stored. Camera frames
are x right, y down, z forward.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mdm_jax.geometry import points as points_lib
from mdm_jax.geometry import rigid
from mdm_jax.recording.arrays import Recording

Array = np.ndarray


class RigidMotion(NamedTuple):
    """Where the point seen at each target pixel is when the source frame is taken.

    Attributes:
        points_source: `[h w 3]`, the moved point in the source camera's frame.
        residual_translation: `[h w 3]`, object motion: what egomotion does not explain
            of `points_source`, in the source camera's axes.
        known: bool `[h w]`, depth is known and so is the object's pose in both frames.
            Elsewhere the residual is 0 and the point moves with the background.
    """

    points_source: Float[Array, "h w 3"]
    residual_translation: Float[Array, "h w 3"]
    known: Bool[Array, "h w"]


def camera_motion(recording: Recording, target: int, source: int) -> Array:
    """Returns the true `source_from_target` of the camera, float64 `[4 4]`.

    Raises:
        ValueError: the recording has no camera poses.
    """
    poses = _required(recording, "world_from_camera")
    return rigid.inverse(poses[source]) @ poses[target]


def rigid_motion(recording: Recording, target: int, source: int) -> RigidMotion:
    """Returns the true motion of every target pixel's point, in float64.

    With `(R, t)` the camera's `source_from_target`, the residual translation of a point
    X is `X_source - (R X_target + t)`, zero for whatever stands still in the world.

    Raises:
        ValueError: the recording lacks depth, intrinsics or camera poses.
    """
    depth = np.asarray(_required(recording, "depth")[target], np.float64)
    points = points_lib.unproject(depth, _required(recording, "intrinsics"))
    egomotion = camera_motion(recording, target, source)
    points_source = rigid.apply(egomotion, points)
    residual = np.zeros_like(points)
    known = depth > 0
    if recording.instance_labels is None or recording.world_from_object is None:
        return RigidMotion(points_source, residual, known)
    labels = np.asarray(recording.instance_labels[target])
    world_from_camera = _required(recording, "world_from_camera")
    for label in np.unique(labels[labels > 0]):
        pixels = labels == label
        if label > recording.world_from_object.shape[1]:
            known = known & ~pixels
            continue
        object_poses = recording.world_from_object[:, label - 1]
        if np.array_equal(object_poses[source], object_poses[target]):
            continue  # Parked: exactly zero, not zero up to rounding.
        world_motion = object_poses[source] @ rigid.inverse(object_poses[target])
        if not np.isfinite(world_motion).all():
            known = known & ~pixels
            continue
        motion = (
            rigid.inverse(world_from_camera[source])
            @ world_motion
            @ world_from_camera[target]
        )
        moved = rigid.apply(motion, points[pixels])
        residual[pixels] = moved - points_source[pixels]
        points_source[pixels] = moved
    return RigidMotion(points_source, residual, known)


def optical_flow(
    recording: Recording, target: int, source: int
) -> Float[Array, "h w 2"]:
    """Returns the true displacement (x, y) of each target pixel, in pixels.

    It holds for occluded points too. NaN where depth or an object's motion is unknown,
    and where the point lies behind the source camera.
    """
    points, _, known = rigid_motion(recording, target, source)
    flow = points_lib.displacement(points, _required(recording, "intrinsics"))
    return np.where(known[..., None], flow, np.nan)


def moving_mask(
    recording: Recording, target: int, source: int, threshold: float = 0.05
) -> Bool[Array, "h w"]:
    """Returns the pixels whose point moves by more than `threshold` metres by itself."""
    residual = rigid_motion(recording, target, source).residual_translation
    return np.linalg.norm(residual, axis=-1) > threshold


def _required(recording: Recording, field: str) -> Array:
    value = getattr(recording, field)
    if value is None:
        raise ValueError(
            f"recording {recording.name!r} has no {field}: true motion needs depth, "
            "intrinsics and camera poses"
        )
    return value
