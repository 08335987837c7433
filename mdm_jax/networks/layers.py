"""The parametrised layers of all networks.

Feature maps are `[b h w c]`. A strided layer halves a side of n pixels to ceil(n / 2)
and a transposed one doubles it, so that images of any size pass through a U-Net with
one crop per level. Parameters are float32; the type of computation is an option.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mdm_jax.networks import convolution

Dtype = Any
Initializer = Callable[..., Array]


def scaled_width(width: int, multiplier: float) -> int:
    """Returns a layer's width in a network made narrower or wider, at least 4."""
    return max(4, round(width * multiplier))


def centered(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Returns colours in [0, 1] as values in [-1, 1]."""
    return image * 2.0 - 1.0


def standardized(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
    """Returns colours in [0, 1] with about the mean 0 and deviation 1 of photographs.

    Godard et al. 2019 use this input for networks trained on ImageNet.
    """
    return (image - 0.45) / 0.225


def scaled_normal(gain: float = 2.0) -> Initializer:
    """Returns an initializer with variance gain / fan-in; the default is He's, for ReLU.

    Args:
        gain: 2 where a ReLU follows, 1 where nothing does.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Dtype = jnp.float32) -> Array:
        # XLA compiles a random generator for each shape, which takes longer than for a
        # convolution. Sizes rounded up to powers of 4 are few.
        size = math.prod(shape)
        rounded = 4 ** math.ceil(math.log(size, 4))
        values = jax.random.truncated_normal(key, -2.0, 2.0, (rounded,), dtype)
        # 0.8796 is the standard deviation of the truncated distribution.
        stddev = math.sqrt(gain / math.prod(shape[:-1])) / 0.87962566
        return values[:size].reshape(shape) * stddev

    return init


class Conv(nn.Module):
    """A convolution that keeps a feature map's size, or halves it rounding up.

    Attributes:
        features: number of output channels.
        kernel_size: side of the odd square kernel.
        stride: 1 or 2; output i is centred at input `stride * i`.
        padding: "zeros" or "reflect" (3x3 kernels of stride 1).
        use_bias: whether to add a learned offset, initially 0.
        kernel_init: He initialisation for a following ReLU by default.
        dtype: of the computation and of the output; parameters are float32.
        precision: of the multiplications in float32; None for the accelerator's default,
            which is lower. 1x1 kernels only.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: str = "zeros"
    use_bias: bool = True
    kernel_init: Initializer = scaled_normal()
    dtype: Dtype = jnp.float32
    precision: lax.Precision | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w ci"]) -> Float[Array, "b H W co"]:
        size = self.kernel_size
        shape = (size, size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        x = x.astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        if size == 1:
            x = x[:, :: self.stride, :: self.stride, :]
            x = jnp.matmul(x, kernel[0, 0], precision=self.precision)
        elif size == 3 and self.stride == 1:
            x = convolution.conv3x3(x, kernel, padding=self.padding)
        else:
            border = (size // 2, size // 2)
            x = convolution.convolve(x, kernel, self.stride, (border, border))
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
        kernel = self.param("kernel", scaled_normal(8.0), shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = convolution.transposed_conv(x.astype(self.dtype), kernel.astype(self.dtype))
        return x + bias.astype(self.dtype)[None, None, None, :]


class RandomizedLayerNorm(nn.Module):
    """Layer norm per image and channel whose statistics are noisy in training.

    Mean and variance over (h, w) are each multiplied by `1 + n`, n from a normal
    distribution truncated at two standard deviations, drawn per image and channel.
    The noise replaces the randomness of batch norm (Li et al. 2020, A.1), without which
    the network overfits.

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
    """A learned factor with a positive lower bound.

    Attributes:
        initial: initial value.
        minimum: smallest value returned.
    """

    initial: float = 0.01
    minimum: float = 0.001

    @nn.compact
    def __call__(self) -> Float[Array, ""]:
        scale = self.param("scale", nn.initializers.constant(self.initial), ())
        # The gradient passes the bound unchanged, so that a scale below it can grow.
        return scale + lax.stop_gradient(jnp.maximum(scale, self.minimum) - scale)
