"""The depth net that a config names, shared by all methods, applied to clips."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import settings
from mdm_jax.methods import trainable
from mdm_jax.networks import (
    depth_net,
    disparity_net,
    dpt_head,
    efficientnet,
    encoders,
    resnet,
)

Array = jax.Array


def check(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of `config.networks` that concern the depth net.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    trainable.check(config)
    for field, allowed in {
        "encoder": (*encoders.ENCODERS, *dpt_head.SIZES),
        "encoder_norm": efficientnet.NORMS,
        "depth_decoder": ("depth", "disparity"),
        "disparity_activation": disparity_net.ACTIVATIONS,
        "norm": resnet.NORMS,
        "padding": ("reflect", "zeros"),
        "dtype": ("float32", "bfloat16"),
    }.items():
        settings.choice(config, f"networks.{field}", allowed)
    networks = config.networks
    if networks.lora_rank and networks.encoder not in dpt_head.SIZES:
        raise ValueError(
            f"config.networks.lora_rank={networks.lora_rank} is for the attention of "
            f"{', '.join(dpt_head.SIZES)}, and config.networks.encoder is "
            f"{networks.encoder}"
        )
    if networks.encoder_depth not in (18, 34, 50):
        raise ValueError(
            "config.networks.encoder_depth expects 18, 34 or 50, got "
            f"{networks.encoder_depth!r}"
        )


def create(networks: ml_collections.FrozenConfigDict) -> nn.Module:
    """Returns the module, which maps images to depth `[b h w]`.

    Args:
        networks: `config.networks`.
    """
    if networks.encoder in dpt_head.SIZES:
        return dpt_head.of_encoder(
            networks.encoder,
            max_depth=networks.metric_depth,
            rank=networks.lora_rank,
            dtype=jnp.dtype(networks.dtype),
        )
    shared = {
        "width_multiplier": networks.width_multiplier,
        "encoder": networks.encoder,
        "encoder_depth": networks.encoder_depth,
        "norm": networks.norm,
        "encoder_norm": networks.encoder_norm,
        "frozen_encoder": trainable.freezes_norms(networks.freeze),
        "dtype": jnp.dtype(networks.dtype),
    }
    if networks.depth_decoder == "disparity":
        return disparity_net.DisparityNet(
            activation=networks.disparity_activation, **shared
        )
    return depth_net.DepthNet(padding=networks.padding, **shared)


def depth_of_clips(
    net: Any,
    frames: Array,
    *,
    networks: ml_collections.FrozenConfigDict,
    step: Array | None,
    train: bool,
) -> Array:
    """Returns the depth `[b t h w]` of frames `[b t h w 3]`, each seen alone.

    Args:
        net: the module of `create`, bound to its parameters.
        frames: colours in [0, 1].
        networks: `config.networks`, with the noise of the norms.
        step: training step, which drives the noise; None for no noise.
        train: whether there is any noise.
    """
    images = frames.reshape(-1, *frames.shape[2:])
    noise = norm_noise(networks, step) if train else 0.0
    depth = net(images, noise_stddev=noise, train=train)
    return depth.reshape(frames.shape[:-1])


def norm_noise(
    networks: ml_collections.FrozenConfigDict, step: Array | None
) -> Array | float:
    """Returns the strength of the randomised layer norm, which grows quadratically.

    Args:
        networks: `config.networks`.
        step: training step; None for no noise.
    """
    if step is None or not networks.norm_noise:
        return 0.0
    ramp = jnp.minimum(step / max(networks.norm_noise_ramp_steps, 1), 1.0)
    return networks.norm_noise * jnp.square(ramp)
