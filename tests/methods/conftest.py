"""Objectives of small models in one compiled function, which tests share."""

from __future__ import annotations

import functools
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Compiling is most of what these tests do.
_FAST = {"xla_backend_optimization_level": 0}


class _SmallDepth(nn.Module):
    """A depth net that compiles in a moment."""

    @nn.compact
    def __call__(self, image, *, noise_stddev=0.0, train=False):
        del noise_stddev, train
        x = nn.Conv(4, (3, 3), strides=(4, 4))(image)
        x = jax.image.resize(nn.relu(x), (*image.shape[:3], 4), "linear")
        return 4.0 + nn.softplus(nn.Conv(1, (1, 1))(x)[..., 0])


def _random_params(shapes, seed=0):
    """Returns parameters of such shapes; drawing them in JAX has to be compiled."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        if leaf.ndim == 0:  # Of a learned scale.
            return jnp.full((), 0.1)
        if leaf.ndim == 1:
            return jnp.asarray(rng.uniform(0, 0.1, leaf.shape), jnp.float32)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(scale * rng.standard_normal(leaf.shape), jnp.float32)

    return jax.tree.map(draw, shapes)


@pytest.fixture(scope="package")
def make_objective():
    """Returns a function of (config, arrays) that gives an objective and its gradients.

    The result has `params`, the `method`, and `run(params, arrays)`, compiled at its
    first call: the gradients, the weighted terms and the method's counts.
    """
    from mdm_jax import methods
    from mdm_jax.methods import base, depth_nets
    from mdm_jax.structs import batch_from_arrays

    def with_small_depth(function):
        # Modules make their parts whenever they are bound to parameters.
        @functools.wraps(function)
        def patched(*args, **kwargs):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(depth_nets, "create", lambda networks: _SmallDepth())
                return function(*args, **kwargs)

        return patched

    def make(config, arrays):
        method = methods.create(config)
        method = method._replace(
            init=with_small_depth(method.init), predict=with_small_depth(method.predict)
        )
        shapes = jax.eval_shape(
            method.init, jax.random.key(0), batch_from_arrays(arrays)
        )

        def loss(params, arrays):
            batch = batch_from_arrays(arrays)
            prediction, _ = method.predict(
                {"params": params},
                batch,
                step=jnp.asarray(60.0),
                train=True,
                rngs={"noise": jax.random.key(0)},
            )
            terms = method.loss_terms(prediction, batch, jnp.asarray(60.0))
            total, weighted = base.total_loss(terms, config.loss_weights)
            counts = method.counts(prediction) if method.counts else {}
            return total, (weighted, counts)

        def run(params, arrays):
            gradients, (terms, counts) = jax.grad(loss, has_aux=True)(params, arrays)
            return gradients, terms, counts

        return types.SimpleNamespace(
            method=method,
            params=_random_params(shapes["params"]),
            step=run,
            run=jax.jit(run, compiler_options=_FAST),
        )

    return make


@pytest.fixture(scope="package")
def largest():
    """Returns the largest absolute value in each of a dictionary's trees."""

    def by_name(trees):
        return {
            name: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
            for name, tree in trees.items()
        }

    return by_name


@pytest.fixture(scope="package")
def narrow_config():
    """Returns a function that gives a config of narrow nets with options changed."""
    from mdm_jax import config as config_lib

    def make(**options):
        config = config_lib.base_config()
        config.networks.width_multiplier = 0.0625
        config.motion_field.motion_net = "correlation"
        config.networks.motion_width_multiplier = 0.125
        config.networks.correlation_radius = (2, 1)
        config.motion_field.ego_compensation = False
        config.motion_field.burnin_steps = 0
        config.networks.norm_noise = 0.0
        config.update_from_flattened_dict(options)
        return config

    return make
