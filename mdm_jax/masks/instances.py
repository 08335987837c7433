"""What is known of the objects of one frame: masks, and what files call them.

Masks as a segmenter or a file gives them may overlap, and ids may mean something in
this frame only. Training needs label maps whose ids persist; see `labels`.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Instances:
    """The objects seen in one frame, in any order.

    Attributes:
        masks: bool `[k h w]`.
        ids: int64 `[k]`, all different; in files of tracks the same object has the same
            id in every frame.
        classes: int64 `[k]`, -1 where unknown.
        scores: float32 `[k]`, how sure the segmenter is, in [0, 1]; 1 where unknown.

    Raises:
        ValueError: at construction, if the arrays do not fit together.
    """

    masks: np.ndarray
    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    def __post_init__(self):
        masks = self.masks
        if masks.ndim != 3 or masks.dtype != np.bool_:
            raise ValueError(
                f"masks expect bool [k h w], got {masks.dtype} {list(masks.shape)}"
            )
        for name in ("ids", "classes", "scores"):
            if np.shape(getattr(self, name)) != masks.shape[:1]:
                raise ValueError(
                    f"{name} expect one value for each of {len(masks)} masks, got shape"
                    f" {list(np.shape(getattr(self, name)))}"
                )

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    @property
    def areas(self) -> np.ndarray:
        """Number of pixels of each, int64 `[k]`."""
        return np.count_nonzero(self.masks, axis=(1, 2)).astype(np.int64)

    def select(self, index: np.ndarray) -> Instances:
        """Returns some of the instances, by a bool `[k]` or by their numbers."""
        return Instances(
            self.masks[index], self.ids[index], self.classes[index], self.scores[index]
        )


def create(
    masks: np.ndarray,
    *,
    ids: np.ndarray | None = None,
    classes: np.ndarray | None = None,
    scores: np.ndarray | None = None,
) -> Instances:
    """Returns instances; ids count from 1, classes are -1 and scores 1 where not given.

    Raises:
        ValueError: the arrays do not fit together.
    """
    count = len(masks)
    return Instances(
        np.asarray(masks),
        np.asarray(np.arange(1, count + 1) if ids is None else ids, np.int64),
        np.asarray(np.full(count, -1) if classes is None else classes, np.int64),
        np.asarray(np.ones(count) if scores is None else scores, np.float32),
    )


def from_label_map(labels: np.ndarray, *, background: int = 0) -> Instances:
    """Returns the instances of an integer map `[h w]`, one for each value found.

    Args:
        labels: non-negative values.
        background: the value of pixels that belong to none.
    """
    values = present(labels)
    values = values[values != background]
    return create(labels[None] == values[:, None, None], ids=values)


def present(labels: np.ndarray) -> np.ndarray:
    """Returns the values of a non-negative integer map, int64, in order."""
    top = int(labels.max(initial=0))
    if top < 1 << 20:  # Counting is ten times as fast as sorting.
        return np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).astype(np.int64)
    return np.unique(labels).astype(np.int64)


def largest_first(instances: Instances) -> np.ndarray:
    """Returns int32 `[h w]`: 1 + the number of the instance that owns each pixel, or 0.

    Where masks overlap the larger one keeps the pixel, so that masks become disjoint
    and two masks of one object do not tear holes into it; the earlier of equal ones.
    """
    owner = np.zeros(instances.size, np.int32)
    # Painted from the smallest: the last to paint a pixel keeps it.
    for index in np.argsort(-instances.areas, kind="stable")[::-1]:
        owner[instances.masks[index]] = index + 1
    return owner
