import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import depth_priors

# Compiled: on values this small, one compilation costs less than one per operation.
depth_variance = jax.jit(depth_priors.depth_variance)
sparse_depth_l1 = jax.jit(depth_priors.sparse_depth_l1)
log_scale_pin = jax.jit(depth_priors.log_scale_pin)


def depth_map(seed, shape=(2, 5, 7)):
    return np.random.default_rng(seed).uniform(1, 4, shape).astype(np.float32)


def sparse(seed, shape=(2, 5, 7)):
    truth = depth_map(seed, shape)
    truth[np.random.default_rng(seed).uniform(size=shape) < 0.6] = 0
    return truth


def test_depth_variance_agrees_with_loop_over_images():
    depth = depth_map(0)
    want = np.mean([1 / np.mean((d / d.mean() - 1) ** 2) for d in np.float64(depth)])
    assert depth_variance(depth) == pytest.approx(want, rel=1e-4)


def test_depth_variance_does_not_depend_on_scale():
    depth = depth_map(1)
    want = float(depth_variance(depth))
    assert depth_variance(100 * depth) == pytest.approx(want, rel=1e-4)


def test_depth_variance_of_a_constant_is_large_with_zero_gradient():
    loss = jax.jit(jax.value_and_grad(depth_priors.depth_variance))
    value, gradient = loss(jnp.full((1, 4, 5), 2.0))
    assert value == pytest.approx(1e6)
    assert not np.any(gradient)


def test_sparse_depth_agrees_with_loop_over_known_pixels():
    depth, truth = depth_map(2), sparse(3)
    errors = [abs(np.log(float(depth[p]) / truth[p])) for p in zip(*np.nonzero(truth))]
    got = sparse_depth_l1(depth, truth)
    assert got == pytest.approx(np.mean(errors), rel=1e-5)


def test_sparse_depth_error_is_the_log_of_a_common_factor():
    truth = sparse(4)
    depth = np.where(truth > 0, 3 * truth, 1.0).astype(np.float32)
    for prediction in (depth, depth / 9):
        got = sparse_depth_l1(prediction, truth)
        assert got == pytest.approx(np.log(3), rel=1e-5)


def test_unknown_depth_and_perfect_depth_give_exactly_zero_gradient():
    depth = jnp.asarray(depth_map(5))
    loss = jax.jit(jax.value_and_grad(depth_priors.sparse_depth_l1))
    for truth in (
        jnp.zeros_like(depth),
        jnp.full_like(depth, jnp.nan),
        jnp.full_like(depth, jnp.inf),
        -depth,
        depth,
    ):
        value, gradient = loss(depth, truth)
        assert value == 0
        assert not np.any(gradient)


def test_only_known_pixels_feel_sparse_depth():
    depth, truth = depth_map(6), sparse(7)
    gradient = jax.jit(jax.grad(depth_priors.sparse_depth_l1))(depth, truth)
    np.testing.assert_array_equal(gradient != 0, truth > 0)


def test_scale_pin_vanishes_at_the_target_geometric_mean():
    depth = depth_map(8)
    target = np.log(np.float64(depth)).mean()
    assert log_scale_pin(depth, target) < 1e-10
    twice = log_scale_pin(2 * depth, target)
    assert twice == pytest.approx(np.log(2) ** 2, rel=1e-4)


def test_scale_pin_leaves_ratios_of_depth_alone():
    depth = depth_map(9)

    def loss(log_depth):
        return log_scale_pin(jnp.exp(log_depth), 0.0)

    gradient = jax.jit(jax.grad(loss))(np.log(depth))
    np.testing.assert_allclose(gradient, np.mean(gradient), rtol=1e-5)


def test_depth_of_exactly_zero_gives_finite_gradients():
    depth = depth_map(10)
    depth[0, 1, 2] = 0
    truth = depth_map(11)

    def loss(depth):
        return (
            depth_variance(depth)
            + sparse_depth_l1(depth, truth)
            + log_scale_pin(depth, 1.0)
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(depth)
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))


def test_gradients_agree_with_finite_differences(check_gradient):
    truth = sparse(13, (2, 3, 4))

    def loss(depth):
        return (
            depth_variance(depth)
            + sparse_depth_l1(depth, truth)
            + log_scale_pin(depth, 0.5)
        )

    check_gradient(loss, depth_map(12, (2, 3, 4)))
