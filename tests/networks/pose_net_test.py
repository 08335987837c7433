"""Pose nets: masks hide what they mask, both forms train, output begins small."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import pose_net
from mdm_jax.networks.motion_net import FramePairs

B, H, W = 2, 33, 47


def _images(seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        jnp.asarray(rng.uniform(size=(B, H, W, 3)), jnp.float32) for _ in range(2)
    )


def _masks(seed=0):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.random((B, H, W)) < 0.5) for _ in range(2))


def _net(form, **options):
    return pose_net.PoseNet(form=form, width_multiplier=0.0625, **options)


def _pairs(image_a, image_b, mask_a, mask_b):
    return FramePairs(image_a, image_b, mask_a=mask_a, mask_b=mask_b)


@pytest.mark.parametrize("form", pose_net.FORMS)
def test_motion_depends_on_the_order_and_not_on_what_is_masked(form):
    net, (image_a, image_b), (mask_a, mask_b) = _net(form), _images(), _masks()
    pairs = _pairs(image_a, image_b, mask_a, mask_b)
    variables = jax.jit(net.init)(jax.random.key(0), pairs)
    apply = jax.jit(lambda variables, *x: net.apply(variables, _pairs(*x)))
    output = apply(variables, image_a, image_b, mask_a, mask_b)
    assert output.angles.shape == output.translation.shape == (B, 3)
    assert float(jnp.abs(output.translation).max()) < 0.2

    hidden = [
        jnp.where(mask[..., None], image, 1.0 - image)
        for image, mask in ((image_a, mask_a), (image_b, mask_b))
    ]
    other = apply(variables, *hidden, mask_a, mask_b)
    np.testing.assert_array_equal(output.angles, other.angles)
    np.testing.assert_array_equal(output.translation, other.translation)

    swapped = apply(variables, image_b, image_a, mask_b, mask_a)
    assert float(jnp.abs(swapped.angles - output.angles).max()) > 1e-6

    # Clips of a batch do not affect each other.
    alone = apply(variables, image_a, image_b.at[1].set(0.3), mask_a, mask_b)
    np.testing.assert_allclose(alone.angles[0], output.angles[0], atol=1e-7)
    assert float(jnp.abs(alone.angles[1] - output.angles[1]).max()) > 1e-7


def test_translations_only_have_no_angles():
    net, images, masks = _net("conv", translation_only=True), _images(), _masks()
    output, variables = jax.jit(net.init_with_output)(
        jax.random.key(0), _pairs(*images, *masks)
    )
    assert not output.angles.any()
    assert float(jnp.abs(output.translation).min()) > 0
    assert variables["params"]["pose"]["kernel"].shape[-1] == 3
    assert "rotation_scale" not in variables["params"]


def test_the_published_widths_are_those_of_multiplier_one():
    image, mask = jnp.zeros((1, H, W, 3)), jnp.zeros((1, H, W), bool)

    def shapes(form):
        net = pose_net.PoseNet(form=form)
        key = jax.random.key(0)
        pairs = _pairs(image, image, mask, mask)
        return jax.eval_shape(net.init, key, pairs)["params"]

    conv, resnet = shapes("conv"), shapes("resnet")
    kernels = [conv[f"conv{i}"]["kernel"].shape for i in range(1, 8)]
    assert [k[0] for k in kernels] == [7, 5, 3, 3, 3, 3, 3]
    assert [k[2:] for k in kernels] == [
        *((6, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 256), (256, 256))
    ]
    assert resnet["encoder"]["stem_conv"]["kernel"].shape == (7, 7, 6, 64)
    assert resnet["squeeze"]["kernel"].shape == (1, 1, 512, 256)
    assert resnet["conv2"]["kernel"].shape == (3, 3, 256, 256)
    assert resnet["pose"]["kernel"].shape == (256, 6)


def test_an_unknown_form_is_named():
    image, mask = jnp.zeros((1, H, W, 3)), jnp.zeros((1, H, W), bool)
    with pytest.raises(ValueError, match="form expects.*conv.*'mlp'"):
        _net("mlp").init(jax.random.key(0), _pairs(image, image, mask, mask))
