"""Operations whose values and gradients stay finite where the textbook ones do not.

Under jit both branches of a `where` are differentiated, the norm has a NaN gradient at
zero, and accelerators multiply matrices in reduced precision unless told otherwise.
Each function here removes one of these traps.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def safe_sqrt(x: Array) -> Array:
    """Returns `sqrt(x)`, with value and gradient 0 where `x <= 0`."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def safe_norm(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """Returns the Euclidean norm along an axis, with gradient 0 at the zero vector."""
    return safe_sqrt(jnp.sum(jnp.square(x), axis=axis, keepdims=keepdims))


def safe_abs(x: Array) -> Array:
    """Returns `|x|`, with gradient 0 at exactly 0 (JAX's own is not)."""
    return x * jnp.sign(x)


def safe_divide(numerator: Array | float, denominator: Array) -> Array:
    """Returns the quotient, with value and gradient 0 where the denominator is 0."""
    nonzero = denominator != 0
    quotient = numerator / jnp.where(nonzero, denominator, 1.0)
    return jnp.where(nonzero, quotient, 0.0)


def matmul(a: Array, b: Array) -> Array:
    """Returns `a @ b` in full float32 precision on every accelerator."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def masked_mean(values: Array, mask: Array) -> Array:
    """Returns the mean of `values` where `mask` is true, and 0 for an empty mask.

    Args:
        values: any shape; may be non-finite where masked out.
        mask: bool, of the same shape.
    """
    total = jnp.sum(jnp.where(mask, values, 0.0))
    return total / jnp.maximum(jnp.sum(mask), 1)
