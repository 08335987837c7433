"""What is frozen is a constant in training, and nothing else is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.methods import trainable
from mdm_jax.methods.base import Method


def _params():
    return {
        "depth_net": {
            "encoder": {
                "block0": {
                    "project": {"kernel": jnp.full((1, 1, 2, 3), 0.5)},
                    "project_norm": {"scale": jnp.ones(3), "offset": jnp.ones(3)},
                },
                "attention": {"lora_a": jnp.ones((4, 1))},
            },
            "up5": {"kernel": jnp.ones((2, 5)), "bias": jnp.ones(5)},
            "head": {"kernel": jnp.ones(7)},
        },
        "motion_net": {"encoder": {"conv": {"kernel": jnp.ones(11)}}},
    }


@pytest.mark.parametrize(
    ("freeze", "learned"),
    [
        ("none", {"project", "project_norm", "attention", "up5", "head", "conv"}),
        ("encoder", {"attention", "up5", "head", "conv"}),
        ("all_but_norms", {"project_norm", "attention", "up5", "head", "conv"}),
        ("all_but_head", {"attention", "head", "conv"}),
    ],
)
def test_each_choice_freezes_what_it_says(freeze, learned):
    labels = jax.tree_util.tree_leaves_with_path(trainable.labels(_params(), freeze))
    assert {path[-2].key for path, group in labels if group != "frozen"} == learned


def test_only_the_encoder_of_the_depth_net_has_a_rate_of_its_own():
    labels = trainable.labels(_params(), "none")
    assert set(jax.tree.leaves(labels["depth_net"]["encoder"])) == {"encoder"}
    assert set(jax.tree.leaves(labels["motion_net"])) == {"rest"}
    assert labels["depth_net"]["head"]["kernel"] == "rest"


def _method():
    def predict(variables, batch, *, step=None, train=False, rngs=None):
        del step, train, rngs
        net = variables["params"]["depth_net"]
        features = jnp.sin(batch @ net["encoder"]["block0"]["project"]["kernel"][0, 0])
        return jnp.tanh(features[:, :2] @ net["up5"]["kernel"]), {}

    return Method(init=None, predict=predict, loss_terms=None)


@pytest.mark.parametrize("train", [False, True])
def test_nothing_is_differentiated_for_a_frozen_encoder_in_training(train):
    method = trainable.hold(_method(), "encoder")
    batch = jnp.arange(6.0).reshape(3, 2)

    def loss(params):
        return jnp.sum(method.predict({"params": params}, batch, train=train)[0] ** 2)

    gradient = jax.grad(loss)(_params())["depth_net"]
    encoder = gradient["encoder"]["block0"]["project"]["kernel"]
    assert np.any(encoder) != train
    assert np.any(gradient["up5"]["kernel"])
    # The derivative of the encoder's sine.
    assert ("cos" in str(jax.make_jaxpr(jax.grad(loss))(_params()))) != train


def test_parameters_are_counted_by_network():
    assert trainable.counts(_params(), "all_but_norms") == (
        "depth_net/encoder 10 of 16, depth_net/decoder 22 of 22, motion_net 11 of 11"
    )


def test_random_weights_are_not_frozen():
    config = config_lib.base_config()
    trainable.check(config)
    config.networks.freeze = "encoder"
    with pytest.raises(ValueError, match=r"config\.networks\.init"):
        trainable.check(config)
    config.networks.freeze = "decoder"
    with pytest.raises(ValueError, match="expects one of none, encoder"):
        trainable.check(config)
