"""Directed pairs of adjacent frames: a target, explained by a source.

A clip of frames 0, 1, 2 has the pairs (0, 1), (1, 0), (1, 2), (2, 1) of a target and a
source: both directions of each adjacent pair, side by side. There are `n` pairs per clip
and `m = b n` per batch. Clips come first in all flattened axes, so that splitting them
over devices moves nothing between devices.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mdm_jax.networks.motion_net import FramePairs

Array = jax.Array


class Indices(NamedTuple):
    """The frames of the pairs of a clip.

    Attributes:
        target: index of the frame that each pair explains.
        source: index of the frame that explains it.
    """

    target: tuple[int, ...]
    source: tuple[int, ...]


def of_clip(num_frames: int) -> Indices:
    """Returns the pairs of a clip."""
    return Indices(
        target=tuple(i for a in range(num_frames - 1) for i in (a, a + 1)),
        source=tuple(i for a in range(num_frames - 1) for i in (a + 1, a)),
    )


def opposite(indices: Indices) -> Array:
    """Returns `[n]`: the index of the pair with target and source exchanged."""
    pairs = list(zip(*indices, strict=True))
    return jnp.array([pairs.index((source, target)) for target, source in pairs])


def select(values: Array, frames: tuple[int, ...]) -> Array:
    """Returns `[m ...]`: the values `[b t ...]` of one frame of each pair."""
    return flatten(values[:, jnp.array(frames)])


def flatten(values: Array) -> Array:
    """Returns `[b*n ...]` of `[b n ...]`."""
    return values.reshape(-1, *values.shape[2:])


def network_input(frames: Array, depth: Array, intrinsics: Array) -> FramePairs:
    """Returns the `m` directed pairs of clips, as motion nets take them.

    Args:
        frames: `[b t h w 3]`.
        depth: `[b t h w]`.
        intrinsics: `[b 3 3]`.
    """
    target, source = of_clip(frames.shape[1])
    return FramePairs(
        image_a=select(frames, target),
        image_b=select(frames, source),
        depth_a=select(depth, target),
        depth_b=select(depth, source),
        intrinsics=jnp.repeat(intrinsics, len(target), axis=0),
    )
