"""The depth net that a config names, applied to clips; every method takes the same."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax import config as config_lib
from mdm_jax.networks import depth_net, disparity_net, resnet

Array = jax.Array


def check(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of `config.networks` that describe the depth net.

    Raises:
        ValueError: an option has a value that does not exist.
    """
    config_lib.choice(config, "networks.depth_decoder", ("depth", "disparity"))
    config_lib.choice(
        config, "networks.disparity_activation", disparity_net.ACTIVATIONS
    )
    config_lib.choice(config, "networks.norm", resnet.NORMS)
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
        "norm": networks.norm,
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
    options: ml_collections.FrozenConfigDict,
    step: Array | None,
    train: bool,
) -> Array:
    """Returns the depth `[b t h w]` of every frame `[b t h w 3]`, seen alone.

    Args:
        net: of `create`, bound to its parameters.
        frames: colours in [0, 1].
        options: of the method, with the noise of the norms.
        step: of training, for that noise; None for none.
        train: whether there is noise at all.
    """
    images = frames.reshape(-1, *frames.shape[2:])
    noise = norm_noise(options, step) if train else 0.0
    depth = net(images, noise_stddev=noise, train=train)
    return depth.reshape(frames.shape[:-1])


def norm_noise(
    options: ml_collections.FrozenConfigDict, step: Array | None
) -> Array | float:
    """Returns the strength of the randomised layer norm, which grows quadratically.

    Args:
        options: of the method, with `norm_noise` and `norm_noise_ramp_steps`.
        step: of training; None for no noise.
    """
    if step is None or not options.norm_noise:
        return 0.0
    ramp = jnp.minimum(step / max(options.norm_noise_ramp_steps, 1), 1.0)
    return options.norm_noise * jnp.square(ramp)
