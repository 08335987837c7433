"""Poses of objects: measured, averaged over both directions, composed with egomotion.

Notation: E is the camera's `source_from_target` and P an object's motion between the two
frames in the target camera's frame, as in `structs.Objects`: a point X of an object moves
to `E P X`. Arrays are `[b n k ...]`: n directed pairs of frames per clip, the two
directions of a pair side by side, and k slots for objects.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from mdm_jax.geometry import camera
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.geometry import rotation as rotation_lib
from mdm_jax.losses import object_priors
from mdm_jax.structs import Motion, Objects, Pose

Array = jax.Array


def total_motion(
    egomotion: Pose, objects: Objects, target_depth: Array, intrinsics: Array
) -> tuple[Motion, Array]:
    """Returns the motion of every pixel `[b n h w ...]`, and the residual of E.

    `source_from_target = E P`: P moves points in the target camera's frame, then E maps
    them to the source camera's frame. The residual translation is `E P X - E X`.

    Args:
        egomotion: E, `[b n ...]`.
        objects: P of each slot, and the slot of each pixel.
        target_depth: `[b n h w]`, which gives the points X.
        intrinsics: `[b 3 3]`.
    """
    per_slot = Pose(egomotion.rotation[:, :, None], egomotion.translation[:, :, None])
    motion = motion_lib.paint(
        egomotion, pose_lib.compose(per_slot, objects.pose), objects.regions
    )
    points_target = jax.vmap(points, in_axes=(1, None), out_axes=1)(
        target_depth, intrinsics
    )
    residual = motion_lib.residual_translation(
        egomotion, object_motion(objects), points_target
    )
    return motion, residual


def object_motion(objects: Objects) -> Motion:
    """Returns P of every pixel; the identity outside the slots."""
    still = pose_lib.identity(objects.pose.translation.shape[:2])
    return motion_lib.paint(still, objects.pose, objects.regions)


def reverse_motion(egomotion: Pose, pose: Pose) -> Pose:
    """Returns the motions of each pair's opposite direction, in this pair's frame.

    With W an object's motion in the world and C_t, C_r the poses of the cameras,
    `P_tr = C_t^-1 W C_t` and `P_rt = C_r^-1 W^-1 C_r`. With `E = C_r^-1 C_t` follows
    `E^-1 P_rt E = P_tr^-1`. The left-hand side is returned; if the predictions of both
    directions agree, its inverse is P_tr. The gradient of E is stopped.

    Args:
        egomotion: E, `[b n ...]`.
        pose: P, `[b n k ...]`, directions side by side.
    """
    egomotion = jax.lax.stop_gradient(egomotion)
    egomotion = Pose(egomotion.rotation[:, :, None], egomotion.translation[:, :, None])

    def swapped(x: Array) -> Array:
        pairs = x.reshape(x.shape[0], -1, 2, *x.shape[2:])
        return pairs[:, :, ::-1].reshape(x.shape)

    opposite = jax.tree.map(swapped, pose)
    return pose_lib.compose(
        pose_lib.inverse(egomotion), pose_lib.compose(opposite, egomotion)
    )


def average(first: Pose, second: Pose) -> Pose:
    """Returns the mean of two nearby motions (Lee et al. 2019, figure 7).

    Euler angles and translations are averaged: to second order in the difference, this
    is the motion halfway between them.
    """
    angles = [rotation_lib.to_euler(pose.rotation) for pose in (first, second)]
    return pose_lib.from_euler(
        0.5 * (angles[0] + angles[1]), 0.5 * (first.translation + second.translation)
    )


def measure(
    regions: Array,
    slot_labels: Array,
    target_points: Array,
    view_labels: Array,
    view_points: Array,
) -> tuple[Array, Array, Array]:
    """Returns centre and displacement `[m k 3]` of each slot, and where both exist.

    The displacement is the translation prior t^n_p: the object's mean 3D point in the
    stabilized source minus that in the target, which has the direction of P^n.
    """
    num_slots = slot_labels.shape[-1]
    in_target = object_priors.slot_masks(regions, num_slots)
    slots = slot_labels[:, None, None, :]
    # Only pixels that interpolate nothing but the object: a few pixels of the distant
    # background would move its mean by metres.
    in_view = jnp.broadcast_to(slots != 0, in_target.shape)
    for i in range(view_labels.shape[-1]):
        in_view &= view_labels[..., i, None] == slots
    center = object_priors.mean_over(in_target, target_points)
    displacement = object_priors.mean_over(in_view, view_points) - center
    measured = jnp.any(in_target, axis=(1, 2)) & jnp.any(in_view, axis=(1, 2))
    displacement = jnp.where(measured[..., None], displacement, 0.0)
    return center, displacement, measured


def points(depth: Array, intrinsics: Array) -> Array:
    """Returns `[m h w 3]`: the points of depth maps `[m h w]`."""
    return jax.vmap(camera.unproject)(depth, intrinsics)
