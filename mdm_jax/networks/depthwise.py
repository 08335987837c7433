"""Depthwise convolutions in the form in which each platform computes them fast.

GPUs and TPUs have kernels for grouped convolutions. XLA's CPU backend takes 3 to 50 times
longer for these than for a sum of shifted products, and 7 to 30 times longer with their
gradients; `benchmarks/depthwise.py` has the figures. On CPU the convolution is therefore
that sum, with a derivative of its own:

    y[i] = sum_t k[t] x[s i + t - p]        t runs over the taps, p pixels of padding
    dx   = the same sum over dy, one for each of the s x s phases of x
    dk[t] = sum_i x[s i + t - p] dy[i]      groups of rows first, pixels last

XLA reduces over leading axes one number at a time. So dk is summed over `_GROUPS`
groups of rows by vector additions, and over what remains by a product with ones. The
taps' rows are a loop, which keeps the program small.

Padding is TensorFlow's "SAME": `ceil(n / s)` outputs, the odd pixel of padding behind.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_GROUPS = 4


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Returns the pixels that TensorFlow's "SAME" adds before and after a side."""
    total = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


def convolve(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c"], stride: int
) -> Float[Array, "b H W c"]:
    """Returns each channel of x convolved with its own kernel, padded "SAME".

    Args:
        x: feature map.
        kernel: odd and square, `[y x channel]`.
        stride: of both axes; H is `ceil(h / stride)`.
    """
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(shifted_products, stride=stride),
        default=functools.partial(grouped, stride=stride),
    )


def grouped(x: Array, kernel: Array, stride: int) -> Array:
    """Returns `convolve` as a grouped convolution."""
    padding = [same_padding(n, kernel.shape[0], stride) for n in x.shape[1:3]]
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.custom_vjp, nondiff_argnames=("stride",))
def shifted_products(x: Array, kernel: Array, stride: int) -> Array:
    """Returns `convolve` as a sum of shifted products; no forward-mode derivative."""
    size = kernel.shape[0]
    height, width = (-(-n // stride) for n in x.shape[1:3])
    padded = _padded(x, size, stride)
    return _sum(
        kernel[i, j][None, None, None]
        * padded[:, i : i + height * stride : stride, j : j + width * stride : stride]
        for i in range(size)
        for j in range(size)
    )


def _forward(x: Array, kernel: Array, stride: int):
    return shifted_products(x, kernel, stride), (x, kernel)


def _backward(stride: int, residuals: tuple[Array, Array], dy: Array):
    x, kernel = residuals
    return (
        _input_gradient(x.shape, kernel, dy, stride),
        _kernel_gradient(x, kernel.shape[0], dy, stride),
    )


shifted_products.defvjp(_forward, _backward)


def _padded(x: Array, size: int, stride: int) -> Array:
    """Returns x with its padding, and rows and columns for slices of full length."""
    border = [(0, 0)]
    for n in x.shape[1:3]:
        before, after = same_padding(n, size, stride)
        border.append((before, after + stride - 1))
    # Without the barrier XLA computes whatever x comes from once for every tap.
    return lax.optimization_barrier(jnp.pad(x, [*border, (0, 0)]))


def _sum(terms) -> Array:
    return functools.reduce(jnp.add, terms)


def _input_gradient(
    shape: tuple[int, ...], kernel: Array, dy: Array, stride: int
) -> Array:
    size = kernel.shape[0]
    b, height, width, c = shape
    top, left = (same_padding(n, size, stride)[0] for n in (height, width))
    # Phases of padded x of so many pixels reach to its last row and column.
    rows, columns = -(-(height + top) // stride), -(-(width + left) // stride)
    reach = (size - 1) // stride
    border = [
        (reach, max(rows - dy.shape[1], 0)),
        (reach, max(columns - dy.shape[2], 0)),
    ]
    dy = lax.optimization_barrier(jnp.pad(dy, [(0, 0), *border, (0, 0)]))

    def phase(p: int, q: int) -> Array:
        # dx[s m + p] = sum over n of k[s n + p] dy[m - n]
        return _sum(
            kernel[i, j][None, None, None]
            * dy[
                :,
                reach - i // stride : reach - i // stride + rows,
                reach - j // stride : reach - j // stride + columns,
            ]
            for i in range(p, size, stride)
            for j in range(q, size, stride)
        )

    phases = [phase(p, q) for p in range(stride) for q in range(stride)]
    dx = jnp.stack(phases, axis=3).reshape(b, rows, columns, stride, stride, c)
    dx = dx.transpose(0, 1, 3, 2, 4, 5).reshape(b, rows * stride, columns * stride, c)
    return dx[:, top : top + height, left : left + width]


def _kernel_gradient(x: Array, size: int, dy: Array, stride: int) -> Array:
    b, height, width, c = dy.shape
    groups = min(_GROUPS, height)
    rows = -(-height // groups)
    extra = groups * rows - height
    dy = jnp.pad(dy, ((0, 0), (0, extra), (0, 0), (0, 0)))
    x = _padded(x, size, stride)
    x = jnp.pad(x, ((0, 0), (0, extra * stride), (0, 0), (0, 0)))
    ones = jnp.ones((1, b * rows * width), dy.dtype)

    def product(i: Array, j: int, group: int) -> Array:
        start = group * rows
        part = lax.dynamic_slice_in_dim(x, i + start * stride, rows * stride, axis=1)
        part = part[:, ::stride, j : j + width * stride : stride]
        return part * dy[:, start : start + rows]

    def taps_of_row(_: None, i: Array):
        taps = []
        for j in range(size):
            grouped_sum = _sum(product(i, j, group) for group in range(groups))
            taps.append((ones @ grouped_sum.reshape(-1, c))[0])
        return None, jnp.stack(taps)

    return lax.scan(taps_of_row, None, jnp.arange(size))[1]
