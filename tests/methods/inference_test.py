"""The maps of a pair are those of its first frame."""

import jax
import jax.numpy as jnp
import numpy as np

from mdm_jax import methods
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.methods import inference
from mdm_jax.methods.base import Method
from mdm_jax.structs import Objects, Pairs, Pose, Prediction, Warped, batch_from_arrays

H, W = 9, 12


def _method(depth, translation, *, objects=None):
    """Returns a method with given depth `[2 h w]` and camera translations `[2 3]`."""

    def predict(variables, batch, *, step=None, train=False, rngs=None):
        del variables, train, rngs
        shape = batch.frames.shape[:-1]
        result = jnp.broadcast_to(depth[None, : shape[1]], shape)
        if shape[1] == 1:
            return Prediction(result, batch.intrinsics), {}
        residual = jnp.zeros((shape[0], 2, H, W, 3)) + step
        egomotion = Pose(
            jnp.broadcast_to(jnp.eye(3), (shape[0], 2, 3, 3)),
            jnp.broadcast_to(translation, (shape[0], 2, 3)),
        )
        motion = motion_lib.total(egomotion, 0 * residual)
        pairs = Pairs(egomotion, motion, residual, (1, 0), (0, 1), objects)
        return Prediction(result, batch.intrinsics, pairs), {}

    return Method(init=None, predict=predict, loss_terms=None)  # pyright: ignore


def _arrays(num_frames):
    return {
        "frames": np.zeros((2, num_frames, H, W, 3), np.uint8),
        "intrinsics": np.tile(
            np.array([[10.0, 0, 5.5], [0, 10, 4], [0, 0, 1]], np.float32), (2, 1, 1)
        ),
    }


def test_hidden_points_and_those_outside_are_told_apart():
    # The first frame sees a wall at 4; the second, 0.8 to the right, has something
    # nearer in its left half.
    depth = np.full((2, H, W), 4.0, np.float32)
    depth[1, :, : W // 2] = 2.0
    move = np.array([[9.0, 0, 0], [-0.8, 0, 0]], np.float32)
    predict = inference.make_predict(_method(jnp.asarray(depth), jnp.asarray(move)))
    result = predict({}, _arrays(2), jnp.float32(3))
    # A pixel x goes to x - 10 * 0.8 / 4 = x - 2.
    columns = np.arange(W)
    valid = np.broadcast_to(columns >= 2, (2, H, W))
    hidden = np.broadcast_to((columns >= 2) & (columns - 2 < W // 2), (2, H, W))
    np.testing.assert_array_equal(result["valid"], valid)
    np.testing.assert_array_equal(result["occluded"], hidden)
    np.testing.assert_allclose(result["translation"], np.tile(move[1], (2, 1)))
    np.testing.assert_allclose(result["depth"], 4)
    # What training has switched on is told to the method.
    np.testing.assert_allclose(result["object_motion"], 3)


def test_a_frame_alone_has_depth_alone():
    depth = jnp.full((2, H, W), 4.0)
    result = inference.make_predict(_method(depth, jnp.zeros((2, 3))))(
        {}, _arrays(1), 0
    )
    assert set(result) == {"depth"} and result["depth"].shape == (2, H, W)


def test_objects_move_as_their_centres_do():
    k = 3
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    pose = Pose(jnp.broadcast_to(turn, (2, 2, k, 3, 3)), jnp.full((2, 2, k, 3), 0.5))
    center = jnp.arange(2 * 2 * k * 3, dtype=jnp.float32).reshape(2, 2, k, 3)
    image = jnp.zeros((2, 2, H, W))
    objects = Objects(
        labels=jnp.full((2, 2, k), 4),
        pose=pose,
        center=center,
        displacement=center,
        measured=jnp.ones((2, 2, k), bool),
        regions=image.astype(int),
        background=image == 0,
        view=Warped(image[..., None], image, image == 0, image[..., None]),
        view_labels=image[..., None],
        height=jnp.zeros(()),
        num_candidates=jnp.zeros(2),
        num_dropped=jnp.zeros(2),
    )
    method = _method(jnp.full((2, H, W), 4.0), jnp.zeros((2, 3)), objects=objects)
    result = inference.make_predict(method)({}, _arrays(2), 0)
    # The pair whose target is the first frame stands second.
    expected = np.asarray(center)[:, 1] @ turn.T + 0.5 - np.asarray(center)[:, 1]
    np.testing.assert_allclose(result["object_centers"], center[:, 1])
    np.testing.assert_allclose(result["object_translations"], expected, atol=1e-6)


def test_a_method_sees_single_frames_at_the_step_of_the_checkpoint():
    def predict(variables, batch, *, step=None, train=False, rngs=None):
        assert batch.frames.shape[1] == 1 and not train
        depth = variables["gain"] * step * batch.frames.mean(axis=-1)
        return Prediction(depth=depth, intrinsics=batch.intrinsics), {}

    def unused(*_):
        raise AssertionError

    method = Method(init=unused, predict=predict, loss_terms=unused)
    images = np.full((3, 4, 6, 3), 255, np.uint8)
    predict = inference.make_predict(method)
    depth = predict({"gain": 2.0}, {"frames": images[:, None]}, 5)["depth"]
    np.testing.assert_allclose(np.asarray(depth), np.full((3, 4, 6), 10.0), rtol=1e-6)


def test_predictions_are_those_of_the_step_that_training_has_come_to(tiny_config):
    tiny_config.motion_field.burnin_steps = 100
    tiny_config.networks.norm_noise = 0.5
    steps = []

    def method_predict(variables, batch, *, step=None, train=False, rngs=None):
        steps.append(step)
        assert not train
        return method.predict(variables, batch, step=step)

    method = methods.create(tiny_config)
    predict = inference.make_predict(method._replace(predict=method_predict))
    arrays = {
        "frames": jax.ShapeDtypeStruct((1, 2, 32, 40, 3), jnp.uint8),
        "intrinsics": jax.ShapeDtypeStruct((1, 3, 3), jnp.float32),
    }

    def run(arrays, step):
        variables = method.init(
            jax.random.key(0),
            batch_from_arrays(arrays),
        )
        return predict(variables, arrays, step)

    maps = jax.eval_shape(run, arrays, jax.ShapeDtypeStruct((), jnp.int32))
    assert maps["object_motion"].shape == (1, 32, 40, 3)
    assert len(steps) == 1
    assert steps[0] is not None
