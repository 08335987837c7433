from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util
from jax.sharding import NamedSharding, PartitionSpec
from scipy import ndimage

from mdm_jax.geometry import camera, intrinsics, sampling

H, W, C = 5, 7, 3
bilinear = jax.jit(sampling.bilinear)
resize = jax.jit(sampling.resize_bilinear, static_argnames=("size", "align_corners"))


def _random_image(*shape: int, seed: int = 0) -> np.ndarray:
    shape = shape or (H, W, C)
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def _random_pixels(*shape: int, margin: float = 0.0, seed: int = 1) -> np.ndarray:
    """Coordinates up to `margin` pixels outside the image."""
    random = np.random.default_rng(seed)
    unit = random.uniform(size=(*(shape or (4, 6)), 2))
    extent = np.array([W - 1, H - 1])
    return (unit * (extent + 2 * margin) - margin).astype(np.float32)


def _slow_bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    height, width, _ = image.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    value = np.zeros(image.shape[-1])
    for row in range(height):
        for column in range(width):
            weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
            value += weight * image[row, column]
    return value


def _at(x: float, y: float) -> np.ndarray:
    return np.array([[[x, y]]], np.float32)


def test_bilinear_agrees_with_scipy():
    image, pixels = _random_image(), _random_pixels(margin=2.0)
    sampled = bilinear(image, pixels)
    for channel in range(C):
        expected = ndimage.map_coordinates(
            image[..., channel],
            [pixels[..., 1], pixels[..., 0]],
            order=1,
            mode="nearest",
        )
        np.testing.assert_allclose(sampled.values[..., channel], expected, atol=1e-6)


def test_bilinear_agrees_with_a_slow_loop():
    image, pixels = _random_image(), _random_pixels(margin=2.0)
    sampled = bilinear(image, pixels)
    for i, j in np.ndindex(*pixels.shape[:2]):
        x, y = pixels[i, j]
        np.testing.assert_allclose(
            sampled.values[i, j], _slow_bilinear(image, x, y), atol=1e-6
        )
        assert sampled.valid[i, j] == (0 <= x <= W - 1 and 0 <= y <= H - 1)


def test_pixel_centres_return_the_pixels_last_row_and_column_included():
    image = _random_image()
    sampled = bilinear(image, camera.pixel_grid(H, W))
    np.testing.assert_array_equal(sampled.values, image)
    assert np.all(sampled.valid)


def test_an_affine_image_is_reproduced_with_its_slopes_as_gradient():
    grid = camera.pixel_grid(H, W)
    image = (2 * grid[..., :1] - 3 * grid[..., 1:] + 1) / 8
    pixels = _random_pixels()
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = (0, 0), (W - 1, 0), (W - 1, H - 1)
    values, gradient = jax.value_and_grad(lambda p: jnp.sum(bilinear(image, p).values))(
        pixels
    )
    expected = (2 * pixels[..., 0] - 3 * pixels[..., 1] + 1) / 8
    np.testing.assert_allclose(values, expected.sum(), rtol=1e-6)
    slopes = np.broadcast_to(np.array([2 / 8, -3 / 8]), pixels.shape)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "valid"),
    [
        (0, 0, True),
        (W - 1, H - 1, True),
        (-5e-4, 2, True),  # what rounding does to the border is forgiven
        (3, H - 1 + 5e-4, True),
        (-0.01, 2, False),
        (3, -0.01, False),
        (W - 1 + 0.01, 2, False),
        (3, H - 1 + 0.01, False),
        (1e30, 2, False),
        (3, -1e30, False),
    ],
)
def test_bounds_are_inclusive(x, y, valid):
    image = _random_image()
    sampled = bilinear(image, _at(x, y))
    assert sampled.valid[0, 0] == valid
    np.testing.assert_allclose(
        sampled.values[0, 0], _slow_bilinear(image, x, y), atol=1e-6
    )
    gradient = jax.grad(lambda p: jnp.sum(bilinear(image, p).values))(_at(x, y))
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0) == valid


def test_non_finite_coordinates_are_clamped_and_have_no_gradient():
    def loss(image, pixels):
        sampled = sampling.bilinear(image, pixels)
        return jnp.sum(jnp.square(sampled.values)), sampled

    numbers = (np.nan, np.inf, -np.inf, 3.0)
    pixels = np.array([[(x, y) for x in numbers] for y in numbers], np.float32)
    gradients, sampled = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
        _random_image(), pixels
    )
    finite = np.isfinite(pixels).all(axis=-1)  # the one where both are
    np.testing.assert_array_equal(sampled.valid, finite)
    assert np.all(np.isfinite(sampled.values))
    assert np.all(np.isfinite(gradients[0]))
    np.testing.assert_array_equal(gradients[1][~finite], 0)
    assert np.all(gradients[1][finite] != 0)


def test_clamp_returns_the_nearest_inside_points():
    pixels = np.array([(-2, 3), (1.5, 9), (np.nan, -np.inf), (6, 4), (6.2, 4)])
    clamped = sampling.clamp(jnp.asarray(pixels, jnp.float32), height=H, width=W)
    expected = [[0, 3], [1.5, 4], [0, 0], [6, 4], [6, 4]]
    assert clamped.pixels.tolist() == expected
    assert clamped.inside.tolist() == [False, False, False, True, False]


def test_gradients_agree_with_finite_differences():
    @jax.jit
    def values(image, pixels):
        return sampling.bilinear(image, pixels).values

    with jax.enable_x64(True):
        arguments = _random_image().astype(float), _random_pixels().astype(float)
        test_util.check_grads(values, arguments, order=1, modes=("fwd", "rev"))


def test_the_gradient_of_the_image_is_each_pixels_weight():
    pixels = _random_pixels(margin=1.0)
    gradient = jax.grad(lambda image: jnp.sum(bilinear(image, pixels).values))(
        _random_image()
    )
    expected = np.zeros((H, W, C))
    for x, y in pixels.reshape(-1, 2):
        for row, column in np.ndindex(H, W):
            one_hot = np.zeros((H, W, 1))
            one_hot[row, column] = 1
            expected[row, column] += _slow_bilinear(one_hot, x, y)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


def test_no_scatter_unless_the_image_is_differentiated():
    def loss(image, pixels):
        return jnp.sum(jnp.square(sampling.bilinear(image, pixels).values))

    arguments = _random_image(), _random_pixels()
    with_respect_to_pixels = jax.make_jaxpr(jax.grad(loss, 1))(*arguments)
    with_respect_to_image = jax.make_jaxpr(jax.grad(loss, 0))(*arguments)
    assert "scatter" not in str(with_respect_to_pixels)
    assert "scatter" in str(with_respect_to_image)


def test_sampling_a_mirrored_image_at_mirrored_coordinates_changes_nothing():
    image, pixels = _random_image(), _random_pixels(margin=1.0)
    mirrored_pixels = pixels * [-1, 1] + [W - 1, 0]
    sampled = bilinear(image, pixels)
    mirrored = bilinear(image[:, ::-1], mirrored_pixels.astype(np.float32))
    np.testing.assert_allclose(mirrored.values, sampled.values, atol=1e-5)
    np.testing.assert_array_equal(mirrored.valid, sampled.valid)


@pytest.mark.parametrize("shape", [(1, 1, 2), (1, 4, 2), (4, 1, 2)])
def test_images_of_one_row_or_column_can_be_sampled(shape):
    image = _random_image(*shape)
    pixels = _random_pixels(margin=1.0)
    sampled = bilinear(image, pixels)
    for i, j in np.ndindex(*pixels.shape[:2]):
        np.testing.assert_allclose(
            sampled.values[i, j], _slow_bilinear(image, *pixels[i, j]), atol=1e-6
        )


def test_a_batch_instead_of_one_image_is_an_error():
    with pytest.raises(ValueError, match="jax.vmap over a batch"):
        inspect.unwrap(sampling.bilinear)(
            _random_image(2, H, W, C), _random_pixels(2, 4, 6)
        )


def test_mapped_over_devices_it_equals_one_device_and_nothing_is_exchanged():
    def loss(images, pixels):
        values = jax.vmap(sampling.bilinear)(images, pixels).values
        return jnp.sum(jnp.square(values), axis=(1, 2, 3))

    def value_and_gradients(images, pixels):
        per_image, vjp = jax.vjp(loss, images, pixels)
        return per_image, vjp(jnp.ones_like(per_image))

    devices = jax.device_count()
    assert devices > 1
    images = _random_image(devices, H, W, C)
    pixels = _random_pixels(devices, 4, 6, margin=1.0)
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put((images, pixels), sharding)
    # Shardings given, not left to the compiler: it could choose to gather outputs.
    step = jax.jit(value_and_gradients, out_shardings=sharding)
    compiled = step.lower(*sharded).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        step(*sharded),
        jax.jit(value_and_gradients)(images, pixels),
    )


SIZES = [(H, W), (8, 11), (9, 3), (1, 5), (4, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("align_corners", [True, False])
def test_resizing_agrees_with_a_slow_loop(size, align_corners):
    image = _random_image()
    resized = resize(image, size, align_corners=align_corners)

    def source(i: int, old: int, new: int) -> float:
        if align_corners:
            return i * (old - 1) / (new - 1) if new > 1 else 0.0
        return (i + 0.5) * old / new - 0.5

    for i, j in np.ndindex(*size):
        x, y = source(j, W, size[1]), source(i, H, size[0])
        np.testing.assert_allclose(
            resized[i, j], _slow_bilinear(image, x, y), atol=1e-5
        )


@pytest.mark.parametrize("align_corners", [True, False])
def test_one_pixel_resizes_to_a_constant(align_corners):
    image = _random_image(1, 1, C)
    resized = resize(image, (3, 4), align_corners=align_corners)
    np.testing.assert_allclose(resized, np.broadcast_to(image, (3, 4, C)), rtol=1e-6)


def test_a_resized_image_is_seen_by_the_resized_camera():
    # Every pixel's colour is its ray, so a resized image tells which camera took it.
    K = intrinsics.matrix(6.0, 5.5, 3.2, 1.9).astype(np.float32)
    seen = camera.rays(jnp.asarray(K), H, W)
    size = (2 * H, 3 * W)
    resized = resize(seen, size, align_corners=False)
    resized_K = intrinsics.resize(K, from_size=(H, W), to_size=size)
    expected = camera.rays(jnp.asarray(resized_K), *size)
    # Less the border, whose new pixels' centres lie outside the old ones'.
    np.testing.assert_allclose(resized[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-5)
