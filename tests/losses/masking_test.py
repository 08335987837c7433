import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.losses import masking

# Compiled: on values this small, one compilation costs less than one per operation.
in_front = jax.jit(masking.in_front)
proximity_weight = jax.jit(masking.proximity_weight)
movable_mask = jax.jit(masking.movable_mask, static_argnames="dilation")
zero_outside = jax.jit(masking.zero_outside)


def depths(seed, shape=(2, 5, 7)):
    rng = np.random.default_rng(seed)
    projected, sampled = rng.uniform(1, 3, (2, *shape)).astype(np.float32)
    return rng.uniform(size=shape) < 0.7, projected, sampled


def test_of_two_pixels_that_meet_only_the_nearer_one_counts():
    valid, projected, sampled = depths(0)
    front = in_front(valid, projected, sampled)
    assert front.dtype == bool
    np.testing.assert_array_equal(front, valid & (projected < sampled))
    back = in_front(valid, sampled, projected)
    np.testing.assert_array_equal(front ^ back, valid)


def test_equal_depth_does_not_count():
    valid, projected, _ = depths(1)
    assert not np.any(in_front(valid, projected, projected))


def test_non_finite_depth_does_not_count():
    valid = np.ones((1, 1, 3), bool)
    bad = np.array([[[np.nan, np.inf, 2.0]]], np.float32)
    front = in_front(valid, bad, np.full_like(bad, 3))
    np.testing.assert_array_equal(front, [[[False, False, True]]])


def test_proximity_weight_agrees_with_loop():
    valid, projected, sampled = depths(2)
    got = proximity_weight(valid, projected, sampled)
    for b in range(len(valid)):
        total, count = 0.0, 0
        for p in np.ndindex(*valid.shape[1:]):
            if valid[b][p] and projected[b][p] < sampled[b][p]:
                total += float(sampled[b][p] - projected[b][p]) ** 2
                count += 1
        s2 = total / (count + 1) + 1e-4
        for p in np.ndindex(*valid.shape[1:]):
            error = float(sampled[b][p] - projected[b][p]) ** 2
            want = s2 / (s2 + error) if valid[b][p] else 0.0
            assert got[b][p] == pytest.approx(want, rel=1e-4)


def test_proximity_weight_is_one_where_depths_agree_and_zero_where_invalid():
    valid, projected, _ = depths(3)
    weight = proximity_weight(valid, projected, projected)
    np.testing.assert_array_equal(weight, valid.astype(np.float32))


def test_proximity_weight_survives_non_finite_depth_and_empty_images():
    valid, projected, sampled = depths(4)
    want = proximity_weight(valid, projected, sampled)
    broken = np.where(valid, sampled, np.inf).astype(np.float32)
    got = proximity_weight(valid, projected, broken)
    np.testing.assert_array_equal(got, want)
    nothing = proximity_weight(np.zeros_like(valid), projected, sampled)
    assert not np.any(nothing)


def test_proximity_weight_carries_no_gradient():
    valid, projected, sampled = depths(5)

    def total(projected, sampled):
        return jnp.sum(proximity_weight(valid, projected, sampled))

    gradients = jax.grad(total, argnums=(0, 1))(projected, sampled)
    assert not any(np.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("dilation", [0, 1, 2, 3, 8])
def test_movable_mask_agrees_with_loop(dilation):
    rng = np.random.default_rng(6)
    labels = (rng.uniform(size=(2, 9, 13)) < 0.03) * np.uint8(200)
    assert labels.any()
    want = np.zeros(labels.shape, bool)
    for b, i, j in np.argwhere(labels):
        top, left = max(i - dilation, 0), max(j - dilation, 0)
        want[b, top : i + dilation + 1, left : j + dilation + 1] = True
    got = movable_mask(labels.astype(np.uint8), dilation=dilation)
    assert got.dtype == bool
    np.testing.assert_array_equal(got, want)


def test_nothing_movable_stays_nothing():
    assert not np.any(movable_mask(np.zeros((1, 4, 6), np.uint8)))


def test_negative_dilation_is_refused():
    with pytest.raises(ValueError, match="dilation"):
        movable_mask(np.zeros((1, 4, 6), np.uint8), dilation=-1)


def test_zero_outside_blocks_values_and_gradients():
    mask = np.array([True, False])
    values = jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf]])
    kept = zero_outside(mask, values)
    np.testing.assert_array_equal(kept, [[1, 2], [0, 0]])
    gradient = jax.grad(lambda v: jnp.sum(zero_outside(mask, v) ** 2))(values)
    np.testing.assert_array_equal(gradient, [[2, 4], [0, 0]])
