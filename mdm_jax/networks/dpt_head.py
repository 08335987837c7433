"""Depth Anything V2: DINOv2 with the head of DPT, as a depth net.

Yang et al. 2024; the head is that of Ranftl et al. 2021. Its output d is a disparity up
to an unknown factor and offset. Depth is `1 / softplus(a d + b)` with learned a and b,
the softplus so sharp that it only keeps disparity above zero. The metric checkpoints
end in a sigmoid, times the largest depth; their output is depth in metres.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import convolution, layers, resampling, vit

# Widths of the head: of its features, and of the four token maps it begins with.
_HEADS = {
    vit.SMALL: (64, (48, 96, 192, 384)),
    vit.BASE: (128, (96, 192, 384, 768)),
    vit.LARGE: (256, (256, 512, 1024, 1024)),
}
SIZES = {
    "dinov2_vits14": vit.SMALL,
    "dinov2_vitb14": vit.BASE,
    "dinov2_vitl14": vit.LARGE,
}
_LAST_WIDTH = 32
# Of ImageNet, as DINOv2 was trained with.
_MEAN, _STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Disparities above a few times 1 / _SHARPNESS pass the softplus unchanged.
_SHARPNESS = 100.0
_LEAST_DISPARITY = 1e-3


class _Enlarge(nn.Module):
    """A transposed convolution whose stride is its kernel's size."""

    features: int
    factor: int
    dtype: layers.Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w ci"]) -> Float[Array, "b H W co"]:
        b, h, w, channels = x.shape
        shape = (self.factor, self.factor, channels, self.features)
        kernel = self.param("kernel", layers.scaled_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = jnp.einsum("bhwi,uvio->bhuwvo", x, kernel.astype(self.dtype))
        x = x.reshape(b, h * self.factor, w * self.factor, self.features)
        return x + bias.astype(self.dtype)[None, None, None]


class _ResidualUnit(nn.Module):
    """ReLU and a 3x3 convolution, twice, around a shortcut."""

    dtype: layers.Dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = layers.Conv(x.shape[-1], dtype=self.dtype, name="conv1")(nn.relu(x))
        return x + layers.Conv(x.shape[-1], dtype=self.dtype, name="conv2")(nn.relu(y))


class DPTHead(nn.Module):
    """The decoder of dense prediction transformers.

    Attributes:
        features: width of the fused maps.
        widths: of the token maps after projection, finest first.
        last_width: of the last convolution but one.
        dtype: of the convolutions; parameters are float32.
    """

    features: int
    widths: tuple[int, ...]
    last_width: int = _LAST_WIDTH
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, maps: list[Array]) -> Float[Array, "b h w"]:
        """Returns one number per pixel, 14 times the resolution of the token maps."""
        rows, columns = maps[0].shape[1:3]

        def conv(features: int, size: int, name: str, **options) -> layers.Conv:
            return layers.Conv(features, size, dtype=self.dtype, name=name, **options)

        pyramid = []
        for i, (x, width) in enumerate(zip(maps, self.widths, strict=True)):
            x = conv(width, 1, f"project{i}")(x)
            if i < 2:
                x = _Enlarge(width, 4 // (i + 1), self.dtype, name=f"resize{i}")(x)
            elif i == 3:
                x = conv(width, 3, "resize3", stride=2)(x)
            x = conv(self.features, 3, f"reduce{i}", use_bias=False)(x)
            pyramid.append(x)

        x = pyramid[3]
        for i in reversed(range(4)):
            if i < 3:
                skip = _ResidualUnit(self.dtype, name=f"fuse{i}_skip")(pyramid[i])
                x = x + skip
            x = _ResidualUnit(self.dtype, name=f"fuse{i}_unit")(x)
            if i:
                size = pyramid[i - 1].shape[1:3]
            else:
                size = (2 * x.shape[1], 2 * x.shape[2])
            x = resampling.resize_bilinear(x, size)
            x = conv(self.features, 1, f"fuse{i}_out")(x)

        x = conv(self.features // 2, 3, "output1")(x)
        x = resampling.resize_bilinear(x, (rows * vit.PATCH, columns * vit.PATCH))
        x = nn.relu(conv(self.last_width, 3, "output2")(x))
        # Small and above zero, where it begins from nothing: a ReLU follows.
        shape = (1, 1, self.last_width, 1)
        last = self.param("kernel", layers.scaled_normal(0.01), shape)
        bias = self.param("bias", nn.initializers.ones, (1,))
        x = x.astype(jnp.float32)
        return convolution.convolve(x, last, 1, "VALID")[..., 0] + bias[None, None]


class DepthAnything(nn.Module):
    """A depth net on a vision transformer.

    Attributes:
        size: of the transformer.
        features: width of the head.
        widths: of the head's token maps.
        last_width: of the head's last convolution but one.
        max_depth: largest depth of a metric checkpoint, metres; 0 for disparity.
        rank: of the low-rank updates of attention; 0 for none.
        dtype: of the networks; parameters and result are float32.
    """

    size: vit.Size = vit.SMALL
    features: int = _HEADS[vit.SMALL][0]
    widths: tuple[int, ...] = _HEADS[vit.SMALL][1]
    last_width: int = _LAST_WIDTH
    max_depth: float = 0.0
    rank: int = 0
    dtype: layers.Dtype = jnp.float32

    def setup(self):
        self.encoder = vit.VisionTransformer(self.size, self.rank, self.dtype)
        self.head = DPTHead(self.features, self.widths, self.last_width, self.dtype)
        if not self.max_depth:
            # a and b.
            self.head_factor = self.param("head_factor", nn.initializers.ones, ())
            self.head_offset = self.param("head_offset", nn.initializers.zeros, ())

    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        noise_stddev: Array | float = 0.0,
        train: bool = False,
    ) -> Float[Array, "b h w"]:
        """Returns depth, positive, float32; in metres for a metric checkpoint.

        Args:
            image: colours in [0, 1], of any size; it is resized to the nearest
                multiples of 14, and depth back.
            noise_stddev: ignored, as there are no randomised norms.
            train: ignored.
        """
        del noise_stddev, train
        height, width = image.shape[1:3]
        x = self.raw(image)[..., None]
        if x.shape[1:3] != (height, width):
            x = resampling.resize_pixels(x, (height, width))
        x = x[..., 0]
        if self.max_depth:
            return x
        x = self.head_factor * x + self.head_offset
        disparity = nn.softplus(_SHARPNESS * x) / _SHARPNESS
        return 1.0 / (disparity + _LEAST_DISPARITY)

    def raw(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b H W"]:
        """Returns what Depth Anything returns, at the multiples of 14."""
        size = [max(1, round(n / vit.PATCH)) * vit.PATCH for n in image.shape[1:3]]
        if size != list(image.shape[1:3]):
            image = resampling.resize_pixels(image, (size[0], size[1]))
        mean, stddev = (jnp.asarray(v)[None, None, None] for v in (_MEAN, _STDDEV))
        x = self.head(self.encoder((image - mean) / stddev))
        return nn.sigmoid(x) * self.max_depth if self.max_depth else nn.relu(x)


def of_encoder(
    encoder: str, *, max_depth: float, rank: int, dtype: layers.Dtype
) -> DepthAnything:
    """Returns the depth net of a published size.

    Args:
        encoder: a key of `SIZES`.
        max_depth: see `DepthAnything`.
        rank: see `DepthAnything`.
        dtype: see `DepthAnything`.
    """
    size = SIZES[encoder]
    features, widths = _HEADS[size]
    return DepthAnything(
        size, features, widths, max_depth=max_depth, rank=rank, dtype=dtype
    )
