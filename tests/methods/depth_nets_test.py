"""The depth net is the one that the config names, and its norms are noisy on time."""

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax.methods import depth_nets


def test_norm_noise_ramps_up_quadratically():
    options = ml_collections.ConfigDict(
        {"norm_noise": 0.5, "norm_noise_ramp_steps": 100}
    )
    assert depth_nets.norm_noise(options, jnp.array(50)) == pytest.approx(0.125)
    assert depth_nets.norm_noise(options, jnp.array(1000)) == pytest.approx(0.5)
    assert depth_nets.norm_noise(options, None) == 0.0


def test_frames_are_seen_alone_with_the_noise_of_the_step_in_training_only():
    options = ml_collections.ConfigDict(
        {"norm_noise": 0.5, "norm_noise_ramp_steps": 100}
    )
    calls = []

    def net(images, *, noise_stddev, train):
        calls.append((images.shape, float(noise_stddev), train))
        return images[..., 0]

    frames = jnp.arange(2 * 3 * 4 * 5 * 3.0).reshape(2, 3, 4, 5, 3)
    for train in (True, False):
        depth = depth_nets.depth_of_clips(
            net, frames, networks=options, step=jnp.array(50), train=train
        )
        np.testing.assert_array_equal(depth, frames[..., 0])
    assert calls == [((6, 4, 5, 3), 0.125, True), ((6, 4, 5, 3), 0.0, False)]


def test_options_of_the_config_reach_the_net():
    networks = config_lib.base_config().networks
    networks.padding, networks.encoder_depth = "zeros", 34
    net = depth_nets.create(networks)
    assert (net.padding, net.encoder_depth) == ("zeros", 34)
    networks.depth_decoder, networks.disparity_activation = "disparity", "softplus"
    net = depth_nets.create(networks)
    assert (net.activation, net.encoder_depth) == ("softplus", 34)
