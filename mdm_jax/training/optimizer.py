"""Adam or Muon, with clipping and a schedule, assembled from optax by config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import optax
import optax.contrib

from mdm_jax import settings
from mdm_jax.methods import trainable


def schedule(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates.

    Raises:
        ValueError: `config.optimizer.schedule` does not exist.
    """
    o = config.optimizer
    kind = settings.choice(
        config, "optimizer.schedule", ("constant", "cosine", "halve_every")
    )
    steps = max(config.train.num_steps - o.warmup_steps, 1)
    if kind == "constant":
        main = optax.constant_schedule(o.learning_rate)
    elif kind == "cosine":
        main = optax.cosine_decay_schedule(o.learning_rate, steps)
    else:
        main = optax.exponential_decay(
            o.learning_rate, o.halve_steps, 0.5, staircase=True
        )
    if not o.warmup_steps:
        return main
    warmup = optax.linear_schedule(0.0, o.learning_rate, o.warmup_steps)
    return optax.join_schedules([warmup, main], [o.warmup_steps])


def create(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Returns clipping by global norm followed by Adam or Muon.

    Frozen parameters are not updated, do not count in the norm and take no memory. The
    updates of the depth net's encoder are scaled by `encoder_lr_scale`.

    Raises:
        ValueError: `config.optimizer.name` does not exist.
    """
    freeze, scale = config.networks.freeze, config.optimizer.encoder_lr_scale
    chain = _of_trained(config)
    if scale != 1.0:
        chain = optax.chain(
            chain,
            optax.masked(
                optax.scale(scale),
                lambda params: jax.tree.map(
                    lambda group: group == trainable.ENCODER,
                    trainable.labels(params, freeze),
                ),
            ),
        )
    if freeze == "none":
        return chain
    return optax.multi_transform(
        {"trained": chain, "frozen": optax.set_to_zero()},
        lambda params: jax.tree.map(
            lambda group: "frozen" if group == trainable.FROZEN else "trained",
            trainable.labels(params, freeze),
        ),
    )


def _of_trained(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    """Returns the optimiser of all parameters that learn.

    Muon (Jordan et al. 2024) makes the update of each convolution orthogonal, so that
    all its directions are learned at one pace. It is applied to the networks named in
    the config; biases, scales, and layers with a few outputs, the heads, are left to
    Adam.

    Raises:
        ValueError: `config.optimizer.name` does not exist.
    """
    o = config.optimizer
    clip = optax.clip_by_global_norm(o.clip_norm) if o.clip_norm else optax.identity()
    rate = schedule(config)
    if settings.choice(config, "optimizer.name", ("adam", "muon")) == "adam":
        return optax.chain(clip, optax.adam(rate, b1=o.b1, b2=o.b2))
    muon = optax.contrib.muon(
        lambda step: rate(step) * (o.muon_learning_rate / o.learning_rate),
        ns_steps=o.muon_iterations,
        adam_learning_rate=rate,
        adam_b1=o.b1,
        adam_b2=o.b2,
        muon_weight_dimension_numbers=lambda params: _matrix_axes(
            params, o.muon_networks
        ),
    )
    chain = optax.chain(clip, muon)

    def init(params):
        _check_networks(params, o.muon_networks)
        return chain.init(params)

    return optax.GradientTransformation(init, chain.update)


def _matrix_axes(params: Any, networks: Sequence[str]):
    """Returns which axes make a kernel a matrix; None for what is left to Adam."""

    def axes(path, x: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        chosen = any(_is_part(path, network) for network in networks)
        if not chosen or x.ndim != 4 or x.shape[-1] <= 4:
            return None
        return optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)

    return jax.tree_util.tree_map_with_path(axes, params)


def _is_part(path, network: str) -> bool:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return name.startswith(f"{network}/")


def _check_networks(params: Any, networks: Sequence[str]):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for network in networks:
        if not any(_is_part(path, network) for path, _ in leaves):
            raise ValueError(
                "config.optimizer.muon_networks expects networks or parts of them, "
                f"such as {', '.join(sorted(params))}, got {network!r}"
            )
