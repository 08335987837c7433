"""Learned intrinsics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax.geometry import intrinsics
from mdm_jax.networks import intrinsics_head

_KEY = jax.random.key(0)


def test_pair_intrinsics_start_at_a_centred_camera_and_scale_with_the_image():
    head = intrinsics_head.PairIntrinsics()
    bottleneck = jnp.ones((2, 5))
    values, variables = head.init_with_output(_KEY, bottleneck, (10, 40))
    np.testing.assert_allclose(values[0], [40 * np.log(2), 10 * np.log(2), 20, 5])
    trained = jax.tree.map(lambda x: x + 0.1, variables)
    small = head.apply(trained, bottleneck, (10, 40))
    large = head.apply(trained, bottleneck, (30, 120))
    np.testing.assert_allclose(large, 3 * small, rtol=1e-6)


def test_pair_intrinsics_learn_from_the_start():
    head = intrinsics_head.PairIntrinsics()
    bottleneck = jnp.ones((2, 5))
    variables = head.init(_KEY, bottleneck, (10, 40))
    gradients = jax.grad(lambda v: jnp.sum(head.apply(v, bottleneck, (10, 40))))(
        variables
    )
    assert all(float(jnp.min(jnp.abs(g))) > 0 for g in jax.tree.leaves(gradients))


def test_each_video_has_its_own_camera_that_starts_centred():
    head = intrinsics_head.VideoIntrinsics(3)
    index = jnp.asarray([2, 0, 2])
    values, variables = head.init_with_output(_KEY, index, (10, 40))
    guess = intrinsics.initial_guess((10, 40))
    start = [guess[0, 0], guess[1, 1], guess[0, 2], guess[1, 2]]
    np.testing.assert_allclose(values, np.tile(start, (3, 1)))
    gradient = jax.grad(lambda v: jnp.sum(head.apply(v, index, (10, 40))))(variables)
    np.testing.assert_array_equal(gradient["params"]["focal"][1], 0.0)
    np.testing.assert_allclose(gradient["params"]["focal"][2], 50.0)
