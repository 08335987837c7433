"""Adam with clipping and a schedule, assembled from optax by config."""

from __future__ import annotations

import ml_collections
import optax

from mdm_jax import config as config_lib


def schedule(config: ml_collections.ConfigDict) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates.

    Raises:
        ValueError: `config.optimizer.schedule` does not exist.
    """
    o = config.optimizer
    kind = config_lib.choice(
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
    """Returns clipping by global norm followed by Adam."""
    o = config.optimizer
    clip = optax.clip_by_global_norm(o.clip_norm) if o.clip_norm else optax.identity()
    return optax.chain(clip, optax.adam(schedule(config), b1=o.b1, b2=o.b2))
