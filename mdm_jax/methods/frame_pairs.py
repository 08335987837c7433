"""Directed pairs of adjacent frames, of which every method explains one by the other.

A clip of frames 0, 1, 2 has the pairs (0, 1), (1, 0), (1, 2), (2, 1), of a target and a
source: both directions of each adjacent pair, side by side. `n` pairs per clip, `m = b n`
of a batch. Clips lead in all flat axes: splitting them over devices then moves nothing
between devices.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Indices(NamedTuple):
    """Which frames the pairs of a clip are made of.

    Attributes:
        target: frame that each pair explains.
        source: frame that it is explained by.
    """

    target: tuple[int, ...]
    source: tuple[int, ...]


def of_clip(num_frames: int) -> Indices:
    """Returns the pairs of a clip of so many frames."""
    return Indices(
        target=tuple(i for a in range(num_frames - 1) for i in (a, a + 1)),
        source=tuple(i for a in range(num_frames - 1) for i in (a + 1, a)),
    )


def opposite(indices: Indices) -> Array:
    """Returns `[n]`: the index of the pair that has target and source exchanged."""
    pairs = list(zip(*indices, strict=True))
    return jnp.array([pairs.index((source, target)) for target, source in pairs])


def select(values: Array, frames: tuple[int, ...]) -> Array:
    """Returns `[m ...]`, of `[b t ...]` what belongs to one frame of each pair."""
    return flatten(values[:, jnp.array(frames)])


def flatten(values: Array) -> Array:
    """Returns `[b*n ...]` of `[b n ...]`."""
    return values.reshape(-1, *values.shape[2:])
