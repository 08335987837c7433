"""Pooling and resizing of feature maps `[b h w c]`.

Halving a side of n pixels gives ceil(n / 2). Resizing is two products with small
matrices, which on CPU are faster than gathers, above all in the gradient.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mdm_jax.networks import convolution


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b (h+1)//2 (w+1)//2 c"]:
    """Returns the maximum over 3x3 windows centred at every second pixel.

    It is computed from maxima of the even and odd pixels, because XLA's gradient of a
    window reduction is a scatter, 10 times slower on CPU. Equal maxima share the gradient.
    """
    x = convolution.pad_to_even(x, -jnp.inf)
    for axis in (1, 2):
        shape = (*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        pairs = x.reshape(shape)
        even = lax.index_in_dim(pairs, 0, axis + 1, keepdims=False)
        odd = lax.index_in_dim(pairs, 1, axis + 1, keepdims=False)
        first = lax.slice_in_dim(odd, 0, 1, axis=axis)
        before = lax.slice_in_dim(odd, 0, odd.shape[axis] - 1, axis=axis)
        # Window i has the pixels 2 i - 1, 2 i, 2 i + 1; the first has no pixel -1.
        before = jnp.concatenate([jnp.full_like(first, -jnp.inf), before], axis=axis)
        x = jnp.maximum(jnp.maximum(before, odd), even)
    return x


def average_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b (h+1)//2 (w+1)//2 c"]:
    """Returns the mean of each 2x2 block; an odd last row or column is repeated."""
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    b, height, width, c = x.shape
    x = x.reshape(b, height // 2, 2, width // 2, 2, c)
    return jnp.mean(x, axis=(2, 4))


def _interpolation_matrix(coordinates: np.ndarray, size: int) -> np.ndarray:
    """Returns [len(coordinates) size], linear interpolation clamped at the ends."""
    coordinates = np.clip(coordinates, 0, size - 1)[:, None]
    return np.maximum(0, 1 - np.abs(coordinates - np.arange(size))).astype(np.float32)


def _resize(x, rows: np.ndarray, columns: np.ndarray) -> Array:
    # Columns first, which makes the intermediate result smaller. Motion fields are
    # resized too, so in float32 not in reduced precision.
    einsum = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)
    x = einsum("Ww,bhwc->bhWc", jnp.asarray(columns, x.dtype), x)
    return einsum("Hh,bhwc->bHwc", jnp.asarray(rows, x.dtype), x)


def resize_bilinear(
    x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Returns x resized so that corner pixel centres fall on corner pixel centres."""
    matrices = []
    for old, new in zip(x.shape[1:3], size):
        scale = (old - 1) / (new - 1) if new > 1 else 0.0
        matrices.append(_interpolation_matrix(np.arange(new) * scale, old))
    return _resize(x, *matrices)


def resize_pixels(
    x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Returns x resized linearly so that image borders fall on image borders."""
    matrices = [
        _interpolation_matrix((np.arange(new) + 0.5) * old / new - 0.5, old)
        for old, new in zip(x.shape[1:3], size)
    ]
    return _resize(x, *matrices)


def resize_cubic(
    x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Returns x resized so that image borders fall on image borders, by cubics.

    Keys 1981 with a = -3/4, as PyTorch's `bicubic`; what lies outside repeats the border.
    """
    matrices = [
        _cubic_matrix((np.arange(new) + 0.5) * old / new - 0.5, old)
        for old, new in zip(x.shape[1:3], size)
    ]
    return _resize(x, *matrices)


def _cubic_matrix(coordinates: np.ndarray, size: int) -> np.ndarray:
    """Returns [len(coordinates) size], cubic convolution clamped at the ends."""
    a = -0.75
    matrix = np.zeros((len(coordinates), size), np.float64)
    for tap in range(-1, 3):
        index = np.floor(coordinates).astype(int) + tap
        t = np.abs(coordinates - index)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        rows = np.arange(len(coordinates))
        matrix[rows, np.clip(index, 0, size - 1)] += np.where(t <= 1, near, far)
    return matrix.astype(np.float32)


def double_bilinear(
    x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Returns x at twice its resolution, cropped to size; undoes `average_pool`.

    Pixel j of x covers the pixels 2 j and 2 j + 1 of the result.
    """
    matrices = [
        _interpolation_matrix((np.arange(new) + 0.5) / 2 - 0.5, old)
        for old, new in zip(x.shape[1:3], size)
    ]
    return _resize(x, *matrices)
