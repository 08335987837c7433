"""The residual field is zero where nothing moves, and comes alive from zero."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from mdm_jax.methods import residual_field
from mdm_jax.structs import Batch


def test_auto_mask_keeps_only_vectors_longer_than_the_image_mean():
    residual = jnp.zeros((2, 4, 5, 3)).at[0, 1, 2].set(3.0).at[0, 0, 0].set(0.01)
    masked = residual_field.auto_mask(residual)
    expected = residual.at[0, 0, 0].set(0.0)
    np.testing.assert_array_equal(masked, expected)
    gradient = jax.grad(lambda r: jnp.sum(residual_field.auto_mask(r)))(residual)
    # The second image is all zeros, and kept; in the first, one vector is.
    expected_gradient = jnp.zeros_like(residual).at[0, 1, 2].set(1.0).at[1].set(1.0)
    np.testing.assert_array_equal(gradient, expected_gradient)


def test_a_field_of_zeros_passes_its_gradient_through_the_auto_mask():
    # Else a residual head that starts at zero would stay there for ever.
    zeros = jnp.zeros((2, 4, 5, 3))
    gradient = jax.grad(lambda r: jnp.sum(residual_field.auto_mask(r)))(zeros)
    np.testing.assert_array_equal(gradient, jnp.ones_like(zeros))


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (50, 0.0), (75, 0.5), (100, 1.0), (500, 1.0)]
)
def test_burnin_switches_motion_on_over_its_second_half(step, expected):
    options = ml_collections.ConfigDict({"burnin_steps": 100})
    assert residual_field.burnin(options, jnp.array(step)) == pytest.approx(expected)
    assert residual_field.burnin(options, None) == 1.0


def _restrain(residual, labels, required=True, **options):
    height, width = residual.shape[2:4]
    batch = Batch(
        frames=jnp.zeros((1, 2, height, width, 3)),
        intrinsics=jnp.eye(3)[None],
        instance_labels=labels,
    )
    changed = {"auto_mask": False, "burnin_steps": 0, "use_mask": True}
    changed = ml_collections.ConfigDict(changed | {"mask_dilation": 1} | options)
    return residual_field.restrain(
        residual, batch, options=changed, step=None, required=required
    )


def test_given_masks_leave_motion_around_the_target_frames_objects_only():
    labels = np.zeros((1, 2, 6, 9), np.uint8)
    labels[0, 0, 2, 3], labels[0, 1, 2, 5] = 7, 7
    residual = jnp.ones((1, 2, 6, 9, 3))
    field = _restrain(residual, jnp.asarray(labels))
    expected = np.zeros((1, 2, 6, 9, 3))
    # The target of the first pair is the first frame, of the second the other.
    expected[0, 0, 1:4, 2:5] = expected[0, 1, 1:4, 4:7] = 1
    np.testing.assert_array_equal(field, expected)
    np.testing.assert_array_equal(_restrain(residual, None, use_mask=False), residual)


def test_masks_are_demanded_where_they_are_used():
    with pytest.raises(ValueError, match="use_mask needs instance_labels"):
        _restrain(jnp.ones((1, 2, 6, 9, 3)), None)


def test_without_masks_a_prediction_takes_everything_for_background():
    residual = jnp.ones((1, 2, 6, 9, 3))
    empty = jnp.zeros((1, 2, 6, 9), jnp.uint8)
    expected = _restrain(residual, empty)
    assert not expected.any()
    np.testing.assert_array_equal(_restrain(residual, None, required=False), expected)
