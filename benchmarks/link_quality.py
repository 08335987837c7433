"""Precision and recall of links between degraded masks whose true objects are known.

True masks are degraded as a segmenter might return them: ids are renumbered in every
frame, masks are eroded, some are missing and some fall apart.

A link is correct if it joins two masks of one object. A true pair is an object visible in
two consecutive frames, or in two frames around one in which its mask is missing; it is
recovered if any of its masks in one frame is linked to any of its masks in the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import cv2
import numpy as np

from mdm_jax.annotation import linking
from mdm_jax.flow.video_frame import FlowSource, Frame
from mdm_jax.masks import instances
from mdm_jax.masks.instances import Instances

# Objects with fewer pixels do not count.
MIN_PIXELS = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Damage:
    """How masks are degraded.

    Attributes:
        erosion: largest number of pixels removed all around; drawn for each mask.
        dropped: fraction of masks that are missing.
        split: fraction of masks that fall apart in two.
    """

    erosion: int = 2
    dropped: float = 0.1
    split: float = 0.05


DEFAULT_DAMAGE = Damage()


@dataclasses.dataclass(frozen=True, eq=False)
class DegradedMasks:
    """Degraded masks of a frame.

    Attributes:
        masks: in random order, ids from 1.
        truth: `[k]`, the true label of each mask.
    """

    masks: Instances
    truth: np.ndarray


@dataclasses.dataclass(frozen=True)
class Quality:
    """Counts of pairs; those of several clips can be added.

    Attributes:
        links: links between masks of objects that are large in both frames.
        correct: correct ones of these links.
        pairs: true pairs of objects that are large in both frames.
        recovered: recovered ones of these pairs.
    """

    links: int = 0
    correct: int = 0
    pairs: int = 0
    recovered: int = 0

    def __add__(self, other: Quality) -> Quality:
        return Quality(
            *(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__)
        )

    @property
    def precision(self) -> float:
        """Fraction of the links that are correct."""
        return self.correct / max(1, self.links)

    @property
    def recall(self) -> float:
        """Fraction of the true pairs that are recovered."""
        return self.recovered / max(1, self.pairs)


def measure(
    images: np.ndarray,
    labels: np.ndarray,
    flow: FlowSource,
    *,
    seed: int = 0,
    damage: Damage = DEFAULT_DAMAGE,
    options: linking.Options = linking.DEFAULTS,
) -> Quality:
    """Returns the quality of the links between the degraded masks of a clip.

    Args:
        images: uint8 `[n h w 3]`.
        labels: uint8 `[n h w]`, true labels, 0 background.
        flow: source of optical flow.
        seed: of the damage.
        damage: how the true masks are degraded.
        options: of linking.
    """
    rng = np.random.default_rng(seed)
    sizes = [np.bincount(frame.ravel(), minlength=256) for frame in labels]
    truths: list[np.ndarray] = []
    quality = Quality()
    with linking.Linker(flow, options) as linker:
        for i, image in enumerate(images):
            degraded = degrade(labels[i], rng, damage)
            objects = linking.select_objects(degraded.masks, options)
            truths.append(_truth(objects, labels[i]))
            linked = linker.link(Frame(i, f"{i:06d}", image), objects)
            for steps, links in ((1, linked.links), (2, linked.bridges)):
                if i >= steps:
                    large = np.minimum(sizes[i], sizes[i - steps]) > MIN_PIXELS
                    between = truths[i - 1] if steps == 2 else ()
                    quality += count(
                        truths[i - steps], truths[i], links, large, between
                    )
    return quality


def degrade(
    labels: np.ndarray, rng: np.random.Generator, damage: Damage = DEFAULT_DAMAGE
) -> DegradedMasks:
    """Returns degraded masks of a true label map `[h w]`, 0 background."""
    masks, truth = [], []
    for label in np.unique(labels[labels > 0]).tolist():
        mask = labels == label
        iterations = int(rng.integers(damage.erosion + 1))
        is_dropped, is_split = rng.random(2) < (damage.dropped, damage.split)
        if is_dropped:
            continue
        if iterations:
            kernel = np.ones((3, 3), np.uint8)
            eroded = cv2.erode(mask.astype(np.uint8), kernel, iterations=iterations)
            mask = eroded > 0
        pieces = _halves(mask, rng) if is_split else [mask]
        masks += [piece for piece in pieces if piece.any()]
        truth += [label] * (len(masks) - len(truth))
    order = rng.permutation(len(masks))
    stack = np.array(masks, bool).reshape(-1, *labels.shape)
    return DegradedMasks(
        instances.create(stack[order]), np.array(truth, np.int64)[order]
    )


def count(
    truth_a: np.ndarray,
    truth_b: np.ndarray,
    links: np.ndarray,
    large: np.ndarray,
    between: Iterable[int],
) -> Quality:
    """Returns the counts of two frames.

    Args:
        truth_a: `[k]`, true label of each object of the earlier frame.
        truth_b: `[m]`, of the later frame.
        links: `[n 2]`.
        large: bool `[256]`, whether a true label is large in both frames.
        between: true labels that are visible in the frame between them.
    """
    first, second = truth_a[links[:, 0]], truth_b[links[:, 1]]
    same, counted = first == second, large[first] & large[second]
    shared = np.intersect1d(truth_a, truth_b)
    shared = np.setdiff1d(shared, np.array(between, np.int64))
    shared = shared[large[shared]]
    return Quality(
        links=int(counted.sum()),
        correct=int((same & counted).sum()),
        pairs=len(shared),
        recovered=int(np.isin(shared, first[same]).sum()),
    )


def _truth(objects: linking.Objects, labels: np.ndarray) -> np.ndarray:
    """Returns the true label of each object, `[k]`: masks are parts of true masks."""
    truth = np.zeros(len(objects) + 1, np.int64)
    truth[objects.owners] = labels
    return truth[1:]


def _halves(mask: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Returns both sides of a vertical cut that leaves 30 to 70 % on either side."""
    columns = np.nonzero(mask)[1]
    if not len(columns):
        return [mask]
    cut = np.quantile(columns, rng.uniform(0.3, 0.7))
    left = np.arange(mask.shape[1])[None, :] < cut
    return [mask & left, mask & ~left]
