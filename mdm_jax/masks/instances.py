"""The objects of one frame: masks with ids, classes and scores.

Masks of a segmenter or a file may overlap, and ids may be valid in this frame only.
Training needs label maps whose ids persist over a video; see `labels`.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Instances:
    """The objects of one frame, in any order.

    Attributes:
        masks: bool `[k h w]`.
        ids: int64 `[k]`, unique; tracked masks use one id for an object in all frames.
        classes: int64 `[k]`, -1 where unknown.
        scores: float32 `[k]`, confidence of the segmenter in [0, 1]; 1 where unknown.

    Raises:
        ValueError: at construction, if the shapes of the arrays disagree.
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
        """Number of pixels of each mask, int64 `[k]`."""
        return np.count_nonzero(self.masks, axis=(1, 2)).astype(np.int64)

    def select(self, index: np.ndarray) -> Instances:
        """Returns a subset, given by a bool array `[k]` or by indices."""
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
    """Returns instances; by default ids are 1, 2, ..., classes -1 and scores 1.

    Raises:
        ValueError: the shapes of the arrays disagree.
    """
    count = len(masks)
    return Instances(
        np.asarray(masks),
        np.asarray(np.arange(1, count + 1) if ids is None else ids, np.int64),
        np.asarray(np.full(count, -1) if classes is None else classes, np.int64),
        np.asarray(np.ones(count) if scores is None else scores, np.float32),
    )


def from_label_map(labels: np.ndarray, *, background: int = 0) -> Instances:
    """Returns the instances of an integer map `[h w]`, one for each value.

    Args:
        labels: non-negative values.
        background: value of pixels without an object.
    """
    values = unique_labels(labels)
    values = values[values != background]
    return create(labels[None] == values[:, None, None], ids=values)


def unique_labels(labels: np.ndarray) -> np.ndarray:
    """Returns the sorted unique values of a non-negative integer map, int64."""
    if int(labels.max(initial=0)) < 1 << 20:  # Counting is ten times faster.
        return np.flatnonzero(np.bincount(labels.ravel(), minlength=1)).astype(np.int64)
    return np.unique(labels).astype(np.int64)


def resolve_overlaps(instances: Instances) -> np.ndarray:
    """Returns the owner map, int32 `[h w]`: 1 + the index of a pixel's instance, or 0.

    Where masks overlap the larger one owns the pixel (the earlier one of equal size),
    so that two masks of one object do not tear holes into it.
    """
    owners = np.zeros(instances.size, np.int32)
    # From the smallest to the largest: the last mask to paint a pixel owns it.
    for index in np.argsort(-instances.areas, kind="stable")[::-1]:
        owners[instances.masks[index]] = index + 1
    return owners
