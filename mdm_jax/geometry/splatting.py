"""Splats points onto a grid of pixels, where the nearest surface hides the others.

This is the opposite of `sampling`: there every target pixel reads; here every point p
of depth z(p) > 0 writes, at coordinates (x, y) with integers at pixel centres.
`nearest` is a z-buffer, whose gradient reaches the visible points only; `soft` is a
weighted mean, whose gradient reaches all of them. Both return the depth D visible at
each pixel. Colours are then sampled at that depth, see `warp.forward_warp`.

Functions take the points of one image; `jax.vmap` over a batch keeps each image's
writes on the device that holds it.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Splatted:
    """The depth of splatted points on a grid of pixels.

    Attributes:
        depth: `[h w]`, depth of the visible surface; 0 where not `covered`.
        covered: bool `[h w]`, whether a point projects here; other pixels are holes.
        point: int32 `[h w]`, index of the visible point among all points, flattened; 0
            where not `covered`. None for `soft`, which mixes points.
    """

    depth: jax.Array
    covered: jax.Array
    point: jax.Array | None = None


def nearest(
    pixels: Float[Array, "*n 2"], depth: Float[Array, "*n"], size: tuple[int, int]
) -> Splatted:
    """Returns the smallest depth among the points that round to each pixel.

    `D(q) = min { z(p) : round(x(p), y(p)) = q }`. The gradient of D(q) goes to the
    depth of the visible point, the first one among equally near points. There is no
    gradient with respect to the coordinates, because D is piecewise constant in them.

    Args:
        pixels: (x, y) of each point, any numbers.
        depth: of each point. Points outside the image, and those whose coordinates or
            depth are not finite or whose depth is not positive, are dropped.
        size: (height, width) of the result.
    """
    height, width = size
    x, y = jnp.floor(pixels[..., 0] + 0.5), jnp.floor(pixels[..., 1] + 0.5)
    kept = _inside(x, width) & _inside(y, height) & _is_depth(depth)
    z = jnp.where(kept, depth, 1.0)
    cell = _cell(x, y, kept, size)
    smallest = _smallest(z, cell, height * width)
    covered = jnp.isfinite(smallest)
    # XLA drops this second scatter unless `point` is used or D is differentiated.
    point = _image_by_image(_first_seen)(jax.lax.stop_gradient(z), cell, smallest)
    point = jnp.where(covered, point, 0)
    depth_of_point = z.ravel().at[point].get(mode="promise_in_bounds")
    return Splatted(
        depth=jnp.where(
            covered, with_gradient_of(smallest, depth_of_point), 0.0
        ).reshape(size),
        covered=covered.reshape(size),
        point=point.reshape(size),
    )


def soft(
    pixels: Float[Array, "*n 2"],
    depth: Float[Array, "*n"],
    size: tuple[int, int],
    *,
    beta: float | Float[Array, ""],
    min_coverage: float = 0.25,
) -> Splatted:
    """Returns a mean of the depths around each pixel that favours near points.

    `D(q) = sum_p w(p, q) z(p) / sum_p w(p, q)` with `w = b exp(-beta z)` and the
    bilinear weight `b(p, q) = max(0, 1 - |x - x_q|) max(0, 1 - |y - y_q|)`.
    Differentiable in the depths and coordinates of all points; steep where one surface
    hides another.

    Args:
        pixels: (x, y) of each point, any numbers.
        depth: of each point. Points outside the image, and those whose coordinates or
            depth are not finite or whose depth is not positive, are dropped.
        size: (height, width) of the result.
        beta: how strongly the nearer of two points hides the other, per unit of depth.
        min_coverage: a pixel is `covered` if its bilinear weights sum to at least this.
            A point half a pixel away in x and y has weight 0.25, so that every pixel
            covered by `nearest` is covered here.
    """
    height, width = size
    left, top = jnp.floor(pixels[..., 0]), jnp.floor(pixels[..., 1])
    # Some of the four pixels around a point may be outside: one pixel of margin.
    near_image = _inside(left, width, margin=1) & _inside(top, height, margin=1)
    kept = near_image & _is_depth(depth)
    z = jnp.where(kept, depth, 1.0)
    dx = jnp.where(kept, pixels[..., 0] - left, 0.0)
    dy = jnp.where(kept, pixels[..., 1] - top, 0.0)
    cells, weights = [], []
    for right, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = left + right, top + below
        weight = (dx if right else 1 - dx) * (dy if below else 1 - dy)
        # Pixels with weight 0 are not touched: this depth must not count for them.
        touched = kept & _inside(x, width) & _inside(y, height) & (weight > 0)
        cells.append(_cell(x, y, touched, size).ravel())
        weights.append(jnp.where(touched, weight, 0.0).ravel())
    cell, weight = jnp.concatenate(cells), jnp.concatenate(weights)
    z = jnp.tile(z.ravel(), 4)
    # exp(-beta (z - z_nearest)) instead of exp(-beta z): the factor cancels, and
    # weights do not underflow at pixels that only see distant points.
    front = _smallest(z, cell, height * width)
    front = front.at[cell].get(mode="fill", fill_value=0.0)
    w = weight * jnp.exp(-beta * (z - front))
    sums = jnp.zeros((height * width, 3), z.dtype)
    sums = sums.at[cell].add(jnp.stack([weight, w, w * z], axis=-1), mode="drop")
    covered = sums[:, 0] >= min_coverage
    mean = sums[:, 2] / jnp.where(covered, sums[:, 1], 1.0)
    return Splatted(
        depth=jnp.where(covered, mean, 0.0).reshape(size),
        covered=covered.reshape(size),
    )


@jax.custom_jvp
def with_gradient_of(
    value: Float[Array, "*n"], same: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Returns `value`, differentiated as if it were `same`, which has equal values.

    `same` may be more expensive: it is computed only where a gradient is needed.
    """
    del same
    return value


@with_gradient_of.defjvp
def _with_gradient_of_jvp(primals, tangents):
    return primals[0], tangents[1]


def _inside(x: Float[Array, "*n"], size: int, *, margin: int = 0) -> Bool[Array, "*n"]:
    """Returns whether integer coordinates are in the image; False for NaN."""
    return (x >= -margin) & (x <= size - 1)


def _is_depth(depth: Float[Array, "*n"]) -> Bool[Array, "*n"]:
    return (depth > 0) & (depth < jnp.inf)  # False for NaN


def _cell(
    x: Float[Array, "*n"],
    y: Float[Array, "*n"],
    kept: Bool[Array, "*n"],
    size: tuple[int, int],
) -> Int[Array, "*n"]:
    """Returns `y * width + x`; one past the last cell for points that are dropped."""
    height, width = size
    # Integers of this size are exact in float32. Dropped coordinates may be NaN.
    flat = jnp.where(kept, y * width + x, float(height * width))
    return flat.astype(jnp.int32)


def _smallest(
    depth: Float[Array, "*n"], cell: Int[Array, "*n"], num_cells: int
) -> Float[Array, " m"]:
    """Returns the smallest depth in each cell, infinite if empty, without gradient.

    Args:
        depth: positive.
        cell: from 0 to `num_cells`; the last one is dropped.
        num_cells: of the result.
    """
    # Positive floats are ordered like their bits. An integer minimum is one
    # instruction, in GPU memory as well, whereas a float minimum is a loop.
    depth = jax.lax.stop_gradient(depth)
    integer = jnp.dtype(f"int{8 * depth.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(depth, integer)
    infinite = np.array(np.inf, depth.dtype).view(integer)

    def of_image(bits, cell):
        smallest = jnp.full(num_cells, infinite)
        return smallest.at[cell.ravel()].min(bits.ravel(), mode="drop")

    smallest = _image_by_image(of_image)(bits, cell)
    return jax.lax.bitcast_convert_type(smallest, depth.dtype)


def _first_seen(
    depth: Float[Array, "*n"], cell: Int[Array, "*n"], smallest: Float[Array, " m"]
) -> Int[Array, " m"]:
    """Returns the first point with the smallest depth in each cell, n if empty."""
    z, cell = depth.ravel(), cell.ravel()
    seen = z == smallest.at[cell].get(mode="fill", fill_value=0.0)
    index = jnp.where(seen, jnp.arange(z.size, dtype=jnp.int32), z.size)
    first = jnp.full(smallest.size, z.size, jnp.int32)
    return first.at[cell].min(index, mode="drop")


def _image_by_image(function: Callable[..., Array]) -> Callable[..., Array]:
    """Returns a function that `jax.vmap` applies to one image after the other on CPU.

    For a scatter or gather of a whole batch, XLA on CPU materialises pairs of image and
    cell, which doubles the time. On GPUs nothing changes, nor with several devices,
    where no device should wait for another.

    Outside `jax.jit`, every call under `jax.vmap` is compiled again.

    Args:
        function: of arrays; not differentiated.
    """

    def of_batch(*batch):
        return jax.vmap(function)(*batch)

    def in_turn(*batch):
        return jax.lax.map(lambda image: mapped(*image), batch)

    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def _(axis_size, in_batched, *batch):
        batch = [
            x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, batched in zip(batch, in_batched, strict=True)
        ]
        if jax.device_count() > 1:
            return of_batch(*batch), True
        return jax.lax.platform_dependent(*batch, cpu=in_turn, default=of_batch), True

    return mapped
