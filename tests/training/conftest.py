"""A method that compiles in a moment, for tests of what is around a method."""

import shutil
import types

import jax.numpy as jnp
import ml_collections
import pytest

from mdm_jax import methods
from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import pose as pose_lib
from mdm_jax.methods.base import Method
from mdm_jax.structs import Pairs, Prediction
from mdm_jax.training import data, loop

# Folders of runs that are trained already, by what was changed in their configs.
_TRAINED = {}


def _create(config):
    """Returns a method of one depth map, one camera step, and one camera a video.

    The residual motion is the fraction of burn-in that is over.
    """
    options = config.motion_field

    def init(rng, batch):
        del rng
        height, width = batch.frames.shape[2:4]
        return {
            "params": {
                "log_depth": jnp.ones((height, width)),
                "step": jnp.array([0.0, 0.0, -0.1]),
                "focal": jnp.full(config.camera.num_videos, 40.0),
            }
        }

    def predict(variables, batch, *, step=None, train=False, rngs=None):
        del train, rngs
        params = variables["params"]
        num_clips, num_frames, height, width, _ = batch.frames.shape
        depth = jnp.broadcast_to(
            jnp.exp(params["log_depth"]), (num_clips, num_frames, height, width)
        )
        burnin = max(options.burnin_steps, 1)
        residual = jnp.ones((num_clips, 2, height, width, 3)) * (
            1.0 if step is None else jnp.minimum(step / burnin, 1.0)
        )
        egomotion = pose_lib.from_euler(
            jnp.zeros((num_clips, 2, 3)),
            jnp.broadcast_to(params["step"], (num_clips, 2, 3)),
        )
        intrinsics = batch.intrinsics
        if config.camera.intrinsics == "video":
            focal = jnp.where(
                batch.video_index < 0,
                jnp.mean(params["focal"]),
                params["focal"][batch.video_index],
            )
            intrinsics = intrinsics.at[:, 0, 0].set(focal)
        pairs = Pairs(
            egomotion=egomotion,
            motion=motion_lib.total(egomotion, residual),
            residual_translation=residual,
            target_index=(0, 1),
            source_index=(1, 0),
        )
        return Prediction(depth=depth, intrinsics=intrinsics, pairs=pairs), {}

    def loss_terms(prediction, batch, step):
        del step
        terms = dict.fromkeys(config.loss_weights, jnp.zeros(()))
        brightness = jnp.mean(batch.frames, axis=-1)
        error = jnp.mean((jnp.log(prediction.depth) - brightness) ** 2)
        focal = jnp.mean(prediction.intrinsics[:, 0, 0] / batch.intrinsics[:, 0, 0])
        return terms | {"rgb": error + 1e-3 * focal}

    return Method(
        init=init,
        predict=predict,
        loss_terms=loss_terms,
        learns_intrinsics=config.camera.intrinsics != "given",
    )


@pytest.fixture
def toy_config(tiny_config, monkeypatch):
    """`tiny_config` of the toy method."""
    toy = types.SimpleNamespace(
        LOSS_WEIGHTS=methods.motion_field.LOSS_WEIGHTS,
        config_group=ml_collections.ConfigDict,
        create=_create,
    )
    monkeypatch.setitem(methods.METHODS, "toy", toy)
    tiny_config.method = "toy"
    return tiny_config


@pytest.fixture
def trained(toy_config, tiny_recordings, monkeypatch, tmp_path, tmp_path_factory):
    """Returns a function: changes of the config to a folder of a run that is trained.

    Its data are the tiny drives, the first of them as a test drive.
    """
    held_out = tiny_recordings[:1]
    monkeypatch.setattr(
        data, "open_data", lambda *_: data.Data(tiny_recordings, held_out, "test")
    )

    def train(**changes):
        key = str(sorted(changes.items()))
        if key not in _TRAINED:
            config = toy_config.copy_and_resolve_references()
            config.train.num_steps = config.train.checkpoint_every = 2
            config.update_from_flattened_dict(changes)
            _TRAINED[key] = tmp_path_factory.mktemp("trained")
            loop.train(config, str(_TRAINED[key]))
        shutil.copytree(_TRAINED[key], tmp_path / "run")
        return tmp_path / "run"

    return train
