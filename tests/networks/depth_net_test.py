"""Depth net and encoder."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import depth_net, resnet

_KEY = jax.random.key(0)


def _image(h, w, b=2):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(size=(b, h, w, 3)), jnp.float32)


def _tiny(**options):
    return depth_net.DepthNet(width_multiplier=0.0625, **options)


@functools.cache
def _trained():
    """The tiny net's parameters and its compiled application to 37x61 images."""
    image, net = _image(37, 61), _tiny()
    return jax.jit(net.init)(_KEY, image), jax.jit(net.apply)


def test_depth_has_the_images_size_and_is_positive_for_any_sides():
    variables, apply = _trained()
    depth = apply(variables, _image(37, 61))
    assert depth.shape == (2, 37, 61)
    assert depth.dtype == jnp.float32
    assert float(jnp.min(depth)) > 0


def test_padding_changes_depth_but_not_parameters():
    variables, apply = _trained()
    image, net = _image(37, 61), _tiny(padding="zeros")
    shapes = jax.eval_shape(net.init, _KEY, image)
    assert jax.tree.structure(shapes) == jax.tree.structure(variables)
    zeros = jax.jit(net.apply)(variables, image)
    assert zeros.shape == (2, 37, 61)
    assert float(jnp.max(jnp.abs(zeros - apply(variables, image)))) > 1e-4


def test_images_of_a_batch_do_not_affect_each_other():
    variables, apply = _trained()
    image = _image(37, 61)
    together = apply(variables, image)
    other = apply(variables, image.at[1].set(0.5))
    np.testing.assert_allclose(other[0], together[0], atol=1e-5)
    assert float(jnp.max(jnp.abs(other[1] - together[1]))) > 1e-4


def test_noise_needs_training_and_changes_with_its_stddev_without_retracing():
    variables, apply = _trained()
    image, net = _image(37, 61), _tiny()
    traces = []

    @jax.jit
    def noisy(variables, stddev):
        traces.append(1)
        rngs = {"noise": jax.random.key(1)}
        return net.apply(variables, image, noise_stddev=stddev, train=True, rngs=rngs)

    clean = apply(variables, image)
    np.testing.assert_allclose(noisy(variables, 0.0), clean, rtol=1e-3)
    assert float(jnp.max(jnp.abs(noisy(variables, 0.5) - clean))) > 1e-3
    assert len(traces) == 1


def test_all_parameters_have_finite_gradients_and_depend_on_the_loss():
    variables, _ = _trained()
    image, net = _image(37, 61), _tiny()

    def loss(variables):
        return jnp.mean(jnp.square(net.apply(variables, image)))

    leaves = jax.tree.leaves(jax.jit(jax.grad(loss))(variables))
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in leaves)
    assert all(float(jnp.max(jnp.abs(g))) > 0 for g in leaves)


def test_bfloat16_depth_is_float32_and_close_with_float32_parameters():
    variables, apply = _trained()
    image = _image(37, 61)
    exact = apply(variables, image)
    rounded = jax.jit(_tiny(dtype=jnp.bfloat16).apply)(variables, image)
    assert rounded.dtype == jnp.float32
    assert bool(jnp.all(jnp.isfinite(rounded)))
    error = jnp.abs(rounded - exact) / exact
    assert 0 < float(jnp.mean(error)) < 0.1


def test_unknown_options_are_refused_by_name():
    with pytest.raises(ValueError, match="padding expects .* got 'mirror'"):
        jax.eval_shape(_tiny(padding="mirror").init, _KEY, _image(32, 40))
    with pytest.raises(ValueError, match="ResNet depth expects .* got 19"):
        jax.eval_shape(resnet.ResNetEncoder(19).init, _KEY, _image(32, 40))


@pytest.mark.parametrize(
    "depth, blocks, kernels",
    # Parameters of torchvision's models without classifier and batch norms.
    [(18, 8, 11_166_912), (34, 16, 21_267_648), (50, 16, 23_454_912)],
)
def test_full_width_encoders_have_the_resnets_convolutions(depth, blocks, kernels):
    encoder = resnet.ResNetEncoder(depth)
    variables = jax.eval_shape(encoder.init, _KEY, jnp.zeros((1, 32, 32, 3)))
    flat = jax.tree_util.tree_leaves_with_path(variables)
    count = sum(x.size for path, x in flat if path[-1].key == "kernel")
    assert count == kernels
    names = {path[1].key for path, _ in flat}
    assert sum(name.startswith("stage") for name in names) == blocks
    assert not any(path[-1].key == "bias" for path, _ in flat)


def test_encoder_gives_strides_2_to_32_rounded_up_and_scaled_widths():
    encoder = resnet.ResNetEncoder(18, 0.125)
    maps = jax.eval_shape(
        lambda image: encoder.init_with_output(_KEY, image)[0], _image(37, 61, b=1)
    )
    sizes = [m.shape[1:3] for m in maps]
    assert sizes == [(19, 31), (10, 16), (5, 8), (3, 4), (2, 2)]
    assert [m.shape[3] for m in maps] == [8, 8, 16, 32, 64]
