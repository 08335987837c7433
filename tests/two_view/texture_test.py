"""Tests of texture: found where there is some, in every direction."""

import numpy as np

from mdm_jax.two_view import texture


def test_noise_is_textured_and_a_bland_half_is_not():
    image = np.full((30, 60, 3), 90, np.uint8)
    noise = np.random.default_rng(0).integers(0, 60, (30, 30, 1))
    image[:, :30] += noise.astype(np.uint8)
    textured = texture.textured(image)
    assert textured[:, :30].all()
    assert not textured[:, 36:].any()


def test_a_slope_counts_by_its_gradient_in_any_direction():
    for axis in (0, 1):
        slope = np.indices((40, 40))[axis][..., None]
        for step, expected in ((2, True), (0.5, False)):
            image = np.repeat(slope * step, 3, axis=-1).astype(np.uint8)
            inside = texture.textured(image, min_gradient=1.2)[8:-8, 8:-8]
            assert inside.all() == expected
