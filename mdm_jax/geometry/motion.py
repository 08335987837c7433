"""Builders of `Motion`: how every target pixel's 3D point moves to the source camera.

Methods differ only in the motion they build; warps and losses never ask which it was.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.geometry import rotation
from mdm_jax.structs import Motion, Pose


def total(egomotion: Pose, residual_translation: Float[Array, "*n h w 3"]) -> Motion:
    """Returns egomotion plus a field of object motion (Li et al. 2020, eq. 1).

    Args:
        egomotion: `source_from_target` of the camera, `[*]`.
        residual_translation: what objects move on top of it, in the source camera's
            frame and the depth's unit.
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


def apply(
    motion: Motion, points_target: Float[Array, "*n h w 3"]
) -> Float[Array, "*n h w 3"]:
    """Returns the points in the source camera's frame, `R(p) X(p) + T(p)`.

    Args:
        motion: `source_from_target`; fewer axes than the points' stand for all of them.
        points_target: one point per target pixel, in the target camera's frame.
    """
    missing = points_target.ndim + 1 - motion.rotation.ndim
    rotations = jnp.expand_dims(motion.rotation, tuple(range(missing)))
    missing = points_target.ndim - motion.translation.ndim
    translations = jnp.expand_dims(motion.translation, tuple(range(missing)))
    return rotation.apply(rotations, points_target) + translations
