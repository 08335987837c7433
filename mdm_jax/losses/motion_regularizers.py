"""Priors on object motion: zero nearly everywhere, and piecewise constant elsewhere.

Both regularisers apply to the normalised residual translation field T', which is exactly
zero over most of the image: their gradients vanish there.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax import numerics


def normalize(
    residual: Float[Array, "*n h w 3"], total: Float[Array, "*n h w 3"]
) -> Float[Array, "*n h w 3"]:
    """Returns T', the residual relative to the image's root mean square translation.

    Without it, shrinking the scene would lower both regularisers. Both arguments have
    gradients (Li et al. 2020, section 3.2).

    Args:
        residual: T_obj, the translation that egomotion does not explain.
        total: T = T_obj + T_ego.
    """
    # T' = T_obj / sqrt(3 mean(T^2)): 3 components make it the mean square length. The
    # 1e-12, a length of 1e-6, bounds the gradient of a scene at rest.
    mean_square = jnp.mean(jnp.square(total), axis=(-3, -2, -1), keepdims=True)
    return residual * jax.lax.rsqrt(3.0 * mean_square + 1e-12)


def group_smoothness(
    field: Float[Array, "*n h w 3"], *, wrap: bool = False
) -> Float[Array, ""]:
    """Returns the mean length of the field's spatial gradients, per component.

    The length instead of its square makes the field piecewise constant: it may jump at
    the edge of an object (Li et al. 2020, eq. 2).

    Args:
        field: T'.
        wrap: whether opposite borders of the image are neighbours, which pulls the
            field to a constant; used if `sparsity` has no weight.

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
        # Both differences exist from the second row and column onwards.
        du = jnp.diff(field, axis=-2)[..., 1:, :, :]
        dv = jnp.diff(field, axis=-3)[..., :, 1:, :]
    # L_g1 = mean_i mean_p sqrt((du T'_i)^2 + (dv T'_i)^2)
    return jnp.mean(numerics.safe_sqrt(jnp.square(du) + jnp.square(dv)))


def sparsity(field: Float[Array, "*n h w 3"]) -> Float[Array, ""]:
    """Returns the L_1/2 regulariser, which prefers few large values to many small ones.

    It is like 2 m + L1 for values below the component's mean m and grows like the square
    root above it. It scales with the field; m has no gradient (Li et al. 2020, eq. 3).

    Args:
        field: T'.
    """
    length = numerics.safe_abs(field)
    # m_i = stop_grad(mean_p |T'_i|)
    mean = jax.lax.stop_gradient(jnp.mean(length, axis=(-3, -2), keepdims=True))
    # L_1/2 = mean_i mean_p 2 m_i sqrt(1 + |T'_i| / m_i), with m_i moved into the root to
    # avoid dividing by it
    return jnp.mean(2.0 * numerics.safe_sqrt(mean * (mean + length)))
