"""The EfficientNet-Lite encoders: an image in, five feature maps out.

Tan and Le 2019 without squeeze-and-excitation and with ReLU6, as TensorFlow released
them in 2020: inverted residual blocks of a 1x1 expansion, a depthwise convolution and a
1x1 projection, each followed by a batch norm of epsilon 1e-3. Strided layers are padded
as TensorFlow's "SAME". `efficientnet_weights` fills the encoder with ImageNet weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import convolution, depthwise, layers

EPSILON = 1e-3
NORMS = ("affine", "batch")
_STEM_WIDTH = 32


class _Stage(NamedTuple):
    """Blocks of one width; the first of them is strided."""

    blocks: int
    kernel_size: int
    stride: int
    expansion: int
    width: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
# The stages that end at strides 2, 4, 8, 16 and 32.
_FEATURE_STAGES = (0, 1, 2, 4, 6)
# Multipliers of widths and of numbers of blocks.
_VARIANTS = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
VARIANTS = tuple(_VARIANTS)


def stages(variant: str) -> list[_Stage]:
    """Returns the stages of a variant; its first and last stage keep their blocks.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in _VARIANTS:
        raise ValueError(f"EfficientNet expects one of {VARIANTS}, got {variant!r}")
    width, depth = _VARIANTS[variant]
    last = len(_STAGES) - 1
    return [
        stage._replace(
            width=_rounded(stage.width * width),
            blocks=stage.blocks if i in (0, last) else math.ceil(stage.blocks * depth),
        )
        for i, stage in enumerate(_STAGES)
    ]


def _rounded(width: float) -> int:
    """Returns the nearest multiple of 8 that is not less than 90 % of a width."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0.0, 6.0)


class _Affine(nn.Module):
    """A factor and an offset per channel: a batch norm whose statistics are folded."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        offset = self.param("offset", nn.initializers.zeros, (channels,))
        scale, offset = (v.astype(x.dtype)[None, None, None] for v in (scale, offset))
        return x * scale + offset


def _norm(x: Array, kind: str, name: str, train: bool) -> Array:
    if kind == "affine":
        return _Affine(name=name)(x)
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.99,
        epsilon=EPSILON,
        dtype=x.dtype,
        use_fast_variance=False,
        name=name,
    )(x)


class _DepthwiseConv(nn.Module):
    """A depthwise convolution; see `depthwise.convolve`."""

    kernel_size: int
    stride: int
    dtype: layers.Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W c"]:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1])
        # Fan-in is the taps alone.
        kernel = self.param("kernel", _depthwise_normal, shape)
        return depthwise.convolve(
            x.astype(self.dtype), kernel.astype(self.dtype), self.stride
        )


def _depthwise_normal(key: Array, shape: tuple[int, ...]) -> Array:
    flat = layers.scaled_normal()(key, (shape[0] * shape[1], shape[2]))
    return flat.reshape(shape)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and linear projection, around a shortcut."""

    stage: _Stage
    stride: int
    norm: str = "affine"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool = False) -> Array:
        def pointwise(y: Array, features: int, name: str) -> Array:
            conv = layers.Conv(features, 1, use_bias=False, dtype=self.dtype, name=name)
            return _norm(conv(y), self.norm, f"{name}_norm", train)

        y = x
        if self.stage.expansion != 1:
            y = _relu6(pointwise(y, x.shape[-1] * self.stage.expansion, "expand"))
        conv = _DepthwiseConv(
            self.stage.kernel_size, self.stride, self.dtype, name="depthwise"
        )
        y = _relu6(_norm(conv(y), self.norm, "depthwise_norm", train))
        y = pointwise(y, self.stage.width, "project")
        return x + y if x.shape == y.shape else y


class EfficientNetEncoder(nn.Module):
    """An EfficientNet-Lite without its classifier.

    Attributes:
        variant: one of `VARIANTS`.
        norm: "affine": factors and offsets into which the statistics of ImageNet are
            folded, for small batches; "batch": statistics of the batch in training,
            their running averages otherwise.
        dtype: of convolutions and feature maps; parameters are float32.
    """

    variant: str = "efficientnet_lite0"
    norm: str = "affine"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], *, train: bool = False
    ) -> list[Array]:
        """Returns feature maps of strides 2, 4, 8, 16 and 32.

        Lite0 and Lite1 have 16, 24, 40, 112 and 320 channels, Lite2 16, 24, 48, 120 and
        352. Sides that do not divide are rounded up at each stride.

        Args:
            image: colours in [0, 1].
            train: whether batch norms take the statistics of this batch.

        Raises:
            ValueError: for a variant or norm without definition.
        """
        if self.norm not in NORMS:
            raise ValueError(f"norm expects one of {NORMS}, got {self.norm!r}")
        # As the published weights were trained.
        x = (image * 255.0 - 127.0) / 128.0
        x = _Stem(self.dtype, name="stem")(x)
        x = _relu6(_norm(x, self.norm, "stem_norm", train))
        feature_maps, index = [], 0
        for i, stage in enumerate(stages(self.variant)):
            for j in range(stage.blocks):
                x = InvertedResidual(
                    stage,
                    stage.stride if j == 0 else 1,
                    self.norm,
                    self.dtype,
                    name=f"block{index}",
                )(x, train=train)
                index += 1
            if i in _FEATURE_STAGES:
                feature_maps.append(x)
        return feature_maps


class _Stem(nn.Module):
    """The first convolution, 3x3 of stride 2."""

    dtype: layers.Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b H W co"]:
        shape = (3, 3, x.shape[-1], _STEM_WIDTH)
        kernel = self.param("kernel", layers.scaled_normal(), shape)
        padding = tuple(depthwise.same_padding(n, 3, 2) for n in x.shape[1:3])
        return convolution.convolve(
            x.astype(self.dtype), kernel.astype(self.dtype), 2, padding
        )
