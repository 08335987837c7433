"""The depth net that a config names; every method takes the same ones."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import ml_collections

from mdm_jax import config as config_lib
from mdm_jax.networks import depth_net, disparity_net


def check(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of `config.networks` that describe the depth net.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    config_lib.choice(config, "networks.depth_decoder", ("depth", "disparity"))
    config_lib.choice(
        config, "networks.disparity_activation", disparity_net.ACTIVATIONS
    )
    config_lib.choice(config, "networks.padding", ("reflect", "zeros"))
    config_lib.choice(config, "networks.dtype", ("float32", "bfloat16"))
    if config.networks.encoder_depth not in (18, 34, 50):
        raise ValueError(
            "config.networks.encoder_depth expects 18, 34 or 50, got "
            f"{config.networks.encoder_depth!r}"
        )


def create(networks: ml_collections.FrozenConfigDict) -> nn.Module:
    """Returns the module; called with images, it gives depth `[b h w]`.

    Args:
        networks: `config.networks`.
    """
    shared = {
        "width_multiplier": networks.width_multiplier,
        "encoder_depth": networks.encoder_depth,
        "dtype": jnp.dtype(networks.dtype),
    }
    if networks.depth_decoder == "disparity":
        return disparity_net.DisparityNet(
            activation=networks.disparity_activation, **shared
        )
    return depth_net.DepthNet(padding=networks.padding, **shared)
