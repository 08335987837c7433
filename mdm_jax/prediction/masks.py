"""Instance labels of the frames that are predicted, from mask files, frame by frame.

Methods know objects by 8-bit labels; files number them otherwise. Each object keeps its
label as long as it is seen at all often: when labels run out, that of the object not
seen for longest goes to the next.
"""

from __future__ import annotations

import collections
from typing import NamedTuple

import ml_collections
import numpy as np
from absl import logging

from mdm_jax import methods
from mdm_jax.geometry.view import View
from mdm_jax.masks import mask_files, mask_set
from mdm_jax.prediction import frames
from mdm_jax.sources.source import Source

_NUM_LABELS = 255


class Labelled(NamedTuple):
    """The objects of a frame.

    Attributes:
        labels: uint8 `[h w]`, 0 for background.
        ids: int64 `[256]`, the number in the file of the object of each label.
    """

    labels: np.ndarray
    ids: np.ndarray


class FrameLabels:
    """Gives the labels of frames, which must be asked for in order."""

    def __init__(self, masks: mask_files.MaskFiles, view: View):
        self._masks = masks
        self._view = view
        # By when they were last seen, longest ago first.
        self._label_of: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._ids = np.zeros(_NUM_LABELS + 1, np.int64)

    def __call__(self, index: int) -> Labelled:
        """Returns the objects of a frame, at the view's size."""
        found = self._masks.read(index)
        labels = np.zeros(found.size, np.uint8)
        for mask, number in zip(found.masks, found.ids, strict=True):
            labels[mask] = self._label(int(number))
        return Labelled(self._view.labels(labels), self._ids.copy())

    def _label(self, number: int) -> int:
        if number not in self._label_of:
            if len(self._label_of) < _NUM_LABELS:
                label = len(self._label_of) + 1
            else:
                _, label = self._label_of.popitem(last=False)
            self._label_of[number] = label
            self._ids[label] = number
        self._label_of.move_to_end(number)
        return self._label_of[number]


def open_labels(
    specification: str,
    config: ml_collections.ConfigDict,
    source: Source,
    view: View,
    *,
    alone: bool = True,
) -> FrameLabels | None:
    """Returns the labels of a source's frames; None where no masks are named.

    Args:
        specification: folder or file of masks, see `mask_files`; empty for none.
        config: of the run.
        source: of the frames.
        view: of them.
        alone: there is no other source.

    Raises:
        DataError: there are no masks there, or not of all frames.
    """
    if not specification:
        if methods.create(config).needs_labels:
            logging.warning(
                "No masks: all that moves is taken for background, and no object is"
                " told apart; give --masks (python -m mdm_jax.annotate makes them)"
            )
        return None
    masks = mask_set.MaskSet(root=specification, alone=alone).open(
        source.name,
        # The header of a movie may be wrong, and every frame needs a mask.
        frames.names(source.counted()),
        size=source.size,
    )
    masks.check_tracked()
    return FrameLabels(masks, view)
