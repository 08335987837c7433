"""The state that training carries from step to step, and its initial value."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mdm_jax.methods.base import Method, Variables
from mdm_jax.structs import Batch

# Streams of `random_key`, one per purpose.
INIT_STREAM, NOISE_STREAM = 0, 1


@flax.struct.dataclass
class TrainState:
    """Parameters, other collections, optimiser state and the step.

    It has no random key: keys are derived from the seed and the step.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any

    @property
    def variables(self) -> Variables:
        return {"params": self.params, **self.model_state}


def random_key(seed: int, stream: int, step: jax.Array | int) -> jax.Array:
    """Returns the key for one purpose at one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), step)


def create(
    method: Method, optimizer: optax.GradientTransformation, batch: Batch, seed: int
) -> TrainState:
    """Returns the state at step 0; call it inside jit, initialisers are slow eagerly.

    Args:
        method: to train.
        optimizer: of the parameters.
        batch: any batch of the right shapes.
        seed: of the initial parameters.
    """
    # `rbg` is one operation. The default generator, unrolled for every parameter, takes
    # longer to compile than the training step.
    key = jax.random.key(seed, impl="rbg")
    variables = dict(method.init(jax.random.fold_in(key, INIT_STREAM), batch))
    params = variables.pop("params")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=variables,
        opt_state=optimizer.init(params),
    )
