"""Last layers: what nets predict is not rounded, whatever type they compute in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core as jax_core

from mdm_jax.networks import (
    correlation_layers,
    correlation_net,
    depth_net,
    disparity_net,
    intrinsics_head,
    motion_field_net,
    pose_net,
    resampling,
)
from mdm_jax.networks.motion_net import FramePairs

_FAST = {"xla_backend_optimization_level": 0}


@pytest.mark.parametrize("make", [depth_net.DepthNet, disparity_net.DisparityNet])
def test_far_depth_is_not_rounded_to_bfloat16(make):
    net = make(width_multiplier=0.0625, dtype=jnp.bfloat16)
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.uniform(size=(1, 64, 128, 3)), jnp.float32)

    def depth(image):
        variables = net.init(jax.random.key(0), image)
        if make is depth_net.DepthNet:  # At about 20, where bfloat16 has steps of 1/8.
            bias = variables["params"]["head"]["bias"]
            variables["params"]["head"]["bias"] = bias + 20.0
        return net.apply(variables, image)

    values = np.asarray(jax.jit(depth, compiler_options=_FAST)(image))
    assert values.dtype == np.float32
    assert len(np.unique(values)) > 4000


def _pairs(h=33, w=47):
    image = jax.ShapeDtypeStruct((2, h, w, 3), jnp.float32)
    depth = jax.ShapeDtypeStruct((2, h, w), jnp.float32)
    mask = jax.ShapeDtypeStruct((2, h, w), jnp.bool_)
    matrix = jax.ShapeDtypeStruct((2, 3, 3), jnp.float32)
    return FramePairs(image, image, depth, depth, matrix, mask, mask)


def _products(function, *arguments):
    """Returns (channels, type, precision) of all products in a function."""
    found = []

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("dot_general", "conv_general_dilated"):
                result = equation.outvars[0].aval
                found.append(
                    (result.shape[-1], result.dtype, equation.params["precision"])
                )
            for inner in jax_core.jaxprs_in_params(equation.params):
                visit(inner)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def _is_exact(product):
    _, dtype, precision = product
    return dtype == jnp.float32 and precision == (jax.lax.Precision.HIGHEST,) * 2


@pytest.mark.parametrize(
    ("net", "channels"),
    [
        (pose_net.PoseNet("conv"), 6),
        (motion_field_net.PaperMotionNet(), 6),
        (motion_field_net.PaperMotionNet(), 3),
        (
            correlation_net.CorrelationMotionNet(
                residual_motion=False, both_directions=True
            ),
            6,
        ),
    ],
)
def test_heads_of_motion_multiply_in_full_precision(net, channels):
    net = net.clone(dtype=jnp.bfloat16)
    products = _products(
        lambda pairs: net.init_with_output(jax.random.key(0), pairs)[0], _pairs()
    )
    heads = [p for p in products if p[0] == channels]
    assert heads and all(map(_is_exact, heads)), heads


def test_intrinsics_and_resized_fields_are_computed_in_full_precision():
    head = intrinsics_head.PairIntrinsics()
    features = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    field = jax.ShapeDtypeStruct((2, 5, 7, 3), jnp.float32)
    products = [
        *_products(
            lambda x: head.init_with_output(jax.random.key(0), x, (32, 48))[0], features
        ),
        *_products(lambda x: resampling.resize_bilinear(x, (9, 11)), field),
    ]
    assert len(products) == 4 and all(map(_is_exact, products)), products


def test_the_residual_head_ends_in_float32():
    head = correlation_layers.ResidualHead((8, 8), jnp.bfloat16)
    x = jax.ShapeDtypeStruct((1, 16, 24, 5), jnp.bfloat16)
    products = _products(lambda x: head.init_with_output(jax.random.key(0), x)[0], x)
    assert products[-1][1] == jnp.float32
