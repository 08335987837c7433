"""Pose nets: two images in, one rigid motion between them out.

Lee et al. use one architecture for egomotion and for the motion of single objects, in
two forms: the paper's seven strided convolutions, and the ResNet of the released code.
Both read the motion as the mean over space of six numbers per position. What the net
should not see (objects, or everything but one object) is masked out of its input: a
masked pixel is grey, which is 0 after centring.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from mdm_jax.networks import layers, resnet
from mdm_jax.networks.motion_net import FramePairs, MotionOutput

# Zhou et al. 2017, whose pose net Lee et al. 2019 take.
_CONV_WIDTHS = (16, 32, 64, 128, 256, 256, 256)
_KERNEL_SIZES = (7, 5, 3, 3, 3, 3, 3)
_RESNET_HEAD_WIDTH = 256
FORMS = ("conv", "resnet")


class PoseNet(nn.Module):
    """A pose net in either form.

    The published nets multiply their output by 0.01. Here that is where two learned
    factors, one for angles and one for translation, begin, as in Li et al. 2020.

    Attributes:
        form: "conv" (seven convolutions) or "resnet" (ResNet-18 and four more).
        width_multiplier: scales all widths.
        translation_only: whether the motion has no rotation (the released code's
            object motion).
        initial_scale: initial value of the learned factors.
        norm: of the ResNet, "layer" or "batch".
        dtype: of the convolutions; parameters and results are float32.
    """

    form: str = "conv"
    width_multiplier: float = 1.0
    translation_only: bool = False
    initial_scale: float = 0.01
    norm: str = "layer"
    dtype: layers.Dtype = jnp.float32

    @nn.compact
    def __call__(self, pairs: FramePairs, *, train: bool = False) -> MotionOutput:
        """Returns the motion `b_from_a` of what the masks leave.

        Args:
            pairs: with masks.
            train: whether batch norms take the batch's statistics.

        Raises:
            ValueError: for an unknown form.
        """
        if self.form not in FORMS:
            raise ValueError(f"pose net form expects one of {FORMS}, got {self.form!r}")
        stack = [
            jnp.where(mask[..., None], resnet.input_colors(image, self.norm), 0.0)
            for image, mask in (
                (pairs.image_a, pairs.mask_a),
                (pairs.image_b, pairs.mask_b),
            )
        ]
        x = jnp.concatenate(stack, axis=-1).astype(self.dtype)
        x = self._convolutions(x) if self.form == "conv" else self._resnet(x, train)
        # Small numbers that move every pixel: not in reduced precision. The mean first:
        # it commutes with a 1x1 convolution.
        features = jnp.mean(x.astype(jnp.float32), axis=(1, 2))
        numbers = nn.Dense(
            3 if self.translation_only else 6,
            kernel_init=layers.scaled_normal(1.0),
            precision=lax.Precision.HIGHEST,
            name="pose",
        )(features)
        translation = numbers[:, -3:] * self._scale("translation_scale")
        if self.translation_only:
            return MotionOutput(jnp.zeros_like(translation), translation)
        return MotionOutput(numbers[:, :3] * self._scale("rotation_scale"), translation)

    def _scale(self, name: str) -> Array:
        return layers.LearnedScale(self.initial_scale, name=name)()

    def _convolutions(self, x: Array) -> Array:
        for index, (width, size) in enumerate(
            zip(_CONV_WIDTHS, _KERNEL_SIZES, strict=True)
        ):
            width = layers.scaled_width(width, self.width_multiplier)
            name = f"conv{index + 1}"
            x = layers.Conv(width, size, 2, dtype=self.dtype, name=name)(x)
            x = nn.relu(x)
        return x

    def _resnet(self, x: Array, train: bool) -> Array:
        encoder = resnet.ResNetEncoder(
            18, self.width_multiplier, self.norm, self.dtype, name="encoder"
        )
        x = encoder(x, train=train)[-1]
        width = layers.scaled_width(_RESNET_HEAD_WIDTH, self.width_multiplier)
        for name, size in (("squeeze", 1), ("conv1", 3), ("conv2", 3)):
            x = nn.relu(layers.Conv(width, size, dtype=self.dtype, name=name)(x))
        return x
