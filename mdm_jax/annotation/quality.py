"""How well links find what belongs together, where the truth is known.

A pair of masks is linked correctly if both are of one object. A true pair is an object
seen in two neighbouring frames, or in a frame and the next but one when its mask in
between is missing; it is recovered if any of its masks in one frame is linked with any
of its masks in the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from mdm_jax.annotation import degradation, linking
from mdm_jax.flow.video_frame import FlowSource, Frame

# Objects of fewer pixels are left out.
LARGE = 200


@dataclasses.dataclass(frozen=True)
class Quality:
    """Counts of pairs; add those of several clips.

    Attributes:
        links: between masks of objects that are large in both frames.
        correct: of them.
        pairs: true pairs of objects that are large in both frames.
        recovered: of them.
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
        """Share of the links that are correct."""
        return self.correct / max(1, self.links)

    @property
    def recall(self) -> float:
        """Share of the true pairs that are recovered."""
        return self.recovered / max(1, self.pairs)


def measure(
    images: np.ndarray,
    labels: np.ndarray,
    flow: FlowSource,
    *,
    seed: int = 0,
    damage: degradation.Damage = degradation.USUAL,
    options: linking.Options = linking.DEFAULTS,
) -> Quality:
    """Returns how well the degraded masks of a clip are linked.

    Args:
        images: uint8 `[n h w 3]`.
        labels: uint8 `[n h w]`, true, 0 background.
        flow: source of optical flow.
        seed: of the damage.
        damage: done to the true masks.
        options: of the linking.
    """
    rng = np.random.default_rng(seed)
    linker = linking.Linker(flow, options)
    sizes = [np.bincount(frame.ravel(), minlength=256) for frame in labels]
    truths: list[np.ndarray] = []
    quality = Quality()
    try:
        for i, image in enumerate(images):
            degraded = degradation.degrade(labels[i], rng, damage)
            objects = linking.keep(degraded.found, options)
            truths.append(_truth(objects, labels[i]))
            found = linker.link(Frame(i, f"{i:06d}", image), objects)
            for back, links in enumerate(found, start=1):
                if i >= back:
                    large = np.minimum(sizes[i], sizes[i - back]) > LARGE
                    skipped = truths[i - 1] if back == 2 else ()
                    quality += _count(
                        truths[i - back], truths[i], links, large, skipped
                    )
    finally:
        linker.close()
    return quality


def _truth(objects: linking.Objects, labels: np.ndarray) -> np.ndarray:
    """Returns the true label of each object, `[k]`: their masks are parts of true ones."""
    truth = np.zeros(len(objects) + 1, np.int64)
    truth[objects.owners] = labels
    return truth[1:]


def _count(
    one: np.ndarray,
    other: np.ndarray,
    links: np.ndarray,
    large: np.ndarray,
    skipped: Iterable[int],
) -> Quality:
    first, second = one[links[:, 0]], other[links[:, 1]]
    same, counted = first == second, large[first] & large[second]
    shared = np.setdiff1d(np.intersect1d(one, other), np.array(skipped, np.int64))
    shared = shared[large[shared]]
    return Quality(
        links=int(counted.sum()),
        correct=int((same & counted).sum()),
        pairs=len(shared),
        recovered=int(np.isin(shared, first[same]).sum()),
    )
