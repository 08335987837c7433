import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from mdm_jax.losses import ssim

# Compiled: on values this small, one compilation costs less than one per operation.
weighted_ssim = jax.jit(ssim.weighted_ssim, static_argnames=("c1", "c2"))
dissimilarity = jax.jit(ssim.dissimilarity)


def images(seed, shape=(2, 5, 7, 3), noise=0.1):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.1, 0.9, shape)
    y = x + noise * rng.uniform(-1, 1, shape)
    weight = rng.uniform(0, 1, shape[:-1])
    return x.astype(np.float32), y.astype(np.float32), weight.astype(np.float32)


def slow_dissimilarity(x, y, weight, c1, c2):
    """The textbook formula of one window: x, y and weight `[3 3]`."""
    x, y, weight = (np.float64(a).ravel() for a in (x, y, weight))
    weight = weight / weight.sum()
    mu_x, mu_y = weight @ x, weight @ y
    var_x, var_y = weight @ (x - mu_x) ** 2, weight @ (y - mu_y) ** 2
    cov = weight @ ((x - mu_x) * (y - mu_y))
    value = 1.0
    if np.isfinite(c1):
        value *= (2 * mu_x * mu_y + c1) / (mu_x**2 + mu_y**2 + c1)
    if np.isfinite(c2):
        value *= (2 * cov + c2) / (var_x + var_y + c2)
    return np.clip((1 - value) / 2, 0, 1)


@pytest.mark.parametrize("c1, c2", [(np.inf, 9e-6), (1e-4, 9e-4), (1e-4, np.inf)])
def test_weighted_ssim_agrees_with_textbook_loop(c1, c2):
    x, y, weight = images(0)
    weight[0, :4, :4] = 0
    got = weighted_ssim(x, y, weight, c1=c1, c2=c2)
    n, h, w, c = x.shape
    assert got.dissimilarity.shape == (n, h - 2, w - 2, c)
    assert got.average_weight.shape == (n, h - 2, w - 2)
    for index in np.ndindex(n, h - 2, w - 2, c):
        b, i, j, k = index
        window = b, slice(i, i + 3), slice(j, j + 3)
        want = slow_dissimilarity(
            x[*window, k], y[*window, k], weight[window] + 0.01, c1, c2
        )
        assert got.dissimilarity[index] == pytest.approx(want, abs=2e-4)
        mean = weight[window].mean()
        assert got.average_weight[b, i, j] == pytest.approx(mean, abs=1e-6)


def test_full_size_dissimilarity_agrees_with_textbook_loop_and_reflects_borders():
    x, y, _ = images(1, (1, 4, 5, 2))
    got = dissimilarity(x, y)
    assert got.shape == x.shape
    x, y = (np.pad(z, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect") for z in (x, y))
    for index in np.ndindex(*got.shape):
        b, i, j, k = index
        window = b, slice(i, i + 3), slice(j, j + 3), k
        want = slow_dissimilarity(x[window], y[window], np.ones((3, 3)), 1e-4, 9e-4)
        assert got[index] == pytest.approx(want, abs=1e-5)


def test_equal_images_are_similar_with_exactly_zero_gradient():
    x, _, weight = images(2)

    def loss(y):
        return jnp.sum(weighted_ssim(x, y, weight).dissimilarity)

    value, gradient = jax.jit(jax.value_and_grad(loss))(x)
    assert value == 0
    assert not np.any(gradient)


def test_negated_contrast_is_fully_dissimilar():
    x, _, weight = images(3)
    assert np.all(weighted_ssim(x, 1 - x, weight).dissimilarity > 0.99)


def test_dissimilarity_is_symmetric():
    x, y, _ = images(4)
    np.testing.assert_allclose(dissimilarity(x, y), dissimilarity(y, x), atol=1e-6)


def test_brightness_offset_counts_only_with_finite_c1():
    x, _, weight = images(5)
    x = 0.5 * x
    without = weighted_ssim(x, x + 0.25, weight)
    assert np.max(without.dissimilarity) < 1e-3
    assert np.min(weighted_ssim(x, x + 0.25, weight, c1=1e-4)[0]) > 0.01


def test_constant_images_have_finite_gradients_and_are_similar_up_to_brightness():
    levels = np.array([0.0, 0.3, 1.0], np.float32)[:, None, None, None]
    x = jnp.asarray(np.broadcast_to(levels, (3, 5, 6, 2)))
    y = jnp.full((3, 5, 6, 2), 0.6)
    weight = jnp.zeros((3, 5, 6))

    def loss(x, y, weight):
        windows = weighted_ssim(x, y, weight).dissimilarity
        return jnp.sum(windows) + jnp.sum(dissimilarity(x, y)), windows

    evaluate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    (value, windows), gradients = evaluate(x, y, weight)
    assert np.isfinite(value)
    assert np.max(windows) < 0.02
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_gradients_agree_with_finite_differences(check_gradient):
    def loss(x, y, weight):
        windows, average = weighted_ssim(x, y, weight)
        weighted = windows * average[..., None]
        return jnp.sum(weighted) + jnp.sum(dissimilarity(x, y))

    check_gradient(loss, *images(6, (1, 4, 5, 2)))


def test_leading_axes_are_independent_images():
    x, y, weight = images(7)
    once = weighted_ssim(x, y, weight)
    single = weighted_ssim(x[1], y[1], weight[1])
    mapped = jax.jit(jax.vmap(ssim.weighted_ssim))(x, y, weight)
    for whole, part, same in zip(once, single, mapped, strict=True):
        np.testing.assert_allclose(whole[1], part, atol=1e-6)
        np.testing.assert_allclose(whole, same, atol=1e-6)


def test_bad_input_is_named():
    x, y, weight = images(8)
    with pytest.raises(ValueError, match="at least 3x3"):
        weighted_ssim(x[:, :2], y[:, :2], weight[:, :2])
    refused = ValueError, jaxtyping.TypeCheckError
    with pytest.raises(refused, match="y"):
        dissimilarity(x, y[:, 1:])
    with pytest.raises(refused, match="weight"):
        weighted_ssim(x, y, weight[..., None])
    with pytest.raises(ValueError, match="both infinite"):
        weighted_ssim(x, y, weight, c2=np.inf)
