"""Building blocks of the networks: convolutions, pooling, resizing, normalisation.

Feature maps are `[b h w c]`. Every block halves a side of n pixels to ceil(n / 2) and
doubles it exactly, so that images of any size pass through a U-Net with one crop per
level. The mathematics is the textbook's; the form is chosen for XLA, whose CPU backend
is many times slower at the gradients of strided and transposed convolutions, of max
pooling and of gather-based resizing than at the equivalent forms used here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Dtype = Any

_DIMENSION_NUMBERS = ("NHWC", "HWIO", "NHWC")


def scaled_width(width: int, multiplier: float) -> int:
    """Returns a layer's width in a network made narrower or wider, at least 4."""
    return max(4, round(width * multiplier))


def centered(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Returns colours in [0, 1] as values in [-1, 1]."""
    return image * 2.0 - 1.0


def pad_reflect(x: Float[Array, "b h w c"]) -> Float[Array, "b h+2 w+2 c"]:
    """Returns x padded by one pixel, mirrored at the border pixel's centre.

    A side of one pixel has nothing to mirror and repeats itself.
    """
    for axis in (1, 2):
        size = x.shape[axis]
        second = lax.slice_in_dim(x, min(1, size - 1), min(1, size - 1) + 1, axis=axis)
        last_but_one = max(size - 2, 0)
        before = lax.slice_in_dim(x, last_but_one, last_but_one + 1, axis=axis)
        x = jnp.concatenate([second, x, before], axis=axis)
    return x


def pad_to_even(
    x: Float[Array, "b h w c"], value: float = 0.0
) -> Float[Array, "b 2*H 2*W c"]:
    """Returns x with a row and column of `value` appended where a side is odd."""
    _, height, width, _ = x.shape
    if height % 2 == 0 and width % 2 == 0:
        return x
    border = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return jnp.pad(x, border, constant_values=value)


def space_to_depth(x: Float[Array, "b 2*h 2*w c"]) -> Float[Array, "b h w 4*c"]:
    """Returns each 2x2 block as one pixel, channels ordered (row, column, channel)."""
    b, height, width, c = x.shape
    x = x.reshape(b, height // 2, 2, width // 2, 2, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, height // 2, width // 2, 4 * c)


def depth_to_space(x: Float[Array, "b h w 4*c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Returns the inverse of `space_to_depth`."""
    b, h, w, channels = x.shape
    x = x.reshape(b, h, w, 2, 2, channels // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, channels // 4)


def _convolve(x, kernel, stride: int, padding) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_DIMENSION_NUMBERS
    )


def _two_taps(kernel: Array, axis: int, even, odd) -> Array:
    """Returns a 3-tap kernel axis as [2 phases, ..., 2 taps at `axis`, ...].

    Args:
        kernel: the axis `axis` has length 3.
        axis: which one.
        even: the tap indices (None for zero) that make the even output samples.
        odd: the same for the odd output samples.
    """

    def phase(indices):
        taps = [
            jnp.zeros_like(jnp.take(kernel, 0, axis=axis))
            if i is None
            else lax.index_in_dim(kernel, i, axis, keepdims=False)
            for i in indices
        ]
        return jnp.stack(taps, axis=axis)

    return jnp.stack([phase(even), phase(odd)])


def _subpixel(x: Array, kernel: Array, even, odd, padding) -> Array:
    """Returns a doubled feature map: a 2x2 convolution to 4 phases, interleaved."""
    ci, co = kernel.shape[2:]
    by_row = _two_taps(kernel, 0, even, odd)  # [py ty 3 ci co]
    by_both = _two_taps(by_row, 2, even, odd)  # [px py ty tx ci co]
    phases = by_both.transpose(2, 3, 4, 1, 0, 5).reshape(2, 2, ci, 4 * co)
    return depth_to_space(_convolve(x, phases, 1, (padding, padding)))


def transposed_conv(
    x: Float[Array, "b h w ci"], kernel: Float[Array, "3 3 ci co"]
) -> Float[Array, "b 2*h 2*w co"]:
    """Returns `lax.conv_transpose(x, kernel, (2, 2), "SAME")` in sub-pixel form.

    y[2i] = x[i-1] k[0] + x[i] k[2] and y[2i+1] = x[i] k[1] along each axis. On CPU the
    gradient is about 8 times faster than that of the strided form.
    """
    return _subpixel(x, kernel, even=(0, 2), odd=(None, 1), padding=(1, 0))


def packed_conv(
    x: Float[Array, "b h w ci"], kernel: Float[Array, "3 3 ci co"]
) -> Float[Array, "b h w co"]:
    """Returns the zero-padded 3x3 convolution, computed on 2x2 blocks of pixels.

    A block is one pixel of 4 ci channels. Up to four times the arithmetic, but where
    channels are few a third of the time: vector units are filled.
    """
    _, height, width, ci = x.shape
    co = kernel.shape[-1]
    # place[t, d, p, q]: tap d connects phase p of the block t - 1 blocks away to phase
    # q of this block; d - 1 = 2 (t - 1) + p - q.
    place = np.zeros((3, 3, 2, 2), np.float32)
    for t, p, q in np.ndindex(3, 2, 2):
        d = 2 * (t - 1) + p - q + 1
        if 0 <= d < 3:
            place[t, d, p, q] = 1
    place = jnp.asarray(place, kernel.dtype)
    blocks = jnp.einsum("ydpq,deio->ypqeio", place, kernel)
    blocks = jnp.einsum("xers,ypqeio->yxpriqso", place, blocks)
    blocks = blocks.reshape(3, 3, 4 * ci, 4 * co)
    y = _convolve(space_to_depth(pad_to_even(x)), blocks, 1, ((1, 1), (1, 1)))
    return depth_to_space(y)[:, :height, :width, :]


def conv3x3(
    x: Float[Array, "b h w ci"], kernel: Float[Array, "3 3 ci co"], *, padding: str
) -> Float[Array, "b h w co"]:
    """Returns the 3x3 convolution of x, padded with "zeros" or by reflection."""
    _, height, width, ci = x.shape
    few_channels = ci <= 8 and kernel.shape[-1] <= 4 and min(height, width) > 8
    if padding == "zeros":
        if few_channels:
            return packed_conv(x, kernel)
        return _convolve(x, kernel, 1, ((1, 1), (1, 1)))
    x = pad_reflect(x)
    if few_channels:
        return packed_conv(x, kernel)[:, 1:-1, 1:-1, :]
    # The zero row, cropped again, costs nothing; but a convolution without any padding
    # takes a path in XLA's CPU backend that is up to 10 times slower.
    return _convolve(x, kernel, 1, ((0, 1), (0, 0)))[:, :height, :, :]


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b (h+1)//2 (w+1)//2 c"]:
    """Returns the maximum over 3x3 windows centred at every second pixel.

    Written as maxima of the even and odd pixels: XLA's gradient of window reduction
    scatters, and takes 10 times longer on CPU. Where a window holds equal maxima the
    gradient is shared among them.
    """
    x = pad_to_even(x, -jnp.inf)
    for axis in (1, 2):
        shape = (*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :])
        pairs = x.reshape(shape)
        even = lax.index_in_dim(pairs, 0, axis + 1, keepdims=False)
        odd = lax.index_in_dim(pairs, 1, axis + 1, keepdims=False)
        first = lax.slice_in_dim(odd, 0, 1, axis=axis)
        before = lax.slice_in_dim(odd, 0, odd.shape[axis] - 1, axis=axis)
        # Window i holds the pixels 2 i - 1, 2 i, 2 i + 1; before the first lies nothing.
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
    # Along the columns first: that is the smaller intermediate result.
    x = jnp.einsum("Ww,bhwc->bhWc", jnp.asarray(columns, x.dtype), x)
    return jnp.einsum("Hh,bhwc->bHwc", jnp.asarray(rows, x.dtype), x)


def resize_bilinear(
    x: Float[Array, "b h w c"], size: tuple[int, int]
) -> Float[Array, "b H W c"]:
    """Returns x resized so that corner pixel centres fall on corner pixel centres."""
    matrices = []
    for old, new in zip(x.shape[1:3], size):
        scale = (old - 1) / (new - 1) if new > 1 else 0.0
        matrices.append(_interpolation_matrix(np.arange(new) * scale, old))
    return _resize(x, *matrices)


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


class Conv(nn.Module):
    """A convolution that keeps a feature map's size, or halves it rounding up.

    Attributes:
        features: number of output channels.
        kernel_size: side of the odd square kernel.
        stride: 1 or 2; output i is centred at input `stride * i`.
        padding: what lies outside the image, "zeros" or "reflect" (3x3, stride 1).
        use_bias: whether to add a learned offset, initially 0.
        kernel_init: He initialisation for a following ReLU by default.
        dtype: of the computation and of the output; parameters are float32.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: str = "zeros"
    use_bias: bool = True
    kernel_init: Callable[..., Array] = nn.initializers.he_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w ci"]) -> Float[Array, "b H W co"]:
        size = self.kernel_size
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x = x.astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        if size == 1:
            x = x[:, :: self.stride, :: self.stride, :] @ kernel[0, 0]
        elif size == 3 and self.stride == 1:
            x = conv3x3(x, kernel, padding=self.padding)
        else:
            border = (size // 2, size // 2)
            x = _convolve(x, kernel, self.stride, (border, border))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(self.dtype)[None, None, None, :]
        return x


class TransposedConv(nn.Module):
    """A 3x3 transposed convolution of stride 2 with bias; doubles both sides.

    Attributes:
        features: number of output channels.
        dtype: of the computation and of the output; parameters are float32.
    """

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w ci"]) -> Float[Array, "b 2*h 2*w co"]:
        shape = (3, 3, x.shape[-1], self.features)
        # 9/4 taps reach an output pixel on average, so He's variance is 4 times that
        # of a 3x3 convolution.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "truncated_normal")
        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = transposed_conv(x.astype(self.dtype), kernel.astype(self.dtype))
        return x + bias.astype(self.dtype)[None, None, None, :]


class RandomizedLayerNorm(nn.Module):
    """Layer norm per image and channel whose statistics are noisy in training.

    Mean and variance over (h, w) are each multiplied by `1 + n`, n from a normal
    distribution truncated at two standard deviations, drawn per image and channel.
    Noise takes the place of a batch's randomness in batch norm (Li et al. 2020, A.1),
    without which the network overfits.

    Attributes:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-3

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        noise_stddev: Array | float = 0.0,
        train: bool = False,
    ) -> Float[Array, "b h w c"]:
        """Returns x normalised, in x's dtype; the statistics are float32.

        Args:
            x: feature map.
            noise_stddev: standard deviation of n before truncation, 0 to 0.5; a traced
                scalar may change from step to step.
            train: whether to draw noise, from the random stream "noise".
        """
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        offset = self.param("offset", nn.initializers.zeros, (channels,))
        values = x.astype(jnp.float32)
        mean = jnp.mean(values, axis=(1, 2), keepdims=True)
        variance = jnp.mean(jnp.square(values - mean), axis=(1, 2), keepdims=True)
        if train:
            noise = jax.random.truncated_normal(
                self.make_rng("noise"), -2.0, 2.0, (2, *mean.shape)
            )
            factor = 1.0 + noise_stddev * noise
            mean, variance = mean * factor[0], variance * factor[1]
        gain = lax.rsqrt(variance + self.epsilon) * scale[None, None, None, :]
        shift = offset[None, None, None, :] - mean * gain
        return (values * gain + shift).astype(x.dtype)


class LearnedScale(nn.Module):
    """A learned positive factor that cannot shrink to nothing.

    Attributes:
        initial: initial value.
        minimum: smallest value returned.
    """

    initial: float = 0.01
    minimum: float = 0.001

    @nn.compact
    def __call__(self) -> Float[Array, ""]:
        scale = self.param("scale", nn.initializers.constant(self.initial), ())
        # The gradient passes the bound unchanged, so that a scale that has fallen
        # below it can grow again.
        return scale + lax.stop_gradient(jnp.maximum(scale, self.minimum) - scale)
