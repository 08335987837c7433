"""Which object of one frame is which of another: masks moved by flow and compared.

Objects of a frame are given by an *owner map*, integer `[h w]`: 1 + the number of the
object that owns a pixel, 0 without one. So masks are disjoint, and the table of all
overlaps is one count over pixels, however many objects there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from mdm_jax.flow import flow_field

Array = np.ndarray

# Both IoUs of a match exceed this (Lee et al. 2019, section 3.4).
THRESHOLD = 0.5
# One mask is a part of another: so much of it lies inside, and it is so large a part.
_MIN_CONTAINMENT = 0.8
_MIN_IOU = 0.15


class Overlap(NamedTuple):
    """How the `k` objects of frame a overlap with the `m` of b, as seen from a.

    Attributes:
        common: `[k m]`, pixels of both.
        one: `[k]`, pixels of each object of a.
        other: `[m]`, pixels of each object of b, moved to a.
    """

    common: Array
    one: Array
    other: Array

    @property
    def iou(self) -> Array:
        """Intersection over union, `[k m]`; 0 where there is nothing."""
        union = self.one[:, None] + self.other[None, :] - self.common
        return self.common / np.maximum(union, 1)

    @property
    def containment(self) -> Array:
        """Intersection over the smaller of both, `[k m]`; 0 where there is nothing."""
        smaller = np.minimum(self.one[:, None], self.other[None, :])
        return self.common / np.maximum(smaller, 1)


def overlap(
    owners_a: Integer[Array, "h w"],
    owners_b: Integer[Array, "h w"],
    forward: Float[Array, "h w 2"],
    visible: Bool[Array, "h w"],
    *,
    counts: tuple[int, int],
) -> Overlap:
    """Returns the overlaps of a's objects with b's, moved to a, where both are seen.

    Args:
        owners_a: owner map of frame a.
        owners_b: of frame b.
        forward: f_ab.
        visible: pixels of a that are compared, see `flow.consistent`.
        counts: numbers of objects, k and m.
    """
    num_a, num_b = counts
    moved = flow_field.labels_through(forward, owners_b)
    pairs = owners_a[visible].astype(np.int64) * (num_b + 1) + moved[visible]
    table = np.bincount(pairs, minlength=(num_a + 1) * (num_b + 1))
    table = table.reshape(num_a + 1, num_b + 1)
    return Overlap(table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0))


class Views(NamedTuple):
    """One comparison of two frames, as seen from either."""

    from_a: Overlap
    from_b: Overlap


def match(
    seen: Views, every: Views, *, threshold: float = THRESHOLD, lenient: bool = True
) -> Integer[Array, "n 2"]:
    """Returns the matches (object of a, object of b), in order of the former.

    Each object is the one that the other overlaps best with, seen from its own frame,
    and both IoUs exceed the threshold (Lee et al. 2019). Lenient, two kinds of pairs are
    added, among what has no match yet: masks of which one holds nearly all of the other,
    because it fell apart, shrank, or leaves the image; and masks that match in all
    pixels but are hardly seen in both frames as far as the flow can tell.

    Args:
        seen: overlaps of what is seen in both frames.
        every: overlaps of all pixels.
        threshold: of the IoU.
        lenient: False for the paper's matches alone.
    """
    num_a, num_b = seen.from_a.common.shape
    partner = np.full(num_a, -1)
    tests = [(seen.from_a.iou, seen.from_b.iou, seen, 0.0)]
    if lenient:
        tests.append((seen.from_a.iou, seen.from_b.iou, seen, _MIN_CONTAINMENT))
        tests.append((every.from_a.iou, every.from_b.iou, every, 0.0))
    for iou_ab, iou_ba, views, containment in tests:
        free_a = partner < 0
        free_b = ~np.isin(np.arange(num_b), partner)
        free = free_a[:, None] & free_b[None, :]
        least = threshold
        if containment:
            least = _MIN_IOU
            inside = np.minimum(views.from_a.containment, views.from_b.containment.T)
            free &= inside > containment
        pairs = mutual_best(
            np.where(free, iou_ab, 0), np.where(free.T, iou_ba, 0), threshold=least
        )
        partner[pairs[:, 0]] = pairs[:, 1]
    found = np.flatnonzero(partner >= 0)
    return np.stack([found, partner[found]], axis=1)


def mutual_best(
    iou_ab: Float[Array, "k m"],
    iou_ba: Float[Array, "m k"],
    *,
    threshold: float = THRESHOLD,
) -> Integer[Array, "n 2"]:
    """Returns the matches (object of a, object of b), in order of the former.

    Each is the one that the other overlaps best with, seen from its own frame, and both
    IoUs exceed the threshold.
    """
    num_a, num_b = iou_ab.shape
    if not num_a or not num_b:
        return np.zeros((0, 2), np.int64)
    one = np.arange(num_a)
    best_b, best_a = iou_ab.argmax(axis=1), iou_ba.argmax(axis=1)
    kept = best_a[best_b] == one
    kept &= np.minimum(iou_ab[one, best_b], iou_ba[best_b, one]) > threshold
    return np.stack([one[kept], best_b[kept]], axis=1)
