"""Priors of single objects: the sums of slow loops, and nothing where nothing is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax.geometry import pose
from mdm_jax.losses import object_priors

N, H, W, K = 2, 6, 5, 3


def _regions():
    regions = np.zeros((N, H, W), np.int32)
    regions[0, 1:4, 0:2] = 1
    regions[0, 2:6, 3] = 2
    regions[1, 0:3, 1:3] = 3
    return jnp.asarray(regions)


def _random(*shape, seed=0, low=0.5, high=2.0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(low, high, shape), jnp.float32)


def test_means_are_over_the_pixels_of_each_object():
    regions, values = _regions(), _random(N, H, W, 3)
    masks = object_priors.slot_masks(regions, K)
    means = jax.jit(object_priors.mean_over)(masks, values)
    for n, k in np.ndindex(N, K):
        inside = np.asarray(values[n])[np.asarray(regions[n]) == k + 1]
        expected = inside.mean(axis=0) if len(inside) else np.zeros(3)
        np.testing.assert_allclose(means[n, k], expected, rtol=1e-5)


def test_boxes_are_as_high_as_objects_and_know_when_they_are_cut_off():
    boxes = jax.jit(object_priors.boxes)(object_priors.slot_masks(_regions(), K))
    np.testing.assert_array_equal(boxes.height, [[3, 4, 0], [0, 0, 3]])
    np.testing.assert_array_equal(
        boxes.complete, [[True, False, False], [False, False, False]]
    )


def test_the_translation_prior_is_the_mean_distance_of_valid_objects():
    translation, measured = _random(1, 4, 3), _random(1, 4, 3, seed=1)
    valid = jnp.array([[True, False, True, False]])
    arguments = translation, measured, jnp.array([5.0]), valid
    loss = object_priors.translation_prior(*arguments)
    distance = np.abs(np.asarray(translation - measured)).sum(axis=-1)[0]
    # Relative to the depth of the scene.
    assert loss == pytest.approx((distance[0] + distance[2]) / 2 / 5, rel=1e-6)
    gradients = jax.jit(jax.grad(object_priors.translation_prior, argnums=(0, 1, 2)))(
        *arguments
    )
    assert float(jnp.abs(gradients[0][0, 0]).min()) > 0
    assert not gradients[0][0, 1].any()
    assert not gradients[1].any()  # a measurement is not learned from
    assert not gradients[2].any()


def test_the_priors_of_a_larger_world_weigh_the_same():
    arguments = _height_arguments() | {"object_depth": jnp.full((N, K), 30.0)}
    translation, measured = _random(N, K, 3), _random(N, K, 3, seed=1)
    values = []
    for scale in (1.0, 20.0):
        lengths = {
            name: scale * arguments[name]
            for name in ("object_depth", "height", "scene_depth")
        }
        values.append(object_priors.height_prior(**arguments | lengths))
        values.append(
            object_priors.translation_prior(
                scale * translation,
                scale * measured,
                lengths["scene_depth"],
                arguments["valid"],
            )
        )
    assert values[0] > 0 and values[1] > 0
    np.testing.assert_allclose(values[2:], values[:2], rtol=1e-5)


def _height_arguments():
    # Depth of a 1.5 high object that is 3 pixels high at f = 20: 10.
    return {
        "object_depth": jnp.full((N, K), 10.0),
        "box_height": jnp.full((N, K), 3.0),
        "focal_y": jnp.full(N, 20.0),
        "height": jnp.asarray(1.5),
        "scene_depth": jnp.array([20.0, 40.0]),
        "valid": jnp.ones((N, K), bool),
        "complete": jnp.ones((N, K), bool),
    }


def test_the_height_prior_is_zero_where_similar_triangles_agree():
    arguments = _height_arguments()
    assert object_priors.height_prior(**arguments) == pytest.approx(0, abs=1e-6)
    far = arguments | {"object_depth": jnp.full((N, K), 30.0)}
    # |30 - 10| / 20 and / 40
    assert object_priors.height_prior(**far) == pytest.approx(0.75)


def test_the_height_prior_teaches_depth_and_height_but_not_the_scene():
    arguments = _height_arguments() | {"object_depth": jnp.full((N, K), 30.0)}

    def loss(depth, height, scene):
        changed = {"object_depth": depth, "height": height, "scene_depth": scene}
        return object_priors.height_prior(**arguments | changed)

    depth, height, scene = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(
        arguments["object_depth"], arguments["height"], arguments["scene_depth"]
    )
    assert float(depth.min()) > 0  # too far: nearer
    assert float(height) < 0  # or taller
    assert not scene.any()


def test_what_the_image_cuts_off_may_be_nearer_but_not_farther():
    cut = _height_arguments() | {"complete": jnp.zeros((N, K), bool)}
    depth = jnp.tile(jnp.array([8.0, 10.0, 30.0])[:K], (N, 1))

    def error(depth):
        return object_priors.height_prior(**cut | {"object_depth": depth})

    value, gradient = jax.jit(jax.value_and_grad(error))(depth)
    # |30 - 10| / 20 and / 40, of one object in three.
    assert value == pytest.approx(0.75 / K)
    np.testing.assert_array_equal(np.sign(gradient), np.sign(depth - 10) > 0)


def test_motions_that_cancel_have_no_cycle_error():
    angles, translation = _random(N, K, 3), _random(N, K, 3, seed=1)
    there = jax.jit(pose.from_euler)(angles, translation)
    back = jax.jit(pose.inverse)(there)
    valid = jnp.ones((N, K), bool)

    @jax.jit
    def error(back):
        return object_priors.motion_cycle(
            there.rotation, there.translation, back.rotation, back.translation, valid
        )

    assert error(back) == pytest.approx(0, abs=1e-6)
    assert error(there) > 0.5
    assert error(pose.identity((N, K))) == pytest.approx(2, rel=1e-3)


def test_without_objects_all_is_zero_with_finite_gradients():
    nothing = jnp.zeros((N, K), bool)
    arguments = _height_arguments() | {
        "valid": nothing,
        "box_height": jnp.zeros((N, K)),
    }
    still = pose.identity((N, K))

    def total(depth, translation):
        masks = object_priors.slot_masks(jnp.zeros((N, H, W), jnp.int32), K)
        mean = object_priors.mean_over(masks, depth)[..., 0]
        return (
            object_priors.height_prior(**arguments | {"object_depth": mean})
            + object_priors.translation_prior(
                translation, jnp.zeros_like(translation), jnp.ones(N), nothing
            )
            + object_priors.motion_cycle(
                still.rotation, translation, still.rotation, translation, nothing
            )
        )

    value, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(
        _random(N, H, W, 1), jnp.zeros((N, K, 3))
    )
    assert value == 0
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient))
