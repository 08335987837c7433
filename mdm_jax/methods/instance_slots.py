"""Any number of instances in arrays of fixed shape: slots, and slots packed together.

Every pair of adjacent frames has k slots, for its k largest instances. Most stay empty,
and applying a network to every slot would waste time: so the filled slots are packed
into a batch of fixed size, the budget, and results are scattered back to their slots
(Lee et al. 2019, section 3.3, re-arrangement of mini-batches). Shapes never depend on
the number of instances, so nothing is recompiled when it changes.

Packing moves images within a pack, a number of adjacent clips of the batch. As long as
a pack's clips are on one device, nothing moves between devices, and an instance's result
does not depend on clips outside its pack.

Notation: b clips, a adjacent frame pairs, k slots, 2 a directed pairs of frames (both
directions of an adjacent pair side by side), g packs of c clips, s places in a pack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from mdm_jax.recording.arrays import Recording

Array = jax.Array

# Label maps are 8 bit.
_NUM_LABELS = 256


class Chosen(NamedTuple):
    """The instances of frame pairs that get a slot.

    Attributes:
        labels: int32 `[* k]`, largest instance first; 0 where the slot is empty.
        num_candidates: int32 `[*]`, how many instances both frames show.
    """

    labels: Array
    num_candidates: Array


@flax.struct.dataclass
class Packing:
    """Which slot is at which place in a pack.

    Attributes:
        pair: int32 `[g s]`, the adjacent pair of the slot at each place, counted over
            the pack's clips.
        slot: int32 `[g s]`, which of that pair's slots it is.
        used: bool `[g s]`, there is an instance at this place.
        place: int32 `[b a k]`, the place of each slot in its pack.
        kept: bool `[b a k]`, the slot has an instance, and it got a place.
    """

    pair: Array
    slot: Array
    used: Array
    place: Array
    kept: Array


def areas(labels: Array) -> Array:
    """Returns int32 `[* 256]`: how many pixels of label maps `[* h w]` have each label."""

    def count(image: Array) -> Array:
        zeros = jnp.zeros(_NUM_LABELS, jnp.int32)
        return zeros.at[image.ravel()].add(1, mode="promise_in_bounds")

    flat = labels.reshape(-1, *labels.shape[-2:])
    return jax.vmap(count)(flat).reshape(*labels.shape[:-2], _NUM_LABELS)


def choose(
    first: Array, second: Array, *, max_instances: int, min_pixels: int = 1
) -> Chosen:
    """Returns the largest instances that two frames share.

    Both directions of the pair get the same slots. Ids only decide ties.

    Args:
        first: `[* 256]`, areas in one frame.
        second: `[* 256]`, areas in the other.
        max_instances: number of slots, k.
        min_pixels: least pixels of an instance in each frame.
    """
    shared = jnp.minimum(first, second) >= max(min_pixels, 1)
    shared = shared & (jnp.arange(_NUM_LABELS) > 0).reshape(
        (1,) * (first.ndim - 1) + (-1,)
    )
    size = jnp.where(shared, first + second, 0)
    # A sort, because `top_k` gathers the sizes of all clips on every device.
    labels = jnp.argsort(-size, axis=-1, stable=True)[..., :max_instances]
    largest = jnp.take_along_axis(size, labels, axis=-1)
    return Chosen(
        labels=jnp.where(largest > 0, labels, 0).astype(jnp.int32),
        num_candidates=jnp.sum(shared, axis=-1, dtype=jnp.int32),
    )


def fitting_budget(
    label_maps: Iterable[np.ndarray],
    *,
    frame_stride: int = 1,
    max_instances: int,
    min_pixels: int = 1,
    share: float = 0.99,
) -> int:
    """Returns the budget that suffices for a share of the frame pairs of recordings.

    Args:
        label_maps: uint8 `[n h w]` of each recording; read one frame at a time.
        frame_stride: how many frames apart the frames of a pair are.
        max_instances: an upper bound.
        min_pixels: as in `choose`.
        share: of pairs for which no instance is left out.
    """
    counts = []
    for frames in label_maps:
        sizes = [np.bincount(np.ravel(f), minlength=_NUM_LABELS)[1:] for f in frames]
        for first, second in zip(sizes, sizes[frame_stride:], strict=False):
            shared = np.minimum(first, second) >= max(min_pixels, 1)
            counts.append(int(shared.sum()))
    if not counts:
        return max_instances
    enough = int(np.ceil(np.quantile(counts, share)))
    return min(max(enough, 1), max_instances)


def settle_budget(config: ConfigDict, recordings: Sequence[Recording]) -> ConfigDict:
    """Returns the config with an instance budget that fits labelled recordings.

    A budget that is given is kept.
    """
    options = config.instance_motion
    label_maps = [
        r.instance_labels for r in recordings if r.instance_labels is not None
    ]
    if options.instance_budget or len(label_maps) < len(recordings):
        return config
    config = config.copy_and_resolve_references()
    config.instance_motion.instance_budget = budget = fitting_budget(
        label_maps,
        frame_stride=config.dataset.frame_stride,
        max_instances=options.max_instances,
        min_pixels=options.min_instance_pixels,
    )
    logging.info("instance_budget: %d per pair of frames", budget)
    return config


def regions(labels: Array, slot_labels: Array) -> Array:
    """Returns int32 `[* h w]`: 1 + the slot of each pixel's instance, 0 without one.

    Args:
        labels: `[* h w]`.
        slot_labels: `[* k]`, 0 where the slot is empty.
    """
    slots = slot_labels[..., None, None, :]
    match = (labels[..., None].astype(slots.dtype) == slots) & (slots != 0)
    number = jnp.arange(1, slot_labels.shape[-1] + 1, dtype=jnp.int32)
    number = number.reshape((1,) * (match.ndim - 1) + (-1,))
    return jnp.sum(jnp.where(match, number, 0), axis=-1)


def pack(filled: Array, *, budget: int, clips_per_pack: int = 1) -> Packing:
    """Returns a packing that puts filled slots first, larger instances before smaller.

    If not all fit, the smallest of each pair are left out.

    Args:
        filled: bool `[b a k]`.
        budget: places per adjacent pair, on average over a pack; 0 for k, so that every
            instance gets a place.
        clips_per_pack: c. For a batch size that is no multiple of it, the greatest
            common divisor is used.
    """
    num_clips, num_pairs, num_slots = filled.shape
    # An exported program's number of clips has no divisors yet.
    clips = 1 if clips_per_pack == 1 else math.gcd(num_clips, clips_per_pack)
    pairs = clips * num_pairs
    size = min(budget or num_slots, num_slots) * pairs

    # Slot by slot, not pair by pair: the largest of every pair come first.
    by_size = _packs(filled, clips).swapaxes(1, 2).reshape(-1, num_slots * pairs)
    order = jnp.argsort(~by_size, axis=-1, stable=True)[:, :size].astype(jnp.int32)
    place = jnp.cumsum(by_size, axis=-1, dtype=jnp.int32) - 1
    kept = by_size & (place < size)

    def by_pair(x: Array) -> Array:
        x = x.reshape(-1, num_slots, pairs).swapaxes(1, 2)
        return x.reshape(num_clips, num_pairs, num_slots)

    return Packing(
        pair=order % pairs,
        slot=order // pairs,
        used=jnp.take_along_axis(by_size, order, axis=-1),
        place=by_pair(jnp.where(kept, place, 0)),
        kept=by_pair(kept),
    )


def gather_pairs(packing: Packing, values: Array) -> Array:
    """Returns the values of each place's pair, both directions side by side.

    Args:
        packing: of `pack`.
        values: `[b 2*a ...]`, of every directed pair.

    Returns:
        `[g*s*2 ...]`.
    """
    num_packs, size = packing.pair.shape
    values = values.reshape(num_packs, -1, 2, *values.shape[2:])
    packed = jax.vmap(lambda rows, index: rows[index])(values, packing.pair)
    return packed.reshape(num_packs * size * 2, *values.shape[3:])


def gather_slots(packing: Packing, values: Array) -> Array:
    """Returns the values of each place's slot, once for each direction.

    Args:
        packing: of `pack`.
        values: `[b 2*a k ...]`, of every slot.

    Returns:
        `[g*s*2 ...]`.
    """
    num_packs, size = packing.pair.shape
    values = values.reshape(num_packs, -1, 2, *values.shape[2:])
    packed = jax.vmap(lambda rows, pair, slot: rows[pair, :, slot])(
        values, packing.pair, packing.slot
    )
    return packed.reshape(num_packs * size * 2, *values.shape[4:])


def scatter(packing: Packing, packed: Array) -> Array:
    """Returns packed results in their slots, `[b 2*a k ...]`; 0 in slots without one.

    Places that are padding get no gradient.

    Args:
        packing: of `pack`.
        packed: `[g*s*2 ...]`, as `gather_pairs` orders them.
    """
    num_packs, size = packing.pair.shape
    num_clips, num_pairs, num_slots = packing.place.shape
    rows = packed.reshape(num_packs, size, 2, *packed.shape[1:])
    place = packing.place.reshape(num_packs, -1, num_slots)
    values = jax.vmap(lambda rows, index: rows[index])(rows, place)
    values = values.reshape(num_clips, num_pairs, num_slots, *rows.shape[2:])
    values = jnp.moveaxis(values, 3, 2).reshape(
        num_clips, 2 * num_pairs, num_slots, *packed.shape[1:]
    )
    kept = both_directions(packing.kept)
    kept = jnp.expand_dims(kept, tuple(range(3, values.ndim)))
    return jnp.where(kept, values, jnp.zeros_like(values))


def both_directions(values: Array) -> Array:
    """Returns `[b 2*a ...]`: the values of adjacent pairs `[b a ...]`, each twice."""
    return jnp.repeat(values, 2, axis=1)


def _packs(values: Array, clips: int) -> Array:
    """Returns `[g c*a ...]`."""
    num_clips, num_pairs, *rest = values.shape
    return values.reshape(num_clips // clips, clips * num_pairs, *rest)
