"""8-bit instance labels of the predicted frames, from mask files.

Mask files number objects arbitrarily. An object keeps its label from frame to frame;
when all 255 labels are taken, a new object gets that of the object not seen for longest.
"""

from __future__ import annotations

import collections

import numpy as np

from mdm_jax.geometry.view import View
from mdm_jax.masks import mask_files, mask_set
from mdm_jax.prediction import inputs
from mdm_jax.prediction.inputs import Labelled
from mdm_jax.sources.source import Source

_NUM_LABELS = 255


class FrameLabels:
    """Reads the labels of frames, which must be read in order."""

    def __init__(self, masks: mask_files.MaskFiles, view: View):
        self._masks = masks
        self._view = view
        # In the order in which the objects were last seen, longest ago first.
        self._label_of: collections.OrderedDict[int, int] = collections.OrderedDict()
        self._ids = np.zeros(_NUM_LABELS + 1, np.int64)

    def __call__(self, index: int) -> Labelled:
        """Returns the objects of a frame, in the view's size."""
        instances = self._masks.read(index)
        labels = np.zeros(instances.size, np.uint8)
        for mask, number in zip(instances.masks, instances.ids, strict=True):
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
    specification: str, source: Source, view: View, *, alone: bool = True
) -> FrameLabels:
    """Returns the labels of a source's frames.

    Args:
        specification: folder or file of masks, see `mask_set.MaskSet`.
        source: of the frames.
        view: crop and resize applied to every frame.
        alone: whether the source is the only one.

    Raises:
        DataError: frames have no masks, or the masks are not tracked.
    """
    # The header of a movie may be wrong, and every frame needs a mask.
    names = inputs.frame_names(source.counted())
    masks = mask_set.MaskSet(root=specification, alone=alone).open(
        source.name, names, size=source.size
    )
    masks.check_tracked()
    return FrameLabels(masks, view)
