from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util
from jax.sharding import NamedSharding, PartitionSpec

from mdm_jax.geometry import splatting

SIZE = H, W = 5, 7
N = 150
BETA = 1.5
MODES = {
    "nearest": lambda pixels, depth: splatting.nearest(pixels, depth, SIZE),
    "soft": lambda pixels, depth: splatting.soft(pixels, depth, SIZE, beta=BETA),
}
nearest, soft = jax.jit(MODES["nearest"]), jax.jit(MODES["soft"])


@jax.jit
def _soft(pixels, depth, beta):
    return splatting.soft(pixels, depth, SIZE, beta=beta)


def _points(*shape: int, margin: float = 2.0, seed: int = 0):
    """Points up to `margin` pixels outside the image, several per pixel inside."""
    random = np.random.default_rng(seed)
    unit = random.uniform(size=(*(shape or (N,)), 2))
    extent = np.array([W - 1, H - 1])
    pixels = unit * (extent + 2 * margin) - margin
    depth = random.uniform(1.0, 5.0, shape or (N,))
    return pixels.astype(np.float32), depth.astype(np.float32)


def _spoil(pixels, depth):
    """Replaces some points by such as have to be dropped; returns which remain."""
    spoilt_pixels = [(np.nan, 2), (3, np.inf), (-np.inf, 1), (1e30, 2), (2, -1e30)]
    spoilt_depths = [0.0, -1.0, np.nan, np.inf, -np.inf]
    pixels[: len(spoilt_pixels)] = spoilt_pixels
    first = len(spoilt_pixels)
    depth[first : first + len(spoilt_depths)] = spoilt_depths
    return np.arange(len(depth)) >= first + len(spoilt_depths)


def test_nearest_agrees_with_a_slow_loop():
    pixels, depth = _points()
    remaining = _spoil(pixels, depth)
    splatted = nearest(pixels, depth)
    expected, seen = np.zeros(SIZE, np.float32), np.full(SIZE, -1)
    for index in np.flatnonzero(remaining):
        x, y = np.floor(pixels[index] + 0.5).astype(int)
        if not (0 <= x < W and 0 <= y < H):
            continue
        if seen[y, x] < 0 or depth[index] < expected[y, x]:
            expected[y, x], seen[y, x] = depth[index], index
    assert 0.5 < (seen >= 0).mean() < 1  # Hidden points and holes both occur.
    np.testing.assert_array_equal(splatted.depth, expected)
    np.testing.assert_array_equal(splatted.covered, seen >= 0)
    np.testing.assert_array_equal(splatted.point, np.maximum(seen, 0))


def test_soft_agrees_with_a_slow_loop():
    pixels, depth = _points(60)
    remaining = _spoil(pixels, depth)
    splatted = soft(pixels, depth)
    for y, x in np.ndindex(H, W):
        coverage = weights = total = 0.0
        for (u, v), z in zip(pixels[remaining], depth[remaining].astype(float)):
            bilinear = max(0, 1 - abs(u - x)) * max(0, 1 - abs(v - y))
            coverage += bilinear
            weights += bilinear * np.exp(-BETA * z)
            total += bilinear * np.exp(-BETA * z) * z
        assert splatted.covered[y, x] == (coverage >= 0.25)
        expected = total / weights if coverage >= 0.25 else 0.0
        np.testing.assert_allclose(splatted.depth[y, x], expected, rtol=1e-5)
    assert 0.5 < np.mean(splatted.covered) < 1


def test_soft_covers_whatever_nearest_covers():
    for seed in range(5):
        points = _points(seed=seed)
        assert np.all(soft(*points).covered | ~nearest(*points).covered)


def test_soft_becomes_nearest_where_near_hides_far_entirely():
    pixels, depth = _points(margin=0.0)
    pixels = np.round(pixels)
    hard = _soft(pixels, depth, beta=1e4)
    expected = nearest(pixels, depth)
    np.testing.assert_array_equal(hard.covered, expected.covered)
    np.testing.assert_allclose(hard.depth, expected.depth, rtol=1e-5)


def test_soft_sees_what_is_far_away():
    # exp(-beta z) itself is 0 in float32.
    pixels = np.array([[2.0, 1.0], [2.0, 1.0]], np.float32)
    depth = np.array([1000.0, 1001.0], np.float32)
    splatted = _soft(pixels, depth, beta=1.0)
    expected = 1000 + np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(splatted.depth[1, 2], expected, rtol=1e-6)
    # The near point, which does not touch the pixel, does not hide the far one.
    pixels = np.array([[2.0, 1.0], [3.0, 1.0]], np.float32)
    depth = np.array([1000.0, 1.0], np.float32)
    splatted = _soft(pixels, depth, beta=1.0)
    np.testing.assert_allclose(splatted.depth[1, 2:4], [1000, 1], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_agree_with_finite_differences(mode):
    pixels, depth = _points()

    @jax.jit
    def values(pixels, depth):
        return MODES[mode](pixels, depth).depth

    with jax.enable_x64(True):
        arguments = pixels.astype(float), depth.astype(float)
        assert values(*arguments).dtype == np.float64
        test_util.check_grads(values, arguments, order=1, modes=("fwd", "rev"))


def test_only_the_point_seen_has_a_gradient():
    pixels, depth = _points(margin=0.0)
    gradient = jax.grad(lambda z: jnp.sum(nearest(pixels, z).depth))(depth)
    splatted = nearest(pixels, depth)
    expected = np.zeros(N)
    expected[np.asarray(splatted.point)[np.asarray(splatted.covered)]] = 1
    assert 0 < expected.sum() < N
    np.testing.assert_array_equal(gradient, expected)


def test_every_point_that_contributes_has_a_gradient_in_soft_mode():
    pixels, depth = _points(margin=0.0)
    gradient = jax.grad(lambda z: jnp.sum(jnp.square(soft(pixels, z).depth)))(depth)
    assert np.all(np.asarray(gradient) != 0)


def test_of_equally_near_points_the_first_has_the_whole_gradient():
    pixels = np.array([[2.4, 1.0], [1.6, 0.7], [2.0, 1.2]], np.float32)
    depth = np.full(3, 2.0, np.float32)
    gradient = jax.grad(lambda z: jnp.sum(nearest(pixels, z).depth))(depth)
    assert gradient.tolist() == [1, 0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_dropped_points_have_finite_values_and_no_gradient(mode):
    pixels, depth = _points(margin=0.0)
    remaining = _spoil(pixels, depth)

    def loss(pixels, depth):
        splatted = MODES[mode](pixels, depth)
        return jnp.sum(jnp.square(splatted.depth)), splatted

    gradients, splatted = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(pixels, depth)
    assert np.all(np.isfinite(splatted.depth))
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))
        np.testing.assert_array_equal(np.asarray(gradient)[~remaining], 0)


@pytest.mark.parametrize("mode", MODES)
def test_no_points_leave_nothing_but_holes(mode):
    pixels, depth = _points()
    splatted = jax.jit(MODES[mode])(pixels, -depth)
    assert not np.any(splatted.covered)
    np.testing.assert_array_equal(splatted.depth, 0)


def test_one_scatter_is_enough_where_no_gradient_is_asked_for():
    def depth_only(pixels, depth):
        splatted = splatting.nearest(pixels, depth, SIZE)
        return splatted.depth, splatted.covered

    compiled = jax.jit(depth_only).lower(*_points()).compile().as_text()
    assert compiled.count(" scatter(") == 1


@pytest.mark.parametrize("mode", MODES)
def test_mapped_over_devices_it_equals_each_image_alone_and_nothing_is_exchanged(mode):
    def value_and_gradients(pixels, depth):
        splatted, vjp = jax.vjp(
            lambda *points: jax.vmap(MODES[mode])(*points).depth, pixels, depth
        )
        return splatted, vjp(jnp.cos(splatted))

    devices = jax.device_count()
    assert devices > 1
    pixels, depth = _points(devices, N)
    mesh = jax.make_mesh((devices,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    sharded = jax.device_put((pixels, depth), sharding)
    step = jax.jit(value_and_gradients, out_shardings=sharding)
    compiled = step.lower(*sharded).compile().as_text()
    for collective in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert collective not in compiled
    together = step(*sharded)
    alone = jax.jit(value_and_gradients)
    for index in range(devices):
        one = alone(pixels[index : index + 1], depth[index : index + 1])
        for many, single in zip(jax.tree.leaves(together), jax.tree.leaves(one)):
            np.testing.assert_allclose(many[index], single[0], rtol=1e-3, atol=1e-4)


def test_a_batch_on_a_cpu_alone_gives_the_same(monkeypatch):
    def value_and_gradient(pixels, depth):
        def total(depth):
            splatted = jax.vmap(jax.vmap(MODES["nearest"]))(pixels, depth)
            return jnp.sum(jnp.cos(splatted.depth)), (splatted.depth, splatted.point)

        return jax.value_and_grad(total, has_aux=True)(depth)

    pixels, depth = _points(2, 3, N)
    together = jax.jit(value_and_gradient)(pixels, depth)
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    in_turn = jax.jit(lambda *points: value_and_gradient(*points))
    # Depth and point, each over both axes.
    assert in_turn.lower(pixels, depth).as_text().count("stablehlo.while") == 4
    jax.tree.map(np.testing.assert_array_equal, in_turn(pixels, depth), together)
    # One program for every kind of device.
    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(in_turn, platforms=platforms)(pixels, depth)
    assert exported.platforms == platforms
