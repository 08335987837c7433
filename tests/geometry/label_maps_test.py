"""Reading label maps: what a warped mask, rounded up, would hold."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from mdm_jax.geometry import label_maps, sampling

H, W = 5, 7


def _labels(slots=1):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, 4, (H, W, slots)), jnp.uint8)


def _pixels(height=6, width=4):
    rng = np.random.default_rng(1)
    pixels = rng.uniform((0, 0), (W - 1, H - 1), (height, width, 2))
    pixels[0] = [[0, 0], [W - 1, 0], [0, H - 1], [W - 1, H - 1]]
    pixels[1] = np.round(pixels[1])
    return jnp.asarray(pixels, jnp.float32)


def test_labels_read_are_the_warped_mask_rounded_up_or_down():
    labels, pixels = _labels(), _pixels()
    read = jax.jit(label_maps.read)(labels, pixels)
    assert read.shape == (6, 4, 4)
    assert read.dtype == jnp.uint8
    for label in (1, 2, 3):
        mask = (labels == label).astype(jnp.float32)
        warped = np.ceil(sampling.bilinear(mask, pixels).values[..., 0])
        here = jnp.full((6, 4), label, jnp.uint8)
        np.testing.assert_array_equal(label_maps.contains(read, here), warped == 1)
        warped = np.floor(sampling.bilinear(mask, pixels).values[..., 0] + 1e-5)
        inside = np.all(read == label, axis=-1)
        np.testing.assert_array_equal(inside, warped == 1)


def test_a_pixel_that_stays_in_place_reads_its_own_label_only():
    labels = _labels()
    x, y = np.meshgrid(np.arange(W), np.arange(H))
    # Off by what rounding moves a pixel.
    pixels = np.clip(np.stack([x, y], axis=-1) + 1e-4, 0, [W - 1, H - 1])
    read = label_maps.read(labels, jnp.asarray(pixels, jnp.float32))
    np.testing.assert_array_equal(read, jnp.broadcast_to(labels, (H, W, 4)))


def test_several_labels_of_a_pixel_are_all_read():
    labels, pixels = _labels(slots=3), _pixels()
    read = label_maps.read(labels, pixels)
    each = [label_maps.read(labels[..., i : i + 1], pixels) for i in range(3)]
    for label in (1, 2, 3):
        here = jnp.full((6, 4), label, jnp.uint8)
        expected = np.any([label_maps.contains(one, here) for one in each], axis=0)
        np.testing.assert_array_equal(label_maps.contains(read, here), expected)


def test_no_pixel_is_in_the_mask_of_label_zero():
    read = jnp.zeros((H, W, 4), jnp.uint8)
    assert not label_maps.contains(read, jnp.zeros((H, W), jnp.uint8)).any()


def test_a_map_of_one_pixel_is_read():
    labels = jnp.full((1, 1, 1), 2, jnp.uint8)
    read = label_maps.read(labels, jnp.zeros((2, 3, 2)))
    assert label_maps.contains(read, jnp.full((2, 3), 2, jnp.uint8)).all()


def test_a_map_without_its_last_axis_is_an_error():
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="labels"):
        label_maps.read(jnp.zeros((H, W), jnp.uint8), _pixels())
