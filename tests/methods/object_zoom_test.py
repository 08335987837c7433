"""Windows around objects: what they show, and what motion in a window means."""

import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax.geometry import camera
from mdm_jax.methods import object_zoom

HEIGHT, WIDTH, SIZE = 22, 34, 8


def _mask(top, left, height, width):
    mask = np.zeros((1, HEIGHT, WIDTH), bool)
    mask[0, top : top + height, left : left + width] = True
    return jnp.asarray(mask)


def test_a_window_is_centred_on_the_object_and_larger_than_it():
    window = object_zoom.around(_mask(top=4, left=10, height=6, width=9))
    # Pixels 10 to 18 and 4 to 9.
    np.testing.assert_allclose(window.center, [[14.0, 6.5]])
    assert 9 < float(window.side[0]) < 13


def test_a_crop_shows_the_image_at_the_pixels_of_its_window():
    window = object_zoom.Window(jnp.array([[15.0, 9.0]]), jnp.array([6.0]))
    x, y = jnp.meshgrid(jnp.arange(WIDTH * 1.0), jnp.arange(HEIGHT * 1.0))
    image = jnp.stack([x, y], axis=-1)[None]
    cut = np.asarray(object_zoom.crop(image, window, SIZE))[0]
    # Linear interpolation of a linear image is exact: coordinates read themselves.
    offsets = (np.arange(SIZE) + 0.5) / SIZE * 6.0 - 3.0
    np.testing.assert_allclose(cut[..., 0], np.tile(15 + offsets, (SIZE, 1)), rtol=1e-5)
    np.testing.assert_allclose(
        cut[..., 1], np.tile(9 + offsets[:, None], (1, SIZE)), rtol=1e-5
    )


def test_a_crop_is_zero_outside_of_the_image_and_antialiased_inside():
    window = object_zoom.Window(jnp.array([[2.0, 10.0]]), jnp.array([16.0]))
    stripes = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    stripes[:, :, ::2] = 1.0
    cut = np.asarray(object_zoom.crop(jnp.asarray(stripes), window, 4))[0, ..., 0]
    np.testing.assert_array_equal(cut[:, 0], 0)
    np.testing.assert_allclose(cut[:, 2:], 0.5, atol=0.1)


def test_what_a_window_shows_moves_with_the_object():
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(1, HEIGHT, WIDTH, 3)).astype(np.float32)
    shifted = np.roll(image, (3, 5), axis=(1, 2))
    windows = [
        object_zoom.around(_mask(6, 9, 5, 4)),
        object_zoom.around(_mask(9, 14, 5, 4)),
    ]
    first, second = (
        object_zoom.crop(jnp.asarray(values), window, SIZE)
        for values, window in zip((image, shifted), windows, strict=True)
    )
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_numbers_are_the_shift_in_the_window_and_the_change_of_log_depth():
    K = jnp.array([[40.0, 0, 17], [0, 44.0, 11], [0, 0, 1]])
    center = jnp.array([[1.0, -0.5, 7.0]])
    window = object_zoom.Window(jnp.array([[20.0, 9.0]]), jnp.array([5.0]))
    numbers = jnp.array([[0.2, -0.3, 0.1]])
    moved = center + object_zoom.translation(numbers, window, center, K[None])
    before, after = (camera.project(point, K) for point in (center, moved))
    np.testing.assert_allclose(
        after.pixels - before.pixels, [[5 * 0.2, 5 * -0.3]], rtol=1e-4
    )
    np.testing.assert_allclose(jnp.log(after.depth / before.depth), [0.1], rtol=1e-5)


def test_an_object_that_is_not_there_has_a_window_and_finite_motion():
    window = object_zoom.around(jnp.zeros((1, HEIGHT, WIDTH), bool))
    cut = object_zoom.crop(jnp.ones((1, HEIGHT, WIDTH, 1)), window, SIZE)
    assert bool(jnp.all(jnp.isfinite(cut)))

    def length(numbers):
        moved = object_zoom.translation(
            numbers, window, jnp.zeros((1, 3)), jnp.eye(3)[None]
        )
        return jnp.sum(jnp.square(moved))

    value, gradient = jax.value_and_grad(length)(jnp.full((1, 3), 0.1))
    assert float(value) == 0
    assert bool(jnp.all(jnp.isfinite(gradient)))
