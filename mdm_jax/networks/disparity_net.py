"""A depth net that predicts disparity: one image in, one depth map out.

Godard et al. 2019, as in the released code of Lee et al.: a U-Net on a ResNet encoder
whose decoder upsamples by repeating pixels, pads by reflection and uses ELU; its output
is a bounded disparity, and depth its inverse. Only the finest scale is predicted, which
trains best (Lee et al. 2019, section 4.1). Sides that are no multiple of 32 are treated
as in `depth_net`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm_jax.networks import encoders, layers

_DECODER_WIDTHS = (256, 128, 64, 32, 16)
ACTIVATIONS = ("sigmoid", "softplus")


class DisparityNet(nn.Module):
    """A depth net with a disparity decoder; its scale is arbitrary.

    Attributes:
        width_multiplier: scales all widths.
        encoder: one of `encoders.ENCODERS`; only a ResNet's widths are scaled.
        encoder_depth: of a ResNet, 18, 34 or 50.
        norm: of a ResNet, "layer" or "batch".
        encoder_norm: of an EfficientNet, "affine" or "batch".
        frozen_encoder: whether the encoder's norms behave in training as elsewhere.
        activation: of disparity: "sigmoid" spans the range of depths (initially
            disparity is half of its maximum, so everything is near), "softplus" has no
            nearest depth.
        min_depth: nearest depth, in depth units; for "sigmoid".
        max_depth: farthest depth, in depth units.
        dtype: of the convolutions but the last; parameters and result are float32.
    """

    width_multiplier: float = 1.0
    encoder: str = "resnet"
    encoder_depth: int = 18
    norm: str = "layer"
    encoder_norm: str = "affine"
    frozen_encoder: bool = False
    activation: str = "sigmoid"
    min_depth: float = 0.1
    max_depth: float = 100.0
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
            ValueError: for an unknown activation.
        """
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"disparity net activation expects one of {ACTIVATIONS}, got "
                f"{self.activation!r}"
            )

        def conv(features: int, name: str, **options: Any) -> layers.Conv:
            return layers.Conv(features, padding="reflect", name=name, **options)

        skips = encoders.feature_maps(
            self, image, noise_stddev=noise_stddev, train=train
        )
        x = skips.pop()
        for stage, base_width in enumerate(_DECODER_WIDTHS):
            width = layers.scaled_width(base_width, self.width_multiplier)
            level = len(_DECODER_WIDTHS) - stage
            x = nn.elu(conv(width, f"up{level}", dtype=self.dtype)(x))
            skip = skips.pop() if skips else None
            height, columns = (image if skip is None else skip).shape[1:3]
            x = _doubled(x)[:, :height, :columns, :]
            if skip is not None:
                x = jnp.concatenate([x, skip], axis=-1)
            x = nn.elu(conv(width, f"merge{level}", dtype=self.dtype)(x))
        # Small weights, because at either end of a sigmoid gradients vanish; in float32,
        # because bfloat16 has 128 numbers between 1 and 2.
        x = conv(1, "head", kernel_init=layers.scaled_normal(0.01))(x)[..., 0]
        smallest = 1.0 / self.max_depth
        if self.activation == "softplus":
            return 1.0 / (nn.softplus(x) + smallest)
        range_ = 1.0 / self.min_depth - smallest
        return 1.0 / (smallest + range_ * nn.sigmoid(x))


def _doubled(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Returns each pixel as a block of 2x2."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (b, h, 2, w, 2, c))
    return x.reshape(b, 2 * h, 2 * w, c)
