from __future__ import annotations

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.geometry import intrinsics

K = intrinsics.matrix(20.0, 18.0, 6.3, 4.1)
SIZE = (9, 14)


def _project(K: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y, z = K @ point
    return np.array([x / z, y / z])


def test_matrix_holds_its_arguments():
    expected = [[20.0, 0.0, 6.3], [0.0, 18.0, 4.1], [0.0, 0.0, 1.0]]
    np.testing.assert_array_equal(K, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_stays_numpy_in_its_own_precision(dtype):
    changed = intrinsics.resize(K.astype(dtype), from_size=SIZE, to_size=(5, 7))
    changed = intrinsics.crop(changed, x0=2, y0=1)
    changed = intrinsics.flip_horizontal(changed, width=7)
    assert isinstance(changed, np.ndarray)
    assert changed.dtype == dtype


def test_jax_and_numpy_agree_also_under_jit_and_for_a_batch():
    def change(K):
        K = intrinsics.resize(K, from_size=SIZE, to_size=(5, 7))
        return intrinsics.flip_horizontal(intrinsics.crop(K, x0=2, y0=1), width=5)

    batch = np.stack([K, 2 * K]).astype(np.float32)
    on_device = jax.jit(change)(batch)
    assert isinstance(on_device, jax.Array)
    np.testing.assert_allclose(on_device, change(batch), rtol=1e-6)
    np.testing.assert_allclose(change(batch)[0], change(K), rtol=1e-6)


def test_resizing_there_and_back_changes_nothing():
    small = intrinsics.resize(K, from_size=SIZE, to_size=(5, 11))
    back = intrinsics.resize(small, from_size=(5, 11), to_size=SIZE)
    np.testing.assert_allclose(back, K)


def test_resizing_in_two_steps_is_resizing_once():
    halfway = intrinsics.resize(K, from_size=SIZE, to_size=(6, 6))
    twice = intrinsics.resize(halfway, from_size=(6, 6), to_size=(3, 5))
    np.testing.assert_allclose(
        twice, intrinsics.resize(K, from_size=SIZE, to_size=(3, 5))
    )


def test_resized_intrinsics_project_by_the_half_pixel_rule():
    point = np.array([0.3, -0.2, 2.0])
    resized = intrinsics.resize(K, from_size=SIZE, to_size=(27, 7))
    scale = np.array([7 / 14, 27 / 9])
    expected = scale * (_project(K, point) + 0.5) - 0.5
    np.testing.assert_allclose(_project(resized, point), expected)


def test_cropped_intrinsics_project_relative_to_the_crop():
    point = np.array([0.3, -0.2, 2.0])
    cropped = intrinsics.crop(K, x0=3, y0=1)
    np.testing.assert_allclose(_project(cropped, point), _project(K, point) - [3, 1])


def test_flipped_intrinsics_project_the_mirrored_world_to_the_mirrored_pixel():
    x, y = _project(K, np.array([0.3, -0.2, 2.0]))
    flipped = intrinsics.flip_horizontal(K, width=14)
    np.testing.assert_allclose(
        _project(flipped, np.array([-0.3, -0.2, 2.0])), [13 - x, y]
    )


def test_flipping_twice_changes_nothing():
    once = intrinsics.flip_horizontal(K, width=14)
    np.testing.assert_allclose(intrinsics.flip_horizontal(once, width=14), K)


def test_resizing_then_flipping_is_flipping_then_resizing():
    flipped = intrinsics.flip_horizontal(K, width=14)
    one = intrinsics.resize(flipped, from_size=SIZE, to_size=(5, 6))
    resized = intrinsics.resize(K, from_size=SIZE, to_size=(5, 6))
    np.testing.assert_allclose(one, intrinsics.flip_horizontal(resized, width=6))


def test_field_of_view_spans_the_borders_of_the_image():
    fov = intrinsics.from_fov(60.0, SIZE)
    for border, degrees in ((-0.5, -30), (13.5, 30)):
        slope = (border - fov[0, 2]) / fov[0, 0]
        np.testing.assert_allclose(np.rad2deg(np.arctan(slope)), degrees)
    assert fov[0, 0] == fov[1, 1]
    assert fov[1, 2] == 4.0
    intrinsics.validate(fov, size=SIZE)


def test_valid_intrinsics_pass():
    intrinsics.validate(np.stack([K, K]), size=SIZE)
    intrinsics.validate(jnp.asarray(K), size=SIZE)
    kitti = intrinsics.matrix(721.5377, 721.5377, 609.5593, 172.854)
    intrinsics.validate(kitti, size=(375, 1242))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (intrinsics.matrix(0.58, 1.92, 0.5, 0.5), "did you pass normalised K"),
        (np.stack([K, np.diag([3, 3, 1]) @ K]), "another resolution"),
        (intrinsics.matrix(40.0, 36.0, 13.1, 8.7), "9x14 image.*another resolution"),
        (intrinsics.matrix(-20.0, 18.0, 6.3, 4.1), "positive focal lengths"),
        (intrinsics.matrix(20.0, np.nan, 6.3, 4.1), "finite"),
        (K.T, "transpose K"),
        (K[:2], r"shape \[... 3 3\], got \[2, 3\]"),
    ],
)
def test_intrinsics_that_cannot_be_of_the_image_are_an_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(intrinsics.validate)(wrong, size=SIZE)
