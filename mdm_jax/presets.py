"""Changes to a config that several experiments share, and their variants by name.

A file in `configs/` names what can follow the colon of `--config=FILE:VARIANT,...`; a
variant is a function that changes a config in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ml_collections

from mdm_jax.methods import geometry_terms, instance_motion

ConfigDict = ml_collections.ConfigDict
Variants = Mapping[str, Callable[[ConfigDict], object]]

# Weights of two-view geometry, large enough to lead at the start.
TWO_VIEW_WEIGHTS = {"triangulation": 2.0, "egomotion_prior": 0.5, "static_motion": 0.2}


def use_motion_field(config: ConfigDict) -> ConfigDict:
    """Sets method A, the default of every config, and returns the config."""
    config.method = "motion_field"
    return config


def use_instance_motion(config: ConfigDict) -> ConfigDict:
    """Switches a config to method B, in place, and returns it.

    Sets the method, clips of three frames, norms without noise and the loss weights; the
    weights of terms that both methods have stay. Size, batch and schedule are the
    config's: Lee et al. 2019 train batches of 4 at 256x832 with a rate of 1e-4, halved
    every 50 000 of 200 000 steps.
    """
    config.method = "instance_motion"
    config.dataset.clip_length = 3
    config.networks.norm_noise = 0.0
    shared = {
        name: config.loss_weights.get(name, 0.0)
        for name in ("log_scale_pin", *geometry_terms.LOSS_WEIGHTS)
    }
    config.loss_weights = ConfigDict(instance_motion.LOSS_WEIGHTS)
    config.loss_weights.update(shared)
    return config


def use_published_weights(config: ConfigDict) -> ConfigDict:
    """Switches to method B with its terms weighed against each other as published.

    The weights are those of the released code of Lee et al. For clips of three frames it sums the photometric and geometric losses over four
    directed pairs, smoothness over three frames and the height prior over two pairs.
    Here all are means. So smoothness has 3/4, and height 2/4, of the weight in the code.
    """
    use_instance_motion(config)
    weights = instance_motion.LOSS_WEIGHTS
    config.loss_weights.smoothness = 3 / 4 * weights["smoothness"]
    config.loss_weights.height_prior = 2 / 4 * weights["height_prior"]
    return config


def use_short_schedule(config: ConfigDict, *, num_steps: int = 20_000) -> ConfigDict:
    """Switches method A to settings for a short training, and returns the config.

    These are the motion net on correlation volumes, no burn-in, and weaker regularisers.
    On a short schedule the published weights keep the residual motion at zero, and cars
    at the camera's speed are placed infinitely far away.
    """
    config.motion_field.motion_net = "correlation"
    config.networks.initial_motion_scale = 0.1
    config.motion_field.burnin_steps = 0
    config.networks.norm_noise = 0.0
    config.motion_field.regularizer_ramp_steps = num_steps
    config.loss_weights.motion_smoothness = 0.3
    config.loss_weights.motion_sparsity = 0.2
    config.loss_weights.depth_smoothness = 0.01
    # The other losses leave the global scale free, which would drift.
    config.loss_weights.log_scale_pin = 0.01
    # Photometric gradients reach a pixel or two; on roads flow is 10 to 20.
    config.loss_weights.update(TWO_VIEW_WEIGHTS)
    config.two_view.decay_steps = num_steps
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.train.num_steps = num_steps
    return config


def use_pretrained(config: ConfigDict) -> ConfigDict:
    """Begins with EfficientNet-Lite0 and its ImageNet weights, and returns the config.

    Needs the extra `pretrained`. The encoder learns at a fifth of the decoder's rate,
    which starts from random weights.
    """
    config.networks.encoder = "efficientnet_lite0"
    config.networks.init = "imagenet"
    config.networks.width_multiplier = 0.5
    config.optimizer.encoder_lr_scale = 0.2
    return config


def shrink_to_smoke(config: ConfigDict) -> ConfigDict:
    """Shrinks a config to ten steps, which take a minute, and returns it."""
    config.dataset.size = (64, 128)
    config.networks.width_multiplier = 0.125
    config.networks.motion_width_multiplier = 0.25
    config.train.batch_size = 4
    config.train.num_steps = 10
    config.train.log_every = config.train.checkpoint_every = 5
    config.evaluation.max_frames = 8
    return config


# Variants of the configs of all recorded data. `short` is for method A: put it before
# `instance_motion` if both are named.
RECORDED: Variants = {
    "motion_field": use_motion_field,
    "short": use_short_schedule,
    "instance_motion": use_instance_motion,
    "pretrained": use_pretrained,
    "published_weights": use_published_weights,
    "smoke": shrink_to_smoke,
}


def apply_variants(config: ConfigDict, arg: str, variants: Variants) -> ConfigDict:
    """Applies comma-separated variants in the order they are written; returns `config`.

    Args:
        config: changed in place.
        arg: names after the colon, such as `short,smoke`; may be empty.
        variants: by name.

    Raises:
        ValueError: there is no such variant.
    """
    for name in filter(None, arg.split(",")):
        if name not in variants:
            raise ValueError(
                f"this config has the variants {', '.join(variants)}, got {name!r}"
            )
        variants[name](config)
    return config
