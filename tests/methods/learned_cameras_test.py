"""Learned intrinsics: crops and flips that a net cannot see do not bias them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mdm_jax.input_pipeline import augment
from mdm_jax.methods import learned_cameras
from mdm_jax.structs import Batch

H, W = 24, 40
TRUE = np.array([[50.0, 0, 17.0], [0, 45.0, 13.0], [0, 0, 1]])


def _true_of_frames(bottleneck, size):
    """Stands for a head that has learned the camera of the recording."""
    assert size == (H, W)
    numbers = jnp.array([[50.0, 45.0, 17.0, 13.0]])
    return jnp.broadcast_to(numbers, (len(bottleneck), 4))


def test_a_head_that_knows_the_camera_is_right_for_every_crop_and_flip():
    change = augment.Augment(augment.AugmentConfig(min_crop_scale=0.5))
    rng = np.random.default_rng(0)
    frames = np.zeros((2, H, W, 3), np.uint8)
    clips = [
        change.random_map({"frames": frames, "intrinsics": TRUE}, rng)
        for _ in range(16)
    ]
    maps = np.stack([clip["pixel_map"] for clip in clips])
    # Some are flipped, some are not, and all are enlarged.
    assert {-1, 1} == set(np.sign(maps[:, 0, 0])) and np.all(maps[:, 1, 0] > 1)
    batch = Batch(
        frames=jnp.asarray(np.stack([clip["frames"] for clip in clips])),
        intrinsics=jnp.zeros((16, 3, 3)),
        pixel_map=jnp.asarray(maps),
    )
    learned = learned_cameras.of_pairs(_true_of_frames, jnp.zeros((16, 2, 5)), batch)
    expected = np.stack([clip["intrinsics"] for clip in clips])
    np.testing.assert_allclose(learned, expected, rtol=1e-5, atol=1e-4)
    uncropped = learned_cameras.of_pairs(
        _true_of_frames, jnp.zeros((16, 2, 5)), batch.replace(pixel_map=None)
    )
    np.testing.assert_allclose(uncropped[0], TRUE, rtol=1e-6)
