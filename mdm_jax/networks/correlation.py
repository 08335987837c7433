"""Matching of frames by correlation of their features.

Displacements d = (x, y) in a window of radius (rx, ry) are listed row by row; there are
k = (2 rx + 1) (2 ry + 1) of them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Pixels of a row that one small matrix product correlates with their surroundings.
_TILE = 16


def correlation_volume(
    features_a: Float[Array, "b h w c"],
    features_b: Float[Array, "b h w c"],
    radius: tuple[int, int],
) -> Float[Array, "b h w k"]:
    """Returns `<f_a(p), f_b(p + d)>` for all displacements d; 0 beyond the border.

    Rows of frame a are cut into tiles. A tile is multiplied with all pixels within reach
    of its windows, and products outside the windows are discarded: 1.6 to 3 times the
    arithmetic, in a tenth of the time of shifted products on CPU.

    Args:
        features_a: features of frame a.
        features_b: features of frame b, which is searched.
        radius: (rx, ry) of the window in pixels.
    """
    radius_x, radius_y = radius
    b, height, width, c = features_a.shape
    count = -(-width // _TILE)  # tiles in a row
    reach = _TILE + 2 * radius_x  # pixels of a row within reach of a tile

    short = count * _TILE - width
    tiles = jnp.pad(features_a, ((0, 0), (0, 0), (0, short), (0, 0)))
    tiles = tiles.reshape(b, height, count, _TILE, c)

    # The pixels within reach of tile i start with the i-th tile of the padded row of
    # frame b and continue in the next ones. Channels precede pixels, as the product
    # needs them.
    pieces = -(-reach // _TILE)
    border_x = (radius_x, (count + pieces - 1) * _TILE - width - radius_x)
    border_y = (radius_y, radius_y)
    rows_b = features_b.swapaxes(2, 3)
    rows_b = jnp.pad(rows_b, ((0, 0), border_y, (0, 0), border_x))
    seen = []
    for i in range(pieces):
        piece = lax.slice_in_dim(rows_b, i * _TILE, (i + count) * _TILE, axis=3)
        piece = piece.reshape(*piece.shape[:3], count, _TILE)
        seen.append(piece[..., : reach - i * _TILE])
    seen = jnp.concatenate(seen, axis=-1).swapaxes(2, 3)  # [b h+2ry n c reach]

    volume = [
        _band(jnp.einsum("bhntc,bhncv->bhntv", tiles, seen[:, y : y + height]))
        for y in range(2 * radius_y + 1)
    ]
    volume = jnp.concatenate(volume, axis=-1)
    return volume.reshape(b, height, count * _TILE, -1)[:, :, :width, :]


@jax.custom_vjp
def _band(products: Float[Array, "*n t v"]) -> Float[Array, "*n t v-t+1"]:
    """Returns the products in each pixel's window: row t from column t on."""
    *leading, tile, reach = products.shape
    # Writing the same numbers in rows that are one longer shifts row t by t columns.
    flat = products.reshape(*leading, tile * reach)
    flat = jnp.pad(flat, [(0, 0)] * len(leading) + [(0, tile)])
    return flat.reshape(*leading, tile, reach + 1)[..., : reach - tile + 1]


def _band_forward(products):
    return _band(products), None


def _band_backward(_, gradient):
    # The transpose as copies of slices: XLA's own, a pad, copies element by element.
    *leading, tile, _ = gradient.shape

    def zeros(columns):
        return jnp.zeros((*leading, columns), gradient.dtype)

    rows = [
        jnp.concatenate([zeros(t), gradient[..., t, :], zeros(tile - 1 - t)], axis=-1)
        for t in range(tile)
    ]
    return (jnp.stack(rows, axis=-2),)


_band.defvjp(_band_forward, _band_backward)


def displacements(radius: tuple[int, int]) -> Float[Array, "k 2"]:
    """Returns the displacements (x, y) of a correlation volume, in its order."""
    radius_x, radius_y = radius
    y, x = jnp.meshgrid(
        jnp.arange(-radius_y, radius_y + 1.0),
        jnp.arange(-radius_x, radius_x + 1.0),
        indexing="ij",
    )
    return jnp.stack([x.ravel(), y.ravel()], axis=-1)


def soft_argmax(
    volume: Float[Array, "b h w k"],
    radius: tuple[int, int],
    sharpness: Array | float,
) -> Float[Array, "b h w 2"]:
    """Returns the mean displacement (x, y) under `softmax(sharpness volume)`, pixels.

    Args:
        volume: correlations.
        radius: of the window.
        sharpness: inverse temperature; for large values the result is the maximum's.
    """
    highest = lax.stop_gradient(jnp.max(volume, axis=-1, keepdims=True))
    weights = jnp.exp(sharpness * (volume - highest))
    # Numerators and denominator in one product, to divide 3 channels instead of k.
    columns = displacements(radius)
    columns = jnp.concatenate([columns, jnp.ones_like(columns[:, :1])], axis=-1)
    sums = jnp.matmul(weights, columns, precision=lax.Precision.HIGHEST)
    return sums[..., :2] / sums[..., 2:]
