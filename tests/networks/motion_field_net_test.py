"""The paper's motion net."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import motion_field_net, motion_net

_KEY = jax.random.key(0)


def _inputs(h=32, w=40, b=2):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, b, h, w, 3)).astype(np.float32)
    depths = rng.uniform(1, 3, size=(2, b, h, w)).astype(np.float32)
    intrinsics = np.broadcast_to(np.eye(3, dtype=np.float32), (b, 3, 3))
    return motion_net.FramePairs(*images, *depths, intrinsics)


def _conv_loop(x, kernel, bias=None):
    """3x3 convolution with zero padding, one pixel at a time."""
    h, w, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    y = np.zeros((h, w, kernel.shape[-1]))
    for i in range(h):
        for j in range(w):
            y[i, j] = np.einsum("yxi,yxio->o", padded[i : i + 3, j : j + 3], kernel)
    return y + (0 if bias is None else bias)


def test_refinement_equals_the_papers_two_branches_pixel_by_pixel():
    rng = np.random.default_rng(1)
    field = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    layer = rng.normal(size=(1, 3, 5, 6)).astype(np.float32)
    module = motion_field_net.RefineField()
    variables = module.init(_KEY, field, layer)
    p = jax.tree.map(np.asarray, variables["params"])
    width = 6

    resized = np.zeros((3, 5, 3))
    for i in range(3):
        for j in range(5):
            y, x = i * (2 - 1) / (3 - 1), j * (3 - 1) / (5 - 1)
            y0, x0 = min(int(y), 0), min(int(x), 1)
            fy, fx = y - y0, x - x0
            top = (1 - fx) * field[0, y0, x0] + fx * field[0, y0, x0 + 1]
            bottom = (1 - fx) * field[0, y0 + 1, x0] + fx * field[0, y0 + 1, x0 + 1]
            resized[i, j] = (1 - fy) * top + fy * bottom
    x = np.concatenate([resized, layer[0]], axis=-1)
    kernel = p["conv1"]["kernel"]
    short = np.maximum(_conv_loop(x, kernel[..., :width]), 0)
    long = np.maximum(_conv_loop(x, kernel[..., width:]), 0)
    long = np.maximum(_conv_loop(long, p["conv2"]["kernel"]), 0)
    both = np.concatenate([short, long], axis=-1)
    expected = resized + both @ p["linear"]["kernel"][0, 0]
    actual = module.apply(variables, field, layer)
    np.testing.assert_allclose(actual[0], expected, atol=1e-4)


@pytest.mark.parametrize("size", [(37, 61), (32, 40)])
def test_outputs_have_their_shapes_for_any_sides(size):
    net = motion_field_net.PaperMotionNet(0.0625)
    output = jax.eval_shape(lambda x: net.init_with_output(_KEY, x)[0], _inputs(*size))
    assert output.angles.shape == output.translation.shape == (2, 3)
    assert output.residual.shape == (2, *size, 3)
    assert output.bottleneck.shape == (2, 64)


@functools.cache
def _parameters():
    return jax.jit(motion_field_net.PaperMotionNet(0.0625).init)(_KEY, _inputs(b=1))


def test_gradients_are_finite_and_depth_has_one():
    net = motion_field_net.PaperMotionNet(0.0625)
    inputs = _inputs(b=1)

    def loss(variables, depth):
        output = net.apply(variables, inputs.replace(depth_a=depth))
        return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(output))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(_parameters(), inputs.depth_a)
    for x in jax.tree.leaves(gradients):
        assert bool(jnp.all(jnp.isfinite(x)))
    # Paper A passes depth to the motion net with its gradient.
    assert float(jnp.max(jnp.abs(gradients[1]))) > 0


def test_bfloat16_outputs_are_finite_float32():
    net = motion_field_net.PaperMotionNet(0.0625, dtype=jnp.bfloat16)
    output = jax.jit(net.apply)(_parameters(), _inputs(b=1))
    for x in jax.tree.leaves(output):
        assert x.dtype == jnp.float32
        assert bool(jnp.all(jnp.isfinite(x)))


def test_first_layer_sees_8_channels_and_6_without_depth():
    for depth_input, channels in ((True, 8), (False, 6)):
        net = motion_field_net.PaperMotionNet(0.0625, depth_input=depth_input)
        variables = jax.eval_shape(net.init, _KEY, _inputs())
        kernel = variables["params"]["conv1"]["kernel"]
        assert kernel.shape == (3, 3, channels, 4)


def test_full_width_layers_are_the_papers():
    net = motion_field_net.PaperMotionNet()
    params = jax.eval_shape(net.init, _KEY, _inputs())["params"]
    widths = [params[f"conv{i}"]["kernel"].shape[-1] for i in range(1, 8)]
    assert widths == [16, 32, 64, 128, 256, 512, 1024]
    assert params["background"]["kernel"].shape == (1, 1, 1024, 6)
    assert params["residual"]["kernel"].shape == (1, 1, 6, 3)
    assert params["refine0"]["conv2"]["kernel"].shape == (3, 3, 8, 8)
