"""Masks as a segmenter might give them, made of true ones: to measure what is lost.

Ids are drawn anew in every frame; masks are eroded, some are missed and some fall apart.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """How bad masks are.

    Attributes:
        erosion: at most so many pixels are lost all around, as drawn for each mask.
        dropped: share of masks that are missed.
        split: share of masks that fall apart in two.
    """

    erosion: int = 2
    dropped: float = 0.1
    split: float = 0.05


USUAL = Damage()


@dataclasses.dataclass(frozen=True, eq=False)
class Degraded:
    """Degraded masks of a frame.

    Attributes:
        found: in random order, ids from 1.
        truth: `[k]`, the true label of each.
    """

    found: Instances
    truth: np.ndarray


def degrade(
    labels: np.ndarray, rng: np.random.Generator, damage: Damage = USUAL
) -> Degraded:
    """Returns the masks of a true label map `[h w]`, 0 background, as `damage` says."""
    masks, truth = [], []
    for label in np.unique(labels[labels > 0]).tolist():
        mask = labels == label
        times = int(rng.integers(damage.erosion + 1))
        is_dropped, is_split = rng.random(2) < (damage.dropped, damage.split)
        if is_dropped:
            continue
        if times:
            kernel = np.ones((3, 3), np.uint8)
            mask = cv2.erode(mask.astype(np.uint8), kernel, iterations=times) > 0
        pieces = _halves(mask, rng) if is_split else [mask]
        masks += [piece for piece in pieces if piece.any()]
        truth += [label] * (len(masks) - len(truth))
    order = rng.permutation(len(masks))
    stack = np.array(masks, bool).reshape(-1, *labels.shape)
    return Degraded(instances.create(stack[order]), np.array(truth, np.int64)[order])


def _halves(mask: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns both sides of an upright cut that leaves 30 to 70 % on either."""
    columns = np.nonzero(mask)[1]
    if not len(columns):
        return [mask]
    cut = np.quantile(columns, rng.uniform(0.3, 0.7))
    left = np.arange(mask.shape[1])[None, :] < cut
    return [mask & left, mask & ~left]
