"""The disparity net: bounded depth of the image's size, for every encoder."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import disparity_net

_KEY = jax.random.key(0)


def _image(h=37, w=61, b=2):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(size=(b, h, w, 3)), jnp.float32)


def _tiny(**options):
    return disparity_net.DisparityNet(width_multiplier=0.0625, **options)


def test_depth_has_the_images_size_its_own_range_and_a_gradient():
    net, image = _tiny(), _image()
    variables = jax.jit(net.init)(_KEY, image)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def run(params, image):
        def total(params):
            depth = net.apply({"params": params}, image)
            return jnp.sum(depth), depth

        return jax.grad(total, has_aux=True)(params)

    gradient, depth = run(variables["params"], image)
    assert depth.shape == (2, 37, 61)
    assert depth.dtype == jnp.float32
    assert float(depth.min()) >= 0.1
    assert float(depth.max()) <= 100.0
    # Disparity begins at half of its largest value.
    assert 0.15 < float(jnp.median(depth)) < 0.3
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    # However sure the net is, depth stays in its range.
    head = variables["params"]["head"]
    for bias, limit in ((-1e4, 100.0), (1e4, 0.1)):
        sure = variables["params"] | {"head": head | {"bias": jnp.array([bias])}}
        np.testing.assert_allclose(run(sure, image)[1], limit, rtol=1e-4)


@pytest.mark.parametrize(("depth", "blocks"), [(18, 8), (34, 16), (50, 16)])
def test_encoders_have_their_number_of_blocks(depth, blocks):
    net = _tiny(encoder_depth=depth, activation="softplus")
    shapes = jax.eval_shape(net.init_with_output, _KEY, _image(h=32, w=64))
    output, variables = shapes
    assert output.shape == (2, 32, 64)
    encoder = variables["params"]["encoder"]
    assert sum("block" in name for name in encoder) == blocks


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation expects.*sigmoid.*'relu'"):
        _tiny(activation="relu").init(_KEY, _image())
