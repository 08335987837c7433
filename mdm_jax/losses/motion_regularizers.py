"""What the world's motion is like: mostly still, and of one piece where it is not.

Both regularisers apply to the normalised residual translation field T', and both meet
fields that are exactly zero over most of the image: their gradients vanish there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics


def normalize(
    residual: Float[Array, "*n h w 3"], total: Float[Array, "*n h w 3"]
) -> Float[Array, "*n h w 3"]:
    """Returns T', the residual in units of the image's typical total translation.

    Without it both regularisers would be lowered by shrinking the whole scene.
    Gradients flow through both arguments (Li et al. 2020, section 3.2).

    Args:
        residual: T_obj, what egomotion does not explain.
        total: T = T_obj + T_ego.
    """
    # T' = T_obj / sqrt(3 mean(T^2)): three components, so that it is the mean square
    # length. 1e-12, a length of 1e-6, bounds the gradient of a scene at rest.
    mean_square = jnp.mean(jnp.square(total), axis=(-3, -2, -1), keepdims=True)
    return residual * jax.lax.rsqrt(3.0 * mean_square + 1e-12)


def group_smoothness(
    field: Float[Array, "*n h w 3"], *, wrap: bool = False
) -> Float[Array, ""]:
    """Returns the mean length of the field's spatial gradients, per component.

    The length, not its square, so that a field is piecewise constant: it may jump at
    the edge of an object (Li et al. 2020, eq. 2).

    Args:
        field: T'.
        wrap: whether to join opposite borders of the image as well, which pulls the
            field to a constant; used in place of `sparsity` when that has no weight.

    Raises:
        ValueError: the field has fewer than two rows or columns.
    """
    if min(field.shape[-3:-1]) < 2:
        raise ValueError(
            f"field expects [*n h w 3] of at least 2x2 pixels, got {field.shape}: use "
            "fewer scales or larger images"
        )
    if wrap:
        du = field - jnp.roll(field, 1, axis=-2)
        dv = field - jnp.roll(field, 1, axis=-3)
    else:
        # Both differences exist from the second row and column on.
        du = jnp.diff(field, axis=-2)[..., 1:, :, :]
        dv = jnp.diff(field, axis=-3)[..., :, 1:, :]
    # L_g1 = mean_i mean_p sqrt((du T'_i)^2 + (dv T'_i)^2)
    return jnp.mean(numerics.safe_sqrt(jnp.square(du) + jnp.square(dv)))


def sparsity(field: Float[Array, "*n h w 3"]) -> Float[Array, ""]:
    """Returns the L_1/2 regulariser, which prefers few large values to many small.

    Like 2 m + L1 for values below the component's mean m, growing like the root above;
    it scales with the field, and m carries no gradient (Li et al. 2020, eq. 3).

    Args:
        field: T'.
    """
    length = numerics.safe_abs(field)
    # m_i = stop_grad(mean_p |T'_i|)
    mean = jax.lax.stop_gradient(jnp.mean(length, axis=(-3, -2), keepdims=True))
    # L_1/2 = mean_i mean_p 2 m_i sqrt(1 + |T'_i| / m_i), with m_i inside the root, so
    # that nothing is divided by it where the field is zero everywhere
    return jnp.mean(2.0 * numerics.safe_sqrt(mean * (mean + length)))
