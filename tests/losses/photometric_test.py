import jax
import jaxtyping
import numpy as np
import pytest

from mdm_jax.losses import photometric, ssim

# Compiled: on values this small, one compilation costs less than one per operation.
masked_l1 = jax.jit(photometric.masked_l1)
weighted_ssim_loss = jax.jit(photometric.weighted_ssim_loss)


def images(seed, shape=(2, 5, 7, 3)):
    rng = np.random.default_rng(seed)
    target, warped = rng.uniform(0, 1, (2, *shape)).astype(np.float32)
    mask = rng.uniform(size=shape[:-1]) < 0.6
    weight = rng.uniform(0, 1, shape[:-1]).astype(np.float32)
    return target, warped, mask, weight


def test_masked_l1_agrees_with_loop_over_all_pixels():
    target, warped, mask, _ = images(0)
    total = 0.0
    for index in np.ndindex(*mask.shape):
        if mask[index]:
            total += np.abs(target[index] - warped[index]).sum(dtype=np.float64)
    got = masked_l1(target, warped, mask)
    assert got == pytest.approx(total / target.size, rel=1e-5)


def test_perfect_reconstruction_costs_nothing_with_zero_gradient():
    target, _, mask, weight = images(1)

    def loss(warped):
        return masked_l1(target, warped, mask) + weighted_ssim_loss(
            target, warped, weight
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(target)
    assert value == 0
    assert not np.any(gradient)


def test_empty_masks_and_zero_weights_give_exactly_zero_gradient():
    target, warped, mask, weight = images(2)

    def loss(warped):
        return masked_l1(target, warped, np.zeros_like(mask)) + weighted_ssim_loss(
            target, warped, np.zeros_like(weight)
        )

    value, gradient = jax.jit(jax.value_and_grad(loss))(warped)
    assert value == 0
    assert not np.any(gradient)


def test_non_finite_pixels_outside_the_mask_do_not_matter():
    target, warped, mask, _ = images(3)
    broken = np.where(mask[..., None], warped, np.nan)
    loss = jax.jit(jax.value_and_grad(photometric.masked_l1, argnums=1))
    value, gradient = loss(target, warped, mask)
    broken_value, broken_gradient = loss(target, broken, mask)
    assert value == broken_value
    np.testing.assert_array_equal(gradient, broken_gradient)


def test_a_soft_mask_is_refused():
    target, warped, _, weight = images(4)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match="mask"):
        masked_l1(target, warped, weight)


def test_weighted_ssim_loss_is_the_weighted_mean_of_windows():
    target, warped, _, weight = images(5)
    windows, average = jax.jit(ssim.weighted_ssim)(target, warped, weight)
    total = 0.0
    for index in np.ndindex(*windows.shape):
        total += float(windows[index]) * float(average[index[:-1]])
    got = weighted_ssim_loss(target, warped, weight)
    assert got == pytest.approx(total / windows.size, rel=1e-5)


def test_ssim_weight_carries_no_gradient():
    target, warped, _, weight = images(6)
    gradient = jax.jit(jax.grad(photometric.weighted_ssim_loss, argnums=2))(
        target, warped, weight
    )
    assert not np.any(gradient)


def test_gradients_agree_with_finite_differences(check_gradient):
    target, warped, mask, weight = images(7, (1, 4, 5, 2))

    def loss(target, warped):
        return masked_l1(target, warped, mask) + weighted_ssim_loss(
            target, warped, np.float64(weight)
        )

    check_gradient(loss, target, warped)
