"""The egomotion net of method B, which sees the background only.

Lee et al. 2019, eq. 6. Moving objects would bias the egomotion, so the pixels of objects
in either frame are masked out of both.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from mdm_jax.geometry import pose as pose_lib
from mdm_jax.methods import frame_pairs
from mdm_jax.networks import correlation_net, pose_net
from mdm_jax.networks.motion_net import MotionNet
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
            both_directions=True,
            **shared,
        )
    return pose_net.PoseNet(form=kind, norm=networks.norm, **shared)


def egomotion(
    net: MotionNet,
    batch: Batch,
    depth: Array,
    labels: Array | None,
    *,
    train: bool,
) -> Pose:
    """Returns E `[b n ...]`, `source_from_target` of every directed pair of frames.

    Args:
        net: the module of `create`, bound to its parameters.
        batch: frames and intrinsics.
        depth: `[b t h w]`.
        labels: `[b t h w]`, 0 for background; None if every pixel is background.
        train: whether the net is trained.
    """
    target, source = frame_pairs.of_clip(batch.frames.shape[1])
    pairs = frame_pairs.network_input(batch.frames, depth, batch.intrinsics)
    background = jnp.ones(batch.frames.shape[:-1], bool)
    if labels is not None:
        background = labels == 0
    # E(M^0_t M^0_r I_t, M^0_t M^0_r I_r)
    seen = frame_pairs.select(background, target)
    seen = seen & frame_pairs.select(background, source)
    pairs = dataclasses.replace(pairs, mask_a=seen, mask_b=seen)
    output = net(pairs, train=train)
    shape = (batch.frames.shape[0], len(target), 3)
    return pose_lib.from_euler(
        output.angles.reshape(shape), output.translation.reshape(shape)
    )
