"""The three parts of the correlation motion net that hold its convolutions."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from mdm_jax.networks import convolution, layers, rays


class FeatureEncoder(nn.Module):
    """Two convolutions to unit vectors at half resolution.

    Attributes:
        features: length of the vectors.
        dtype: of the convolutions.
    """

    features: int = 16
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"]
    ) -> Float[Array, "b (h+1)//2 (w+1)//2 c"]:
        """Returns float32 features of centred colours."""
        # Each 2x2 block of the image is one pixel here, so that features are centred
        # like the pixels of average pooling, and no convolution is strided.
        x = convolution.space_to_depth(convolution.pad_to_even(image))
        x = nn.relu(layers.Conv(self.features, dtype=self.dtype, name="conv1")(x))
        linear = layers.scaled_normal(1.0)
        x = layers.Conv(
            self.features,
            use_bias=False,
            kernel_init=linear,
            dtype=self.dtype,
            name="conv2",
        )(x)
        x = x.astype(jnp.float32)
        # The mean over all pixels does not help to distinguish them. Subtracting it
        # halves the error of an untrained encoder's soft-argmax flow.
        x = x - jnp.mean(x, axis=(1, 2), keepdims=True)
        # The bound keeps gradients small in flat regions, where features vanish.
        squared = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
        return x * lax.rsqrt(squared + 1e-6)


class EgomotionTrunk(nn.Module):
    """Strided convolutions with ray coordinates at each level, then a mean.

    Attributes:
        widths: of the convolutions, each halving the resolution.
        dtype: of the convolutions.
    """

    widths: tuple[int, ...]
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], intrinsics: Float[Array, "b 3 3"]
    ) -> Float[Array, "b k"]:
        """Returns features of the pair, float32; intrinsics are of x's grid."""
        for index, width in enumerate(self.widths):
            conv = layers.Conv(width, 3, 2, dtype=self.dtype, name=f"conv{index + 1}")
            _, height, columns, _ = x.shape
            coordinates = rays.ray_coordinates(
                intrinsics, (height, columns), 2**index
            ).astype(self.dtype)
            x = jnp.concatenate([x.astype(self.dtype), coordinates], axis=-1)
            x = nn.relu(conv(x))
        return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


class ResidualHead(nn.Module):
    """A small U-Net whose three output channels start at zero.

    Attributes:
        widths: from the input's resolution down, each level at half the one before.
        dtype: of the convolutions but the last.
    """

    widths: tuple[int, ...]
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 3"]:
        """Returns the head's output, float32."""
        # Mixes the many measurements of a pixel to few channels before the 3x3 layers.
        mix = layers.Conv(self.widths[0], 1, dtype=self.dtype, name="mix")
        x = nn.relu(mix(x))
        skips = []
        for index, width in enumerate(self.widths):
            stride = 1 if index == 0 else 2
            name = f"down{index}"
            x = layers.Conv(width, 3, stride, dtype=self.dtype, name=name)(x)
            x = nn.relu(x)
            skips.append(x)
        skips.pop()
        for index in reversed(range(len(skips))):
            width, skip = self.widths[index], skips[index]
            x = layers.TransposedConv(width, self.dtype, name=f"up{index}")(x)
            x = nn.relu(x[:, : skip.shape[1], : skip.shape[2], :])
            x = jnp.concatenate([x, skip], axis=-1)
            x = nn.relu(layers.Conv(width, dtype=self.dtype, name=f"merge{index}")(x))
        return layers.Conv(3, kernel_init=nn.initializers.zeros, name="output")(x)
