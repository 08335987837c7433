"""What training carries from step to step, and how it begins."""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from mdm_jax.methods.base import Method, Variables
from mdm_jax.structs import Batch

# Streams of `random_key`: what each random number is for.
INIT_STREAM, NOISE_STREAM = 0, 1


@flax.struct.dataclass
class TrainState:
    """Parameters, the other collections, the optimiser's memory and the step.

    There is no random key in it: keys are derived from the seed and the step.
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
        method: whose variables are made.
        optimizer: whose memory is made.
        batch: any batch of the right shapes.
        seed: of the initial parameters.
    """
    # The generator `rbg` is one operation; the default one, unrolled for every
    # parameter, takes XLA longer to compile than the training step.
    key = jax.random.key(seed, impl="rbg")
    variables = dict(method.init(jax.random.fold_in(key, INIT_STREAM), batch))
    params = variables.pop("params")
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=variables,
        opt_state=optimizer.init(params),
    )
