import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import smoothness

# Compiled: on values this small, one compilation costs less than one per operation.
edge_aware_disparity = jax.jit(smoothness.edge_aware_disparity)


def scene(seed, shape=(2, 5, 7)):
    rng = np.random.default_rng(seed)
    depth = rng.uniform(1, 4, shape).astype(np.float32)
    return depth, rng.uniform(0, 1, (*shape, 3)).astype(np.float32)


def slow_smoothness(depth, image):
    n, h, w = depth.shape
    values = []
    for b in range(n):
        d = 1 / np.float64(depth[b])
        d /= d.mean()
        horizontal = [
            abs(d[i, j + 1] - d[i, j])
            * np.exp(-np.abs(image[b, i, j + 1] - image[b, i, j]).mean())
            for i in range(h)
            for j in range(w - 1)
        ]
        vertical = [
            abs(d[i + 1, j] - d[i, j])
            * np.exp(-np.abs(image[b, i + 1, j] - image[b, i, j]).mean())
            for i in range(h - 1)
            for j in range(w)
        ]
        values.append(np.mean(horizontal) + np.mean(vertical))
    return np.mean(values)


def test_agrees_with_loop():
    depth, image = scene(0)
    got = edge_aware_disparity(depth, image)
    assert got == pytest.approx(slow_smoothness(depth, image), rel=1e-5)


def test_constant_depth_costs_nothing_with_exactly_zero_gradient():
    _, image = scene(1)
    loss = jax.jit(jax.value_and_grad(smoothness.edge_aware_disparity))
    value, gradient = loss(jnp.full((2, 5, 7), 3.0), image)
    assert value == 0
    assert not np.any(gradient)


def test_does_not_depend_on_the_scale_of_depth():
    depth, image = scene(2)
    scale = np.array([0.01, 50.0], np.float32)[:, None, None]
    got = edge_aware_disparity(scale * depth, image)
    want = float(edge_aware_disparity(depth, image))
    assert got == pytest.approx(want, rel=1e-5)


def test_depth_edges_cost_less_at_image_edges():
    depth = np.ones((1, 4, 6), np.float32)
    depth[..., 3:] = 5
    plain = np.zeros((1, 4, 6, 3), np.float32)
    edge = plain.copy()
    edge[..., 3:, :] = 1
    at_edge = edge_aware_disparity(depth, edge)
    elsewhere = edge_aware_disparity(depth, plain)
    assert at_edge == pytest.approx(float(elsewhere) * np.exp(-1), rel=1e-5)


def test_flipping_everything_changes_nothing():
    depth, image = scene(3)
    got = edge_aware_disparity(depth[..., ::-1], image[..., ::-1, :])
    want = float(edge_aware_disparity(depth, image))
    assert got == pytest.approx(want, rel=1e-5)


def test_gradients_agree_with_finite_differences(check_gradient):
    check_gradient(smoothness.edge_aware_disparity, *scene(4, (1, 4, 5)))


def test_a_single_row_is_refused():
    depth, image = scene(5)
    with pytest.raises(ValueError, match="at least 2x2"):
        edge_aware_disparity(depth[:, :1], image[:, :1])
