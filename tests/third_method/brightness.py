"""A third method: depth is a learned function of brightness, and the camera's speed one.

It exists to show what a method has to bring: the module that owns all parameters, the
objective with its weights, and the settings.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax.geometry import motion as motion_lib
from mdm_jax.geometry import warp
from mdm_jax.losses import photometric
from mdm_jax.methods import base, frame_pairs
from mdm_jax.structs import Batch, Pairs, Pose, Prediction

LOSS_WEIGHTS = {"colour": 1.0, "speed": 0.1}


class Brightness(nn.Module):
    """A line from brightness to depth, and the distance driven between two frames."""

    config: ml_collections.FrozenConfigDict

    @nn.compact
    def __call__(self, batch: Batch, *, step, train: bool) -> Prediction:
        _, num_frames, height, width, _ = batch.frames.shape
        logits = nn.Dense(1, name="depth")(batch.frames)[..., 0]
        depth = self.config.brightness.nearest + nn.softplus(logits)
        if num_frames == 1:
            return Prediction(depth, batch.intrinsics)
        speed = self.param("speed", nn.initializers.constant(0.1), ())
        target, source = frame_pairs.of_clip(num_frames)
        # Points come nearer from a frame to the next.
        steps = jnp.array(target, jnp.float32) - jnp.array(source, jnp.float32)
        ahead = jnp.array([0.0, 0.0, 1.0])
        translation = speed * steps[:, None] * ahead[None]
        shape = (batch.frames.shape[0], len(target), 3)
        egomotion = Pose(
            jnp.broadcast_to(jnp.eye(3), (*shape, 3)),
            jnp.broadcast_to(translation[None], shape),
        )
        motion = motion_lib.ego_only(egomotion, (height, width))
        residual = jnp.zeros_like(motion.translation)
        pairs = Pairs(egomotion, motion, residual, target, source)
        return Prediction(depth, batch.intrinsics, pairs)


def loss_terms(
    prediction: Prediction, batch: Batch, step: jax.Array
) -> dict[str, jax.Array]:
    """Returns the colour error of the warped source, and how far the speed is from 0.1."""
    del step
    pairs = prediction.require_pairs()
    warped = jax.vmap(warp.inverse_warp)(
        frame_pairs.select(batch.frames, pairs.source_index),
        frame_pairs.select(prediction.depth, pairs.target_index),
        jax.tree.map(frame_pairs.flatten, pairs.motion),
        jnp.repeat(prediction.intrinsics, len(pairs.target_index), axis=0),
    )
    target = frame_pairs.select(batch.frames, pairs.target_index)
    speed = jnp.linalg.norm(pairs.egomotion.translation, axis=-1)
    return {
        "colour": photometric.masked_l1(target, warped.image, warped.valid),
        "speed": jnp.mean(jnp.square(speed - 0.1)),
    }


def config_group() -> ml_collections.ConfigDict:
    """Returns `config.brightness` with its defaults."""
    c = ml_collections.ConfigDict()
    # Smallest depth.
    c.nearest = 0.5
    # Number of training recordings, filled in from the data.
    c.num_recordings = 0
    return c


def create(config: ml_collections.ConfigDict) -> base.Method:
    """Returns the method."""
    model = Brightness(ml_collections.FrozenConfigDict(config))
    return base.of_module(model, loss_terms, settle=_settle)


def _settle(config: ml_collections.ConfigDict, recordings) -> ml_collections.ConfigDict:
    config = config.copy_and_resolve_references()
    config.brightness.num_recordings = len(recordings)
    return config
