"""Matches the objects of two frames: masks are warped by optical flow and compared.

The objects of a frame are given by an owner map, integer `[h w]`: 1 + the index of the
object that owns a pixel, 0 where no object does. Masks are thus disjoint, and one count
over pixels gives the overlaps of all pairs of objects.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Integer

from mdm_jax.flow import flow_field

Array = np.ndarray

# Both IoUs of a match exceed this (Lee et al. 2019, section 3.4).
THRESHOLD = 0.5
# A mask is part of another if this fraction of it lies inside, at this IoU at least.
_MIN_CONTAINMENT = 0.8
_MIN_IOU = 0.15


class Overlap(NamedTuple):
    """Overlaps of the `k` objects of frame a with the `m` objects of b, in frame a.

    Attributes:
        common: `[k m]`, pixels that both cover.
        area_a: `[k]`, pixels of each object of a.
        area_b: `[m]`, pixels of each object of b, warped to a.
    """

    common: Array
    area_a: Array
    area_b: Array

    @property
    def iou(self) -> Array:
        """Intersection over union, `[k m]`; 0 for empty masks."""
        union = self.area_a[:, None] + self.area_b[None, :] - self.common
        return self.common / np.maximum(union, 1)

    @property
    def containment(self) -> Array:
        """Intersection over the smaller of both areas, `[k m]`; 0 for empty masks."""
        smaller = np.minimum(self.area_a[:, None], self.area_b[None, :])
        return self.common / np.maximum(smaller, 1)


def overlap(
    owners_a: Integer[Array, "h w"],
    owners_b: Integer[Array, "h w"],
    forward: Float[Array, "h w 2"],
    visible: Bool[Array, "h w"],
    *,
    counts: tuple[int, int],
) -> Overlap:
    """Returns the overlaps of a's objects with b's, warped to a.

    Args:
        owners_a: owner map of frame a.
        owners_b: owner map of frame b.
        forward: flow f_ab.
        visible: pixels of a to compare, see `flow_field.consistent`.
        counts: numbers of objects, k and m.
    """
    num_a, num_b = counts
    warped = flow_field.labels_through(forward, owners_b)
    pairs = owners_a[visible].astype(np.int64) * (num_b + 1) + warped[visible]
    table = np.bincount(pairs, minlength=(num_a + 1) * (num_b + 1))
    table = table.reshape(num_a + 1, num_b + 1)
    return Overlap(table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0))


class Views(NamedTuple):
    """The overlaps of two frames, computed in each of them."""

    in_a: Overlap
    in_b: Overlap


def match(
    visible: Views,
    all_pixels: Views,
    *,
    threshold: float = THRESHOLD,
    lenient: bool = True,
) -> Integer[Array, "n 2"]:
    """Returns pairs (object of a, object of b), sorted by the former.

    Two objects match if each overlaps the other best, seen from its own frame, and both
    IoUs exceed the threshold (Lee et al. 2019). The lenient mode adds two kinds of pairs
    among unmatched objects: a mask that contains nearly all of the other, because the
    object fell apart, shrank or leaves the image; and masks that match over all pixels
    although the flow finds few of their pixels visible in both frames.

    Args:
        visible: overlaps of the pixels visible in both frames.
        all_pixels: overlaps of all pixels.
        threshold: of the IoU.
        lenient: False for the matches of the paper only.
    """
    num_a, num_b = visible.in_a.common.shape
    partner = np.full(num_a, -1)
    passes = [(visible, threshold, False)]
    if lenient:
        passes += [(visible, _MIN_IOU, True), (all_pixels, threshold, False)]
    for views, min_iou, parts_only in passes:
        free_a = partner < 0
        free_b = ~np.isin(np.arange(num_b), partner)
        allowed = free_a[:, None] & free_b[None, :]
        if parts_only:
            inside = np.minimum(views.in_a.containment, views.in_b.containment.T)
            allowed &= inside > _MIN_CONTAINMENT
        pairs = mutual_best(
            np.where(allowed, views.in_a.iou, 0),
            np.where(allowed.T, views.in_b.iou, 0),
            threshold=min_iou,
        )
        partner[pairs[:, 0]] = pairs[:, 1]
    matched = np.flatnonzero(partner >= 0)
    return np.stack([matched, partner[matched]], axis=1)


def mutual_best(
    iou_ab: Float[Array, "k m"],
    iou_ba: Float[Array, "m k"],
    *,
    threshold: float = THRESHOLD,
) -> Integer[Array, "n 2"]:
    """Returns pairs (object of a, object of b), sorted by the former.

    Each overlaps the other best, seen from its own frame, and both IoUs exceed the
    threshold.
    """
    num_a, num_b = iou_ab.shape
    if not num_a or not num_b:
        return np.zeros((0, 2), np.int64)
    index_a = np.arange(num_a)
    best_b, best_a = iou_ab.argmax(axis=1), iou_ba.argmax(axis=1)
    matched = best_a[best_b] == index_a
    ious = np.minimum(iou_ab[index_a, best_b], iou_ba[best_b, index_a])
    matched &= ious > threshold
    return np.stack([index_a[matched], best_b[matched]], axis=1)
