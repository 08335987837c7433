"""What methods share: collections beside the parameters, such as batch norms' averages."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm_jax import methods, presets
from mdm_jax.methods import base
from mdm_jax.structs import Batch, Prediction, batch_from_arrays
from mdm_jax.training import preflight


class _Normed(nn.Module):
    """Takes a batch norm's output for depth."""

    @nn.compact
    def __call__(self, batch, *, step, train):
        del step
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9)
        depth = norm(batch.frames)[..., 0]
        return Prediction(depth=depth, intrinsics=batch.intrinsics)


def test_averages_move_in_training_and_rest_in_prediction():
    frames = np.random.default_rng(0).uniform(size=(2, 1, 5, 7, 3)).astype(np.float32)
    batch = Batch(frames=jnp.asarray(frames), intrinsics=jnp.eye(3)[None])
    model = _Normed()
    variables = dict(model.init(jax.random.key(0), batch, step=None, train=False))
    options = {"step": None, "rngs": None}
    _, kept = base.apply(model, variables, batch, train=False, **options)
    assert kept.keys() == {"batch_stats"}
    (zeros,) = (s["mean"] for s in kept["batch_stats"].values())
    np.testing.assert_array_equal(zeros, 0.0)
    _, moved = base.apply(model, variables, batch, train=True, **options)
    (mean,) = (s["mean"] for s in moved["batch_stats"].values())
    np.testing.assert_allclose(mean, 0.1 * frames.mean((0, 1, 2, 3)), rtol=1e-4)
    assert jax.tree.structure(moved) == jax.tree.structure(kept)


def _motion_field(config):
    """Depth has batch norms."""
    return config


def _instance_motion(config):
    """So has egomotion, and object motion has none."""
    presets.use_instance_motion(config)
    config.instance_motion.ego_pose = config.instance_motion.object_pose = "resnet"
    return config


@pytest.mark.parametrize(
    ("change", "networks"),
    [(_motion_field, {"depth_net"}), (_instance_motion, {"depth_net", "ego_net"})],
)
def test_methods_with_batch_norms_train_their_averages(tiny_config, change, networks):
    config = change(tiny_config)
    config.networks.norm = "batch"
    method = methods.create(config)

    def step(arrays):
        batch = batch_from_arrays(arrays)
        variables = method.init(jax.random.key(0), batch)
        rngs = {"noise": jax.random.key(1)}
        _, trained = method.predict(
            variables, batch, step=jnp.zeros(()), train=True, rngs=rngs
        )
        _, predicted = method.predict(variables, batch)
        return variables, trained, predicted

    # Shapes alone: what a training step carries on must not change its structure.
    shapes = jax.eval_shape(step, preflight.clip_shapes(config))
    variables, trained, predicted = shapes
    params = variables.pop("params")
    assert variables == trained == predicted
    assert set(trained["batch_stats"]) == networks < set(params)
