import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import motion_regularizers

# Compiled: on values this small, one compilation costs less than one per operation.
normalize = jax.jit(motion_regularizers.normalize)
group_smoothness = jax.jit(motion_regularizers.group_smoothness, static_argnames="wrap")
sparsity = jax.jit(motion_regularizers.sparsity)


def field(seed, shape=(2, 5, 7, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_normalize_agrees_with_formula_per_image():
    residual, total = field(0), field(1)
    got = normalize(residual, total)
    for n in range(len(residual)):
        scale = np.sqrt((np.float64(total[n]) ** 2).sum(-1).mean())
        np.testing.assert_allclose(got[n], residual[n] / scale, rtol=1e-5)


def test_normalized_residual_does_not_depend_on_the_scale_of_the_scene():
    residual, total = field(2), field(3)
    want = normalize(residual, total)
    scale = np.array([1e-3, 1e3], np.float32)[:, None, None, None]
    got = normalize(scale * residual, scale * total)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def slow_smoothness(field, wrap):
    n, h, w, _ = field.shape
    first = 0 if wrap else 1
    values = [
        np.hypot(
            field[b, i, j, k] - field[b, i, j - 1, k],
            field[b, i, j, k] - field[b, i - 1, j, k],
        )
        for b in range(n)
        for i in range(first, h)
        for j in range(first, w)
        for k in range(3)
    ]
    return np.mean(values, dtype=np.float64)


@pytest.mark.parametrize("wrap", [False, True])
def test_group_smoothness_agrees_with_loop(wrap):
    values = field(4)
    got = group_smoothness(values, wrap=wrap)
    assert got == pytest.approx(slow_smoothness(values, wrap), rel=1e-5)


def test_sparsity_agrees_with_loop():
    values = field(5)
    values[0, :3] = 0
    terms = []
    for b in range(len(values)):
        for k in range(3):
            length = np.abs(np.float64(values[b, ..., k]))
            mean = length.mean()
            terms += [2 * mean * np.sqrt(1 + x / mean) for x in length.ravel()]
    got = sparsity(values)
    assert got == pytest.approx(np.mean(terms), rel=1e-5)


@pytest.mark.parametrize("wrap", [False, True])
def test_constant_field_is_smooth_with_exactly_zero_gradient(wrap):
    values = jnp.broadcast_to(jnp.array([0.3, -2.0, 0.0]), (2, 5, 7, 3))
    loss = functools.partial(motion_regularizers.group_smoothness, wrap=wrap)
    value, gradient = jax.jit(jax.value_and_grad(loss))(values)
    assert value == 0
    assert not np.any(gradient)


def test_only_wrapping_sees_a_step_between_opposite_borders():
    values = np.zeros((1, 4, 6, 3), np.float32)
    values[:, :, :3] = 1
    open_border = group_smoothness(values) * (3 * 5 * 3)
    closed = group_smoothness(values, wrap=True) * (4 * 6 * 3)
    assert open_border == pytest.approx(3 * 3)
    assert closed == pytest.approx(2 * 4 * 3)


def test_group_smoothness_does_not_punish_a_jump_more_than_a_ramp():
    ramp = np.broadcast_to(
        np.linspace(0, 1, 9, dtype=np.float32)[None, None, :, None], (1, 4, 9, 3)
    )
    jump = (ramp > 0.5).astype(np.float32)
    assert group_smoothness(jump) == pytest.approx(
        float(group_smoothness(ramp)), rel=1e-5
    )


@pytest.mark.parametrize("loss", [sparsity, group_smoothness])
def test_losses_scale_linearly_with_the_field(loss):
    values = field(6)
    want = float(loss(values))
    for scale in (np.float32(1e-4), np.float32(1e4)):
        assert loss(scale * values) == pytest.approx(scale * want, rel=1e-5)


def test_sparsity_prefers_few_large_values_over_many_small():
    # The same L1 norm spread over 1, 8 and all of 64 pixels.
    costs = []
    for count in (1, 8, 64):
        values = np.zeros(64 * 3, np.float32).reshape(1, 8, 8, 3)
        values.reshape(64, 3)[:count] = 64 / count
        costs.append(float(sparsity(values)))
    assert costs[0] < costs[1] < costs[2]


def test_sparsity_pulls_like_l1_below_the_mean_and_weaker_above():
    values = np.zeros((1, 30, 40, 3), np.float32)
    values[0, 0, 0], values[0, 0, 1], values[0, 1:] = 1e-4, 1e4, 1.0
    gradient = (
        1200 * 3 * jax.jit(jax.grad(motion_regularizers.sparsity))(values)[0, :2, :2, 0]
    )
    mean = values[..., 0].mean(dtype=np.float64)
    assert gradient[0, 0] == pytest.approx(1.0, rel=1e-3)
    assert gradient[1, 0] == pytest.approx((1 + 1 / mean) ** -0.5, rel=1e-4)
    assert gradient[0, 1] == pytest.approx((1 + 1e4 / mean) ** -0.5, rel=1e-4)


def test_zero_residual_has_exactly_zero_gradient():
    total = jnp.asarray(field(7))

    def loss(residual, total):
        values = normalize(residual, total)
        return (
            group_smoothness(values)
            + group_smoothness(values, wrap=True)
            + sparsity(values)
        )

    evaluate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    for total_field in (total, jnp.zeros_like(total)):
        value, gradients = evaluate(jnp.zeros_like(total), total_field)
        assert value == 0
        assert not any(np.any(gradient) for gradient in gradients)


def test_masked_out_pixels_feel_no_sparsity():
    values = field(8)
    values[:, :2] = 0
    gradient = jax.jit(jax.grad(motion_regularizers.sparsity))(values)
    assert not np.any(gradient[:, :2])
    assert np.all(gradient[:, 2:] != 0)


def test_residual_that_cancels_egomotion_everywhere_stays_finite():
    residual = jnp.asarray(field(9))

    def loss(residual, egomotion):
        values = normalize(residual, residual + egomotion)
        return group_smoothness(values)

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(residual, -residual)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_the_mean_inside_sparsity_carries_no_gradient():
    # With m constant, each pixel's gradient is sign / sqrt(1 + |T| / m) / count. With
    # a moving m, the loss's degree one would make <gradient, field> the loss itself.
    values = field(10)
    gradient = jax.jit(jax.grad(motion_regularizers.sparsity))(jnp.asarray(values))
    mean = np.abs(values).mean(axis=(1, 2), keepdims=True)
    want = np.sign(values) / np.sqrt(1 + np.abs(values) / mean) / values.size
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


def test_gradients_agree_with_finite_differences(check_gradient):
    def loss(residual, total):
        values = normalize(residual, total)
        return group_smoothness(values) + 2 * group_smoothness(values, wrap=True)

    check_gradient(loss, field(11, (2, 3, 4, 3)), field(12, (2, 3, 4, 3)))


def test_a_single_row_is_refused():
    with pytest.raises(ValueError, match="at least 2x2"):
        group_smoothness(field(13)[:, :1])
