"""The paper's motion net: two frames in, egomotion and a residual motion field out.

Li et al. 2020, sec. 3.2: strided convolutions on the stacked frames end in a bottleneck
from which egomotion is read; the residual field starts there and is refined on the way
back through all layers to full resolution.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mdm_jax.networks import layers, resampling
from mdm_jax.networks.motion_net import FramePairs, MotionOutput

_WIDTHS = (16, 32, 64, 128, 256, 512, 1024)


def _linear(features: int, name: str) -> layers.Conv:
    # Small numbers that move pixels: not in reduced precision.
    return layers.Conv(
        features,
        kernel_size=1,
        use_bias=False,
        kernel_init=layers.scaled_normal(1.0),
        precision=lax.Precision.HIGHEST,
        name=name,
    )


class RefineField(nn.Module):
    """One step of refinement of a motion field by a layer of higher resolution.

    Attributes:
        dtype: of the convolutions but the last.
    """

    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, field: Float[Array, "b h w 3"], layer: Float[Array, "b H W c"]
    ) -> Float[Array, "b H W 3"]:
        """Returns the field at the layer's size plus a correction, float32."""
        _, height, width, _ = layer.shape
        field = resampling.resize_bilinear(field, (height, width))
        x = jnp.concatenate([field.astype(self.dtype), layer], axis=-1)
        width = max(4, layer.shape[-1])
        # The first convolutions of the two parallel branches read the same input and
        # are one convolution here.
        both = layers.Conv(2 * width, dtype=self.dtype, name="conv1")(x)
        short, long = jnp.split(nn.relu(both), 2, axis=-1)
        long = nn.relu(layers.Conv(width, dtype=self.dtype, name="conv2")(long))
        x = jnp.concatenate([short, long], axis=-1)
        return field + _linear(3, "linear")(x)


class PaperMotionNet(nn.Module):
    """The motion net of Li et al. 2020.

    Attributes:
        width_multiplier: scales the widths 16, 32, ... 1024.
        depth_input: whether depth is the frames' fourth channel.
        stop_depth_gradient: whether depth is a constant for this net; in the paper it
            is not.
        initial_scale: initial value of the learned scales of rotation and translation.
        dtype: of the convolutions; parameters and results are float32.
    """

    width_multiplier: float = 1.0
    depth_input: bool = True
    stop_depth_gradient: bool = False
    initial_scale: float = 0.01
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, pairs: FramePairs, *, train: bool = False) -> MotionOutput:
        """Returns the motion `b_from_a`.

        Args:
            pairs: with depth, if this is an input.
            train: not used; there are no batch norms.
        """
        stack = [layers.centered(pairs.image_a), layers.centered(pairs.image_b)]
        if self.depth_input:
            depths = jnp.stack([pairs.depth_a, pairs.depth_b], axis=-1)
            if self.stop_depth_gradient:
                depths = lax.stop_gradient(depths)
            stack.append(depths)
        x = jnp.concatenate(stack, axis=-1).astype(self.dtype)
        feature_maps = [x]
        for index, base_width in enumerate(_WIDTHS):
            width = layers.scaled_width(base_width, self.width_multiplier)
            conv = layers.Conv(width, 3, 2, dtype=self.dtype, name=f"conv{index + 1}")
            x = nn.relu(conv(x))
            feature_maps.append(x)
        bottleneck = jnp.mean(x.astype(jnp.float32), axis=(1, 2), keepdims=True)
        background = _linear(6, "background")(bottleneck)
        residual = _linear(3, "residual")(background)
        for index in reversed(range(len(feature_maps))):
            name = f"refine{index}"
            residual = RefineField(self.dtype, name=name)(residual, feature_maps[index])
        angles, translation = jnp.split(background[:, 0, 0, :], 2, axis=-1)
        scale = layers.LearnedScale(self.initial_scale, name="translation_scale")()
        rotation_scale = layers.LearnedScale(self.initial_scale, name="rotation_scale")
        return MotionOutput(
            angles=angles * rotation_scale(),
            translation=translation * scale,
            residual=residual * scale,
            bottleneck=bottleneck[:, 0, 0, :],
        )
