import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import pyramid

halve = jax.jit(pyramid.halve)


def image(seed, shape=(2, 9, 13, 3)):
    return np.random.default_rng(seed).uniform(size=shape).astype(np.float32)


def test_halving_agrees_with_loop_and_drops_the_odd_border():
    fine = image(0)
    coarse = halve(fine)
    assert coarse.shape == (2, 4, 6, 3)
    for b, i, j in np.ndindex(2, 4, 6):
        want = fine[b, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(0, 1))
        np.testing.assert_allclose(coarse[b, i, j], want, rtol=1e-6)


def test_finest_scale_is_the_input_itself():
    a, b = jnp.asarray(image(1)), jnp.asarray(image(2, (2, 9, 13, 1)))
    (only,) = pyramid.pyramid(a, b, num_scales=1)
    assert only[0] is a
    assert only[1] is b


def test_each_scale_halves_the_one_before():
    a, b = jnp.asarray(image(3)), jnp.asarray(image(4, (2, 9, 13, 1)))
    scales = pyramid.pyramid(a, b, num_scales=3)
    shapes = [(first.shape[1:3], second.shape[1:3]) for first, second in scales]
    assert shapes == [((9, 13),) * 2, ((4, 6),) * 2, ((2, 3),) * 2]
    np.testing.assert_array_equal(scales[2][0], halve(scales[1][0]))


def test_pixel_coordinates_halve_exactly_with_the_image():
    # A picture of its own x coordinate: x' = (x + 0.5) / 2 - 0.5.
    x = np.broadcast_to(
        np.arange(7, dtype=np.float32)[None, None, :, None], (1, 4, 7, 1)
    )
    coarse = halve(x)[0, :, :, 0]
    want = 2 * (np.arange(3) + 0.5) - 0.5
    np.testing.assert_allclose(coarse, np.broadcast_to(want, (2, 3)))


def test_impossible_scales_are_refused():
    with pytest.raises(ValueError, match="num_scales"):
        pyramid.pyramid(jnp.asarray(image(5)), num_scales=0)
    with pytest.raises(ValueError, match="at least 2x2"):
        pyramid.pyramid(jnp.asarray(image(5)), num_scales=5)
