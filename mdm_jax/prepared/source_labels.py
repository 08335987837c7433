"""Instance labels of a source, frame by frame, with ids that persist."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.geometry.view import View
from mdm_jax.masks import labels as labels_lib
from mdm_jax.masks.mask_files import MaskFiles
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.recording import persistent_labels
from mdm_jax.sources.source import Source

# uint8 `[h w]`, 0 where unknown, and the broken files.
Labels = tuple[np.ndarray, tuple[DataError, ...]]


class SourceLabels:
    """The labels of a source, from mask files or from its data set.

    The labels of a data set may hold in one frame only; its objects are followed by the
    overlap of their masks. Labels depend on the whole source and are read in order;
    pickling leaves open files behind.

    Attributes:
        labelled: bool `[n]`, whether the labels of a frame are known.
    """

    def __init__(
        self,
        source: Source,
        view: View,
        masks: MaskSet | None = None,
        *,
        by_content: bool = False,
    ):
        """Checks everything that can be checked without decoding.

        Args:
            source: the frames.
            view: crop and resize applied to every frame.
            masks: mask files; None for the labels of the data set.
            by_content: whether the fingerprint is that of the content of mask files
                instead of path and time: for files that the build itself makes.

        Raises:
            DataError: there are no masks, some frames have none, or ids do not persist.
        """
        self._source = source
        self._view = view
        self._masks = masks
        self._by_content = by_content
        self._next, self._labels = -1, iter(())
        self._error: DataError | None = None
        if masks is None:
            self.labelled = np.array(source.labelled())
        else:
            self.labelled = np.ones(len(source), bool)
            self._open(masks).check_tracked()

    def read(self, index: int) -> Labels:
        """Returns the labels of a frame.

        Raises:
            DataError: the labels of all frames are unusable.
        """
        if self._error is None:
            if index != self._next:
                self._labels = self._from(index)
            self._next = index + 1
            try:
                labels = next(self._labels)
                if self._next == len(self._source):
                    self._labels = iter(())  # Run-length files are large.
                return labels
            except DataError as error:
                self._error = error
        raise self._error

    def fingerprint(self) -> str:
        """Returns a digest of the mask files."""
        if self._masks is None:
            return ""
        masks = self._open(self._masks)
        if self._by_content:
            paths = dict.fromkeys(masks.files)
            return fingerprint.digest(*map(fingerprint.content_digest, paths))
        files = fingerprint.file_identities(masks.files)
        return fingerprint.digest(masks.options, files)

    def _open(self, masks: MaskSet) -> MaskFiles:
        return self._source.open_masks(masks)

    def _from(self, start: int) -> Iterator[Labels]:
        """Yields the labels from a frame on."""
        if self._masks is None:
            yield from itertools.islice(self._followed(), start, None)
            return
        masks = self._open(self._masks)
        # This reads all masks: the labels go to the largest objects.
        name = self._source.name
        numbers = labels_lib.assign_labels(masks, name, show_progress=False)
        for index in range(start, len(masks)):
            try:
                labels = labels_lib.label_map(masks.read(index), numbers)
                viewed = self._view.labels(labels), ()
            except DataError as error:
                viewed = np.zeros(self._view.size, np.uint8), (error,)
            yield viewed

    def _followed(self) -> Iterator[Labels]:
        """Yields the labels of the data set with ids that persist."""
        problems: collections.deque[tuple[DataError, ...]] = collections.deque()

        def maps() -> Iterator[np.ndarray]:
            for index in range(len(self._source)):
                errors: tuple[DataError, ...] = ()
                viewed = np.zeros(self._view.size, np.uint8)
                try:
                    labels = self._source.labels(index)
                    if labels is not None:
                        viewed = self._view.labels(labels)
                except DataError as error:
                    errors = (error,)
                problems.append(errors)
                yield viewed

        for labels in persistent_labels.persistent(maps()):
            yield labels, problems.popleft()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_next": -1, "_labels": iter(())}
