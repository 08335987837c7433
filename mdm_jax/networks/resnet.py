"""The ResNet encoder of the depth net: an image in, five feature maps out.

He et al. 2016, as in Li et al. 2020: 7x7 stem, max pooling and four stages, with
randomised layer norms in place of batch norms. Every strided layer is centred at even
pixels, as in torchvision, so that its weights fit. With norm "batch" the encoder equals
torchvision's, including its statistics.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import layers, resampling

_STAGE_WIDTHS = (64, 128, 256, 512)
NORMS = ("layer", "batch")
_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def _conv(features, kernel_size, stride, dtype, name) -> layers.Conv:
    # The offset of the following norm replaces the bias.
    return layers.Conv(
        features, kernel_size, stride, use_bias=False, dtype=dtype, name=name
    )


def _norm(x: Array, kind: str, name: str, noise_stddev, train: bool) -> Array:
    """Returns x after a norm of this kind."""
    if kind == "layer":
        module = layers.RandomizedLayerNorm(name=name)
        return module(x, noise_stddev=noise_stddev, train=train)
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=x.dtype,
        use_fast_variance=False,
        name=name,
    )(x)


def input_colors(image: Float[Array, "b h w 3"], norm: str) -> Array:
    """Returns colours in [0, 1] as input of an encoder with these norms.

    Batch norms are for pretrained weights, which expect standardised colours. Layer norms
    remove the scale of the input.
    """
    return layers.centered(image) if norm == "layer" else layers.standardized(image)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut; see `ResNetEncoder` for the options."""

    features: int
    stride: int = 1
    norm: str = "layer"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, noise_stddev=0.0, train: bool = False) -> Array:
        def norm(y, name):
            return _norm(y, self.norm, name, noise_stddev, train)

        y = _conv(self.features, 3, self.stride, self.dtype, "conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = _conv(self.features, 3, 1, self.dtype, "conv2")(y)
        y = norm(y, "norm2")
        if self.stride != 1 or x.shape[-1] != self.features:
            x = _conv(self.features, 1, self.stride, self.dtype, "shortcut")(x)
            if self.norm == "batch":  # Li et al. 2020 have no norm on the shortcut.
                x = norm(x, "shortcut_norm")
        return nn.relu(x + y)


class BottleneckBlock(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; 4 x `features` channels out."""

    features: int
    stride: int = 1
    norm: str = "layer"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, noise_stddev=0.0, train: bool = False) -> Array:
        def norm(y, name):
            return _norm(y, self.norm, name, noise_stddev, train)

        features_out = 4 * self.features
        y = _conv(self.features, 1, 1, self.dtype, "conv1")(x)
        y = nn.relu(norm(y, "norm1"))
        y = _conv(self.features, 3, self.stride, self.dtype, "conv2")(y)
        y = nn.relu(norm(y, "norm2"))
        y = _conv(features_out, 1, 1, self.dtype, "conv3")(y)
        y = norm(y, "norm3")
        if self.stride != 1 or x.shape[-1] != features_out:
            x = _conv(features_out, 1, self.stride, self.dtype, "shortcut")(x)
            if self.norm == "batch":
                x = norm(x, "shortcut_norm")
        return nn.relu(x + y)


class ResNetEncoder(nn.Module):
    """A ResNet without its classifier.

    Attributes:
        depth: 18, 34 (basic blocks) or 50 (bottleneck blocks).
        width_multiplier: scales the widths 64, 64, 128, 256, 512.
        norm: "layer" (Li et al. 2020) or "batch" (running averages are in the
            collection `batch_stats`).
        dtype: of convolutions and feature maps; parameters are float32.
    """

    depth: int = 18
    width_multiplier: float = 1.0
    norm: str = "layer"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w c"],
        *,
        noise_stddev: Array | float = 0.0,
        train: bool = False,
    ) -> list[Array]:
        """Returns feature maps of strides 2 (before max pooling), 4, 8, 16 and 32.

        Odd sides are rounded up at each stride.

        Args:
            image: `input_colors` of an image, or of several, concatenated.
            noise_stddev: of the layer norms' statistics, see `RandomizedLayerNorm`.
            train: whether the norms are in training mode.

        Raises:
            ValueError: for an unknown depth or norm.
        """
        if self.norm not in NORMS:
            raise ValueError(f"norm expects one of {NORMS}, got {self.norm!r}")
        if self.depth not in _BLOCKS:
            raise ValueError(
                f"ResNet depth expects one of {sorted(_BLOCKS)}, got {self.depth}"
            )
        block = BasicBlock if self.depth < 50 else BottleneckBlock
        noise = {"noise_stddev": noise_stddev, "train": train}
        width = layers.scaled_width(64, self.width_multiplier)
        x = _conv(width, 7, 2, self.dtype, "stem_conv")(image)
        x = nn.relu(_norm(x, self.norm, "stem_norm", **noise))
        feature_maps = [x]
        x = resampling.max_pool(x)
        for stage, blocks in enumerate(_BLOCKS[self.depth]):
            width = layers.scaled_width(_STAGE_WIDTHS[stage], self.width_multiplier)
            for index in range(blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"stage{stage + 1}_block{index + 1}"
                x = block(width, stride, self.norm, self.dtype, name=name)(x, **noise)
            feature_maps.append(x)
        return feature_maps
