"""Intrinsics that a method learns: predicted from frame pairs, or one set per video."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.networks import intrinsics_head
from mdm_jax.structs import Batch

Array = jax.Array


def create(camera: ml_collections.FrozenConfigDict) -> nn.Module | None:
    """Returns the head that `config.camera` names; None for given intrinsics."""
    if camera.intrinsics == "pair":
        return intrinsics_head.PairIntrinsics()
    if camera.intrinsics == "video":
        return intrinsics_head.VideoIntrinsics(camera.num_videos)
    return None


def before_motion(
    head: Any, batch: Batch, camera: ml_collections.FrozenConfigDict
) -> Array:
    """Returns the intrinsics `[b 3 3]` given to the motion net.

    Args:
        head: the module of `create`, bound to its parameters.
        batch: of clips.
        camera: `config.camera`.

    Raises:
        ValueError: intrinsics of videos are needed, and the batch does not name these.
    """
    if camera.intrinsics == "given":
        return batch.intrinsics
    *_, height, width, _ = batch.frames.shape
    if camera.intrinsics == "pair":
        # The net predicts these, so its input is a fixed guess.
        guess = jnp.asarray(intrinsics_lib.initial_guess((height, width)))[None]
        return jnp.broadcast_to(guess, batch.intrinsics.shape)
    if batch.video_index is None:
        raise ValueError("config.camera.intrinsics=video needs video_index in batches")
    index = batch.video_index
    learned = head(jnp.arange(camera.num_videos), (height, width))
    mean = jnp.mean(learned, axis=0, keepdims=True)
    # A video that was not trained on, index -1, gets the mean of those that were.
    return _matrix(jnp.where(index[:, None] >= 0, learned[index], mean))


def of_pairs(head: Any, bottleneck: Array, batch: Batch) -> Array:
    """Returns the intrinsics `[b 3 3]` of clips: the mean over their frame pairs.

    The head predicts the intrinsics of the recording's frames, which the crop and flip
    of a clip then change: the net cannot see these, and would learn their mean.

    Args:
        head: `intrinsics_head.PairIntrinsics`, bound to its parameters.
        bottleneck: `[b n c]`, features of n pairs per clip.
        batch: of the clips.
    """
    num_clips, num_pairs, _ = bottleneck.shape
    size = batch.frames.shape[2:4]
    parameters = head(bottleneck.reshape(num_clips * num_pairs, -1), size)
    parameters = jnp.mean(parameters.reshape(num_clips, num_pairs, -1), axis=1)
    if batch.pixel_map is None:
        return _matrix(parameters)
    focal, center = jnp.split(parameters, 2, axis=-1)
    factor, offset = jnp.moveaxis(batch.pixel_map, -1, 0)
    # A flip changes the sign of x and of the factor, and so not that of f.
    focal, center = jnp.abs(factor) * focal, factor * center + offset
    return _matrix(jnp.concatenate([focal, center], axis=-1))


def _matrix(parameters: Array) -> Array:
    fx, fy, cx, cy = jnp.moveaxis(parameters, -1, 0)
    return intrinsics_lib.matrix(fx, fy, cx, cy)
