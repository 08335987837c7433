"""The convolutional encoders that the decoders of depth can stand on."""

from __future__ import annotations

from typing import Any

from jaxtyping import Array, Float

from mdm_jax.networks import efficientnet, resnet

ENCODERS = ("resnet", *efficientnet.VARIANTS)


def feature_maps(
    net: Any,
    image: Float[Array, "b h w 3"],
    *,
    noise_stddev: Array | float,
    train: bool,
) -> list[Array]:
    """Returns feature maps of strides 2, 4, 8, 16 and 32, of a submodule `encoder`.

    Args:
        net: the depth net that calls this in its compact method; its attributes
            `encoder`, `encoder_depth`, `width_multiplier`, `norm`, `encoder_norm`,
            `frozen_encoder` and `dtype` describe the encoder.
        image: colours in [0, 1].
        noise_stddev: of layer norms, see `layers.RandomizedLayerNorm`.
        train: whether the norms are in training.

    Raises:
        ValueError: there is no such encoder.
    """
    train = train and not net.frozen_encoder
    if net.encoder == "resnet":
        encoder = resnet.ResNetEncoder(
            net.encoder_depth,
            net.width_multiplier,
            net.norm,
            net.dtype,
            name="encoder",
        )
        colors = resnet.input_colors(image, net.norm)
        return encoder(colors, noise_stddev=noise_stddev, train=train)
    if net.encoder not in ENCODERS:
        raise ValueError(f"encoder expects one of {ENCODERS}, got {net.encoder!r}")
    encoder = efficientnet.EfficientNetEncoder(
        net.encoder, net.encoder_norm, net.dtype, name="encoder"
    )
    return encoder(image, train=train)
