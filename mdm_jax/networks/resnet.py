"""The ResNet encoder of the depth net: an image in, five feature maps out.

He et al. 2016, as in Li et al. 2020: 7x7 stem, max pooling, four stages; layer norm
with randomised statistics where classification networks have batch norm. Every strided
layer is centred at even pixels, as in torchvision, whose weights therefore fit.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import layers, resampling

_STAGE_WIDTHS = (64, 128, 256, 512)
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def _conv(features, kernel_size, stride, dtype, name) -> layers.Conv:
    # The norm's offset does what a bias would.
    return layers.Conv(
        features, kernel_size, stride, use_bias=False, dtype=dtype, name=name
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; see `ResNetEncoder` for the options."""

    features: int
    stride: int = 1
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, noise_stddev=0.0, train: bool = False) -> Array:
        def norm(y, name):
            module = layers.RandomizedLayerNorm(name=name)
            return module(y, noise_stddev=noise_stddev, train=train)

        y = _conv(self.features, 3, self.stride, self.dtype, "conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = _conv(self.features, 3, 1, self.dtype, "conv2")(y)
        y = norm(y, "norm2")
        if self.stride != 1 or x.shape[-1] != self.features:
            # No norm on the shortcut (Li et al. 2020).
            x = _conv(self.features, 1, self.stride, self.dtype, "shortcut")(x)
        return nn.relu(x + y)


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; 4 x `features` channels out."""

    features: int
    stride: int = 1
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, noise_stddev=0.0, train: bool = False) -> Array:
        def norm(y, name):
            module = layers.RandomizedLayerNorm(name=name)
            return module(y, noise_stddev=noise_stddev, train=train)

        features_out = 4 * self.features
        y = _conv(self.features, 1, 1, self.dtype, "conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = _conv(self.features, 3, self.stride, self.dtype, "conv2")(y)
        y = nn.relu(norm(y, "norm2"))
        y = _conv(features_out, 1, 1, self.dtype, "conv3")(y)
        y = norm(y, "norm3")
        if self.stride != 1 or x.shape[-1] != features_out:
            x = _conv(features_out, 1, self.stride, self.dtype, "shortcut")(x)
        return nn.relu(x + y)


class ResNetEncoder(nn.Module):
    """A ResNet without its classifier.

    Attributes:
        depth: 18, 34 (basic blocks) or 50 (bottleneck blocks).
        width_multiplier: scales the widths 64, 64, 128, 256, 512.
        dtype: of convolutions and feature maps; parameters are float32.
    """

    depth: int = 18
    width_multiplier: float = 1.0
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        noise_stddev: Array | float = 0.0,
        train: bool = False,
    ) -> list[Array]:
        """Returns feature maps of strides 2 (before max pooling), 4, 8, 16 and 32.

        Sides that do not divide are rounded up at each stride.

        Args:
            image: colours centred at 0.
            noise_stddev: of the norms' statistics, see `RandomizedLayerNorm`.
            train: whether statistics are noisy.

        Raises:
            ValueError: for a depth without definition.
        """
        if self.depth not in _BLOCKS:
            raise ValueError(
                f"ResNet depth expects one of {sorted(_BLOCKS)}, got {self.depth}"
            )
        block = BasicBlock if self.depth < 50 else BottleneckBlock
        noise = {"noise_stddev": noise_stddev, "train": train}
        width = layers.scaled_width(64, self.width_multiplier)
        x = _conv(width, 7, 2, self.dtype, "stem_conv")(image)
        x = layers.RandomizedLayerNorm(name="stem_norm")(x, **noise)
        x = nn.relu(x)
        feature_maps = [x]
        x = resampling.max_pool(x)
        for stage, blocks in enumerate(_BLOCKS[self.depth]):
            width = layers.scaled_width(_STAGE_WIDTHS[stage], self.width_multiplier)
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"stage{stage + 1}_block{index + 1}"
                x = block(width, stride, self.dtype, name=name)(x, **noise)
            feature_maps.append(x)
        return feature_maps
