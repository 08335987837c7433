"""The net for the camera's motion that a config names, shown the background alone.

Lee et al. 2019, eq. 6. Objects would pull at the camera's motion, so what is an object
in either frame is masked out of both.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax.geometry import pose as pose_lib
from mdm_jax.methods import frame_pairs
from mdm_jax.networks import correlation_net, pose_net
from mdm_jax.structs import Batch, Pose

Array = jax.Array
KINDS = (*pose_net.FORMS, "correlation")


def create(kind: str, networks: ml_collections.FrozenConfigDict) -> nn.Module:
    """Returns the egomotion net, see `egomotion`.

    Args:
        kind: one of `KINDS`.
        networks: `config.networks`.
    """
    shared = {
        "width_multiplier": networks.motion_width_multiplier,
        "initial_scale": networks.initial_motion_scale,
        "dtype": jnp.dtype(networks.dtype),
    }
    if kind == "correlation":
        return correlation_net.CorrelationMotionNet(
            radius=tuple(networks.correlation_radius),
            residual_motion=False,
            stop_depth_gradient=True,
            **shared,
        )
    return pose_net.PoseNet(form=kind, norm=networks.norm, **shared)


def egomotion(
    net: Any,
    batch: Batch,
    depth: Array,
    labels: Array | None,
    *,
    train: bool,
) -> Pose:
    """Returns E `[b n ...]`, `source_from_target` of every directed pair of frames.

    Args:
        net: of `create`, bound to its parameters.
        batch: frames and intrinsics.
        depth: `[b t h w]`, for a net that takes it.
        labels: `[b t h w]`, 0 for background; None where all is.
        train: whether the net is trained.
    """
    target, source = frame_pairs.of_clip(batch.frames.shape[1])
    num_clips, num_pairs = batch.frames.shape[0], len(target)
    if labels is None:
        background = jnp.ones(batch.frames.shape[:-1], bool)
    else:
        background = labels == 0
    background_t, background_r, image_t, image_r, depth_t, depth_r = (
        frame_pairs.select(values, frames)
        for values in (background, batch.frames, depth)
        for frames in (target, source)
    )
    # E(M^0_t M^0_r I_t, M^0_t M^0_r I_r)
    seen = background_t & background_r
    if isinstance(net, correlation_net.CorrelationMotionNet):
        # Masked pixels are grey, 0 after centring, as in the pose nets.
        output = net(
            jnp.where(seen[..., None], image_t, 0.5),
            depth_t,
            jnp.where(seen[..., None], image_r, 0.5),
            depth_r,
            jnp.repeat(batch.intrinsics, num_pairs, axis=0),
            both_directions=True,
        )
    else:
        output = net(image_t, image_r, seen, seen, train=train)
    return pose_lib.from_euler(
        output.angles.reshape(num_clips, num_pairs, 3),
        output.translation.reshape(num_clips, num_pairs, 3),
    )
