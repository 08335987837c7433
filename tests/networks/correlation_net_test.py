"""The correlation motion net."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import correlation_net, motion_net

_KEY = jax.random.key(0)


def _inputs(h=16, w=24, b=2):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(2, b, h, w, 3)).astype(np.float32)
    depths = rng.uniform(1, 3, size=(2, b, h, w)).astype(np.float32)
    matrix = np.array([[20, 0, w / 2], [0, 20, h / 2], [0, 0, 1]], np.float32)
    intrinsics = np.broadcast_to(matrix, (b, 3, 3))
    return images[0], depths[0], images[1], depths[1], intrinsics


def _pairs(image_a, depth_a, image_b, depth_b, intrinsics):
    return motion_net.FramePairs(image_a, image_b, depth_a, depth_b, intrinsics)


def _still_warp(source, target_depth, angles, translation, intrinsics):
    """A sampler for a camera at rest; the last column is not seen."""
    del angles, translation, intrinsics
    valid = jnp.ones(target_depth.shape, bool).at[:, :, -1].set(False)
    # What is not seen may hold anything.
    return jnp.where(valid[..., None], source, jnp.nan), target_depth, valid


def _net(inverse_warp=_still_warp, **options):
    return correlation_net.CorrelationMotionNet(
        0.125,
        radius=(2, 1),
        features=4,
        trunk_widths=(32, 32),
        inverse_warp=inverse_warp,
        **options,
    )


@functools.cache
def _trained(ego_compensation):
    """A net with its parameters, none of them zero."""
    net = _net(ego_compensation=ego_compensation)
    variables = jax.jit(net.init)(_KEY, _pairs(*_inputs()))
    leaves, tree = jax.tree.flatten(variables)
    rng = np.random.default_rng(1)
    leaves = [x + 0.1 * rng.normal(size=x.shape).astype(np.float32) for x in leaves]
    apply = jax.jit(lambda variables, *x: net.apply(variables, _pairs(*x)))
    return net, jax.tree.unflatten(tree, leaves), apply


@pytest.mark.parametrize("ego_compensation", [True, False])
def test_outputs_have_their_shapes_for_any_sides(ego_compensation):
    net = _net(ego_compensation=ego_compensation)
    output = jax.eval_shape(
        lambda *x: net.init_with_output(_KEY, _pairs(*x))[0],
        *_inputs(37, 61, b=3),
    )
    assert output.angles.shape == output.translation.shape == (3, 3)
    assert output.residual.shape == (3, 37, 61, 3)
    assert output.bottleneck.shape[0] == 3


def test_residual_starts_at_zero_and_egomotion_small():
    net = _net()
    output, _ = jax.jit(net.init_with_output)(_KEY, _pairs(*_inputs()))
    np.testing.assert_array_equal(output.residual, 0.0)
    for x in (output.angles, output.translation):
        assert 0 < float(jnp.max(jnp.abs(x))) < 0.1


@pytest.mark.parametrize("ego_compensation", [True, False])
def test_egomotion_changes_sign_when_frames_are_exchanged(ego_compensation):
    _, variables, apply = _trained(ego_compensation)
    image_a, depth_a, image_b, depth_b, intrinsics = _inputs()
    forth = apply(variables, image_a, depth_a, image_b, depth_b, intrinsics)
    back = apply(variables, image_b, depth_b, image_a, depth_a, intrinsics)
    assert float(jnp.min(jnp.max(jnp.abs(forth.angles), axis=-1))) > 1e-6
    np.testing.assert_allclose(forth.angles, -back.angles, atol=1e-6)
    np.testing.assert_allclose(forth.translation, -back.translation, atol=1e-6)
    # The intrinsics head's features do not depend on the order.
    np.testing.assert_allclose(forth.bottleneck, back.bottleneck, atol=1e-5)


def test_a_frame_and_itself_have_no_egomotion():
    _, variables, apply = _trained(True)
    image, depth, _, _, intrinsics = _inputs()
    output = apply(variables, image, depth, image, depth, intrinsics)
    np.testing.assert_allclose(output.angles, 0.0, atol=1e-7)
    np.testing.assert_allclose(output.translation, 0.0, atol=1e-7)


@pytest.mark.parametrize("ego_compensation", [True, False])
def test_both_directions_at_once_equal_each_alone(ego_compensation):
    _, variables, apply = _trained(ego_compensation)
    image_a, depth_a, image_b, depth_b, intrinsics = _inputs()
    forth = apply(variables, image_a, depth_a, image_b, depth_b, intrinsics)
    back = apply(variables, image_b, depth_b, image_a, depth_a, intrinsics)

    def interleaved(a, b):
        return np.stack([a, b], axis=1).reshape(-1, *a.shape[1:])

    net = _net(ego_compensation=ego_compensation, both_directions=True)
    pairs = jax.tree.map(
        interleaved,
        _pairs(image_a, depth_a, image_b, depth_b, intrinsics),
        _pairs(image_b, depth_b, image_a, depth_a, intrinsics),
    )
    both = jax.jit(net.apply)(variables, pairs)
    expected = jax.tree.map(interleaved, forth, back)
    for x, y in zip(jax.tree.leaves(both), jax.tree.leaves(expected)):
        np.testing.assert_allclose(x, y, atol=1e-5)


@pytest.mark.parametrize("ego_compensation", [True, False])
def test_translations_scale_with_depth_and_angles_do_not(ego_compensation):
    _, variables, apply = _trained(ego_compensation)
    image_a, depth_a, image_b, depth_b, intrinsics = _inputs()
    one = apply(variables, image_a, depth_a, image_b, depth_b, intrinsics)
    five = apply(variables, image_a, 5 * depth_a, image_b, 5 * depth_b, intrinsics)
    np.testing.assert_allclose(five.angles, one.angles, atol=1e-6)
    np.testing.assert_allclose(five.translation, 5 * one.translation, rtol=1e-3)
    assert float(jnp.max(jnp.abs(one.residual))) > 1e-6
    np.testing.assert_allclose(five.residual, 5 * one.residual, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("ego_compensation", [True, False])
def test_gradients_are_finite_and_reach_every_parameter(ego_compensation):
    net, variables, _ = _trained(ego_compensation)
    inputs = _inputs()

    def loss(variables, depth):
        output = net.apply(variables, _pairs(inputs[0], depth, *inputs[2:]))
        return sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(output))

    gradients, by_depth = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, inputs[1])
    for g in jax.tree.leaves((gradients, by_depth)):
        assert bool(jnp.all(jnp.isfinite(g)))
        assert float(jnp.max(jnp.abs(g))) > 0


def test_the_warp_gets_the_other_frame_at_half_resolution_without_gradient():
    _, variables, _ = _trained(True)
    image_a, depth_a, image_b, depth_b, intrinsics = _inputs()
    seen = {}

    def warp(source, target_depth, angles, translation, half_intrinsics):
        seen.update(source=source, depth=target_depth, matrix=half_intrinsics)
        return _still_warp(source, target_depth, angles, translation, half_intrinsics)

    pairs = _pairs(image_a, depth_a, image_b, depth_b, intrinsics)
    _net(warp).apply(variables, pairs)
    pooled = depth_a.reshape(2, 8, 2, 12, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(seen["depth"], pooled, rtol=1e-5)
    pooled = image_b.reshape(2, 8, 2, 12, 2, 3).mean(axis=(2, 4)) * 2 - 1
    np.testing.assert_allclose(seen["source"][..., 4:7], pooled, atol=1e-5)
    center = (intrinsics[0, 0, 2] + 0.5) / 2 - 0.5
    assert float(seen["matrix"][0, 0, 2]) == pytest.approx(center)


def test_bfloat16_gives_float32_outputs_close_to_those_of_float32():
    _, variables, apply = _trained(False)
    inputs = _inputs()
    net = _net(ego_compensation=False, dtype=jnp.bfloat16)
    rounded = jax.jit(net.apply)(variables, _pairs(*inputs))
    exact = apply(variables, *inputs)
    for x, y in zip(jax.tree.leaves(rounded), jax.tree.leaves(exact)):
        assert x.dtype == jnp.float32
        scale = float(jnp.max(jnp.abs(y)))
        np.testing.assert_allclose(x, y, atol=0.2 * scale)


def test_width_multiplier_scales_trunk_and_head():
    net = correlation_net.CorrelationMotionNet(0.5, ego_compensation=False)
    params = jax.eval_shape(net.init, _KEY, _pairs(*_inputs()))["params"]
    widths = [params["trunk"][f"conv{i}"]["kernel"].shape[-1] for i in range(1, 5)]
    assert widths == [16, 32, 32, 64]
    assert params["head"]["down2"]["kernel"].shape[-2:] == (24, 32)


def test_ego_compensation_without_a_warp_is_refused():
    with pytest.raises(ValueError, match="expects inverse_warp .* got None"):
        jax.eval_shape(_net(inverse_warp=None).init, _KEY, _pairs(*_inputs()))
