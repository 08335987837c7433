"""The depth net: one image in, one depth map of the same size out.

Li et al. 2020: a U-Net on a ResNet encoder, `D = softplus(unet(2 I - 1))`. A side that
is no multiple of 32 is padded by at most one pixel per level in the encoder and cropped
at the same level of the decoder. This costs less than padding the image, and padding does
not enter the statistics of the norms.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import encoders, layers

_DECODER_WIDTHS = (256, 128, 64, 32, 16)
# If all channels of a narrow ReLU layer die, depth stays constant.
_LEAST_DECODER_WIDTH = 8
_PADDINGS = ("reflect", "zeros")


class DepthNet(nn.Module):
    """A depth net; its scale is arbitrary.

    Attributes:
        width_multiplier: scales all widths; none of the decoder's is below 8.
        padding: of the decoder's 3x3 convolutions, "reflect" or "zeros".
        encoder: one of `encoders.ENCODERS`; only a ResNet's widths are scaled.
        encoder_depth: of a ResNet, 18, 34 or 50.
        norm: of a ResNet, "layer" or "batch".
        encoder_norm: of an EfficientNet, "affine" or "batch".
        frozen_encoder: whether the encoder's norms behave in training as elsewhere.
        min_depth: added to the softplus, in depth units, so that 1 / depth is bounded.
        dtype: of the convolutions but the last; parameters and result are float32.
    """

    width_multiplier: float = 1.0
    padding: str = "reflect"
    encoder: str = "resnet"
    encoder_depth: int = 18
    norm: str = "layer"
    encoder_norm: str = "affine"
    frozen_encoder: bool = False
    min_depth: float = 1e-3
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "b h w 3"],
        *,
        noise_stddev: Array | float = 0.0,
        train: bool = False,
    ) -> Float[Array, "b h w"]:
        """Returns depth, positive, float32.

        Args:
            image: colours in [0, 1].
            noise_stddev: sigma of the randomised layer norm.
            train: whether the norms are in training mode; layer norms then draw from the
                random stream "noise".

        Raises:
            ValueError: for an unknown padding.
        """
        if self.padding not in _PADDINGS:
            raise ValueError(
                f"depth net padding expects one of {_PADDINGS}, got {self.padding!r}"
            )
        skips = encoders.feature_maps(
            self, image, noise_stddev=noise_stddev, train=train
        )
        x = skips.pop()
        for stage, base_width in enumerate(_DECODER_WIDTHS):
            width = layers.scaled_width(base_width, self.width_multiplier)
            width = max(_LEAST_DECODER_WIDTH, width)
            level = len(_DECODER_WIDTHS) - stage
            x = layers.TransposedConv(width, self.dtype, name=f"up{level}")(x)
            skip = skips.pop() if skips else None
            height, columns = (image if skip is None else skip).shape[1:3]
            x = nn.relu(x[:, :height, :columns, :])
            if skip is not None:
                x = jnp.concatenate([x, skip], axis=-1)
            conv = layers.Conv(
                width, padding=self.padding, dtype=self.dtype, name=f"merge{level}"
            )
            x = nn.relu(conv(x))
        # In float32: bfloat16 has 128 numbers between 16 and 32.
        head = layers.Conv(
            1, padding=self.padding, kernel_init=layers.scaled_normal(1.0), name="head"
        )
        return nn.softplus(head(x)[..., 0]) + self.min_depth
