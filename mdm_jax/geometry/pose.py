"""Rigid transforms `X -> R X + t`, named `a_from_b` and chained by adjacency."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics
from mdm_jax.geometry import rotation
from mdm_jax.structs import Pose


def identity(shape: tuple[int, ...] = ()) -> Pose:
    """Returns the identity pose with the leading axes `shape`."""
    return Pose(
        rotation=jnp.broadcast_to(jnp.eye(3), (*shape, 3, 3)),
        translation=jnp.zeros((*shape, 3)),
    )


def from_euler(angles: Float[Array, "*n 3"], translation: Float[Array, "*n 3"]) -> Pose:
    """Returns the pose of Euler angles (radians, see `rotation`) and a translation."""
    return Pose(rotation=rotation.from_euler(angles), translation=translation)


def from_matrix(matrix: Float[Array, "*n 4 4"]) -> Pose:
    """Returns the pose of a homogeneous matrix, whose last row must be (0, 0, 0, 1).

    Raises:
        ValueError: the matrix is not 4x4.
    """
    if matrix.shape[-2:] != (4, 4):
        raise ValueError(
            f"pose matrix expects shape [... 4 4], got {list(matrix.shape)}: append "
            "the row (0, 0, 0, 1) to a 3x4 matrix"
        )
    return Pose(rotation=matrix[..., :3, :3], translation=matrix[..., :3, 3])


def to_matrix(pose: Pose) -> Float[Array, "*n 4 4"]:
    """Returns the homogeneous matrix `[[R, t], [0, 1]]`."""
    top = jnp.concatenate([pose.rotation, pose.translation[..., None]], axis=-1)
    bottom = jnp.zeros_like(top[..., :1, :]).at[..., 3].set(1.0)
    return jnp.concatenate([top, bottom], axis=-2)


def compose(a_from_b: Pose, b_from_c: Pose) -> Pose:
    """Returns `a_from_c`: first `b_from_c`, then `a_from_b`; leading axes broadcast."""
    # (R1, t1) o (R2, t2) = (R1 R2, R1 t2 + t1)
    return Pose(
        rotation=numerics.matmul(a_from_b.rotation, b_from_c.rotation),
        translation=rotation.apply(a_from_b.rotation, b_from_c.translation)
        + a_from_b.translation,
    )


def inverse(a_from_b: Pose) -> Pose:
    """Returns `b_from_a`, whose rotation is the transpose."""
    rotation_b_from_a = jnp.swapaxes(a_from_b.rotation, -1, -2)
    return Pose(
        rotation=rotation_b_from_a,
        translation=-rotation.apply(rotation_b_from_a, a_from_b.translation),
    )


def transform(a_from_b: Pose, points_b: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    """Returns the coordinates in frame a of points given in frame b.

    Args:
        a_from_b: one pose, or poses whose leading axes are the first of the points'.
        points_b: `[3]`, or any number of points per pose: a `[b]` pose takes `[b n 3]`.
    """
    per_pose = points_b.ndim - a_from_b.translation.ndim
    axes = tuple(range(a_from_b.translation.ndim - 1, points_b.ndim - 1))
    if per_pose > 0:
        a_from_b = Pose(
            rotation=jnp.expand_dims(a_from_b.rotation, axes),
            translation=jnp.expand_dims(a_from_b.translation, axes),
        )
    # X_a = R X_b + t
    return rotation.apply(a_from_b.rotation, points_b, a_from_b.translation)
