"""Tests of mdm_jax.training.optimizer."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdm_jax import config as config_lib
from mdm_jax.training import optimizer


def _config(**options):
    config = config_lib.base_config()
    for name, value in {"warmup_steps": 0, "clip_norm": 0.0, **options}.items():
        config.optimizer[name] = value
    return config


def _first_update(config, params, gradients):
    transform = optimizer.create(config)
    updates, _ = transform.update(gradients, transform.init(params), params)
    return updates


def _tree(seed):
    kernel, head, bias = jax.random.split(jax.random.key(seed), 3)
    return {
        "depth_net": {
            "conv": {"kernel": jax.random.normal(kernel, (3, 3, 6, 8))},
            "head": {"kernel": jax.random.normal(head, (3, 3, 8, 3))},
            "bias": jax.random.normal(bias, (8,)),
        },
        "motion_net": {"conv": {"kernel": jax.random.normal(head, (3, 3, 8, 8))}},
    }


def test_muon_moves_a_kernel_equally_in_all_directions():
    # A gradient that Adam would follow in one direction, more or less.
    gradients = _tree(1)
    matrix = gradients["depth_net"]["conv"]["kernel"].reshape(54, 8)
    left, _, right = jnp.linalg.svd(matrix, full_matrices=False)
    steep = left * jnp.geomspace(1.0, 0.05, 8)[None, :] @ right
    gradients["depth_net"]["conv"]["kernel"] = steep.reshape(3, 3, 6, 8)
    update = _first_update(
        _config(name="muon", muon_learning_rate=0.5), _tree(0), gradients
    )
    values = jnp.linalg.svd(
        update["depth_net"]["conv"]["kernel"].reshape(54, 8), compute_uv=False
    )
    # The iteration is made for speed, and ends near 1 rather than at it.
    assert values.max() / values.min() < 2.5


def test_muon_leaves_heads_biases_and_other_networks_to_adam():
    params, gradients = _tree(0), _tree(1)
    muon = _first_update(_config(name="muon"), params, gradients)
    # Optax gives both of Muon's halves Nesterov momentum.
    nadam = optax.nadam(config_lib.base_config().optimizer.learning_rate)
    adam, _ = nadam.update(gradients, nadam.init(params), params)
    kernel = ("depth_net", "conv", "kernel")
    muon, adam = (flax.traverse_util.flatten_dict(x) for x in (muon, adam))
    assert not np.allclose(muon.pop(kernel), adam.pop(kernel), rtol=0.1)
    assert len(muon) == 3
    for name, update in muon.items():
        np.testing.assert_allclose(update, adam[name], rtol=1e-5, err_msg=str(name))


def test_muon_follows_the_schedule():
    config = _config(name="muon", schedule="cosine", muon_learning_rate=0.5)
    config.train.num_steps = 4
    transform, params = optimizer.create(config), _tree(0)
    state, sizes = transform.init(params), []
    for _ in range(4):
        updates, state = transform.update(_tree(1), state, params)
        sizes.append(float(optax.tree.norm(updates["depth_net"]["conv"])))
    rates = [float(optimizer.schedule(config)(step)) for step in range(4)]
    np.testing.assert_allclose(
        np.array(sizes) / sizes[0], np.array(rates) / rates[0], rtol=1e-3
    )


def test_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="optimizer.name.*adam, muon.*sgd"):
        optimizer.create(_config(name="sgd"))


def test_unknown_network_is_named():
    config = _config(name="muon", muon_networks=("deep_net",))
    with pytest.raises(ValueError, match="muon_networks.*depth_net.*got 'deep_net'"):
        optimizer.create(config).init(_tree(0))


def _with_encoder(seed):
    tree = _tree(seed)
    tree["depth_net"]["encoder"] = {"stem": {"kernel": jnp.full((3, 3, 3, 4), 0.1)}}
    return tree


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_the_encoder_learns_at_its_own_rate(name):
    params, gradients = _with_encoder(0), _with_encoder(1)
    usual = _first_update(_config(name=name), params, gradients)
    scaled = _first_update(_config(name=name, encoder_lr_scale=0.25), params, gradients)
    usual["depth_net"]["encoder"] = jax.tree.map(
        lambda update: 0.25 * update, usual["depth_net"]["encoder"]
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), scaled, usual
    )


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_a_frozen_encoder_stays_takes_no_memory_and_does_not_count(name):
    params, gradients = _with_encoder(0), _with_encoder(1)
    gradients["depth_net"]["encoder"]["stem"]["kernel"] *= 1e6
    config = _config(name=name, clip_norm=1.0)
    config.networks.freeze = "encoder"
    update = _first_update(config, params, gradients)
    assert not np.any(update["depth_net"]["encoder"]["stem"]["kernel"])
    rest, rest_gradients = _tree(0), _tree(1)
    expected = _first_update(_config(name=name, clip_norm=1.0), rest, rest_gradients)
    del update["depth_net"]["encoder"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), update, expected
    )
    shapes = [x.shape for x in jax.tree.leaves(optimizer.create(config).init(params))]
    assert (3, 3, 3, 4) not in shapes
