"""Builds `Motion`: how every target pixel's 3D point moves to the source camera.

Methods differ only in the motion they build; warps and losses do not depend on the
method.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mdm_jax.geometry import rotation
from mdm_jax.structs import Motion, Pose


def total(egomotion: Pose, residual_translation: Float[Array, "*n h w 3"]) -> Motion:
    """Returns egomotion plus a field of object motion (Li et al. 2020, eq. 1).

    Args:
        egomotion: `source_from_target` of the camera, `[*]`.
        residual_translation: additional translation of objects, in the source camera's
            frame and the unit of depth.
    """
    # T(u, v) = T_obj(u, v) + T_ego
    translation = residual_translation + egomotion.translation[..., None, None, :]
    return Motion(
        rotation=egomotion.rotation[..., None, None, :, :], translation=translation
    )


def ego_only(egomotion: Pose, size: tuple[int, int]) -> Motion:
    """Returns the motion of a static world: the same pose at every pixel.

    Args:
        egomotion: `source_from_target` of the camera, `[*]`.
        size: (height, width) of the target image.
    """
    *leading, _ = egomotion.translation.shape
    return total(egomotion, jnp.zeros((*leading, *size, 3), jnp.float32))


def paint(background: Pose, objects: Pose, regions: Int[Array, "*n h w"]) -> Motion:
    """Returns the motion of an image whose regions each have their own pose.

    Args:
        background: `[*]`, the pose of region 0.
        objects: `[* k]`, the poses of the regions 1 to k.
        regions: the region of each pixel, 0 to k; other values give a wrong result.
    """
    num_regions = objects.translation.shape[-2] + 1

    def rows(pose: Pose) -> Array:
        *leading, _ = pose.translation.shape
        matrix = pose.rotation.reshape(*leading, 9)
        return jnp.concatenate([matrix, pose.translation], axis=-1)

    table = jnp.concatenate([rows(background)[..., None, :], rows(objects)], axis=-2)
    # A product with ones and zeros, which is exact, instead of a gather: its gradient
    # is also a product, whereas that of a gather scatters every pixel into a few rows.
    chosen = regions[..., None] == jnp.arange(num_regions).reshape(
        (1,) * regions.ndim + (-1,)
    )
    field = jnp.einsum(
        "...hwk,...kd->...hwd",
        chosen.astype(table.dtype),
        table,
        precision=jax.lax.Precision.HIGHEST,
    )
    rotations = field[..., :9].reshape(*field.shape[:-1], 3, 3)
    return Motion(rotation=rotations, translation=field[..., 9:])


def residual_translation(
    egomotion: Pose,
    object_motion: Motion,
    points_target: Float[Array, "*n h w 3"],
) -> Float[Array, "*n h w 3"]:
    """Returns the part of the points' displacement that egomotion does not explain.

    With E the egomotion and P the object's motion, both acting on points X of the
    target frame, it is `E P X - E X = R_E (P X - X)` in the source frame; exactly zero
    where P is the identity.

    Args:
        egomotion: `source_from_target` of the camera, `[*]`.
        object_motion: motion of points in the target's frame, applied before egomotion.
        points_target: one point per target pixel, in the target camera's frame.
    """
    # (R - 1) X + t, because the rounding of R X + t - X depends on kernel fusion.
    turn = object_motion.rotation - jnp.eye(3).reshape(
        (1,) * (object_motion.rotation.ndim - 2) + (3, 3)
    )
    moved = apply(Motion(turn, object_motion.translation), points_target)
    return rotation.apply(egomotion.rotation[..., None, None, :, :], moved)


def apply(
    motion: Motion, points_target: Float[Array, "*n h w 3"]
) -> Float[Array, "*n h w 3"]:
    """Returns the points in the source camera's frame, `R(p) X(p) + T(p)`.

    Args:
        motion: `source_from_target`; missing leading axes broadcast.
        points_target: one point per target pixel, in the target camera's frame.
    """
    missing = points_target.ndim + 1 - motion.rotation.ndim
    rotations = jnp.expand_dims(motion.rotation, tuple(range(missing)))
    missing = points_target.ndim - motion.translation.ndim
    translations = jnp.expand_dims(motion.translation, tuple(range(missing)))
    return rotation.apply(rotations, points_target, translations)
