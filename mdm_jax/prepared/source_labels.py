"""Instance labels of a source, frame by frame, with ids that persist.

They come from mask files, or from the data set itself, whose ids may hold in one frame
only. Labels depend on the whole source, and are read in order. Pickled labels leave
their open files behind.
"""

from __future__ import annotations

import abc
import collections
from collections.abc import Iterator, Mapping
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


class SourceLabels(abc.ABC):
    """The labels of a source.

    Attributes:
        labelled: bool `[n]`, whether the labels of a frame are known.
    """

    labelled: np.ndarray

    @abc.abstractmethod
    def read(self, index: int) -> Labels:
        """Returns the labels of a frame.

        Raises:
            DataError: the labels of all frames are unusable.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Returns a digest of the files of the labels, beyond those of the source."""


class OwnLabels(SourceLabels):
    """The labels of a data set; objects are followed by the overlap of their masks."""

    def __init__(self, source: Source, view: View):
        self.labelled = np.array(source.labelled())
        self._source = source
        self._view = view
        self._labels: Iterator[Labels] = iter(())
        self._next = -1

    def read(self, index: int) -> Labels:
        if not 0 <= self._next <= index:
            self._labels, self._next = self._all(), 0
        labels = next(self._labels)
        while self._next < index:
            labels = next(self._labels)
            self._next += 1
        self._next += 1
        return labels

    def fingerprint(self) -> str:
        return ""

    def _all(self) -> Iterator[Labels]:
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
        return {**vars(self), "_labels": iter(()), "_next": -1}


class MaskLabels(SourceLabels):
    """Labels from mask files."""

    def __init__(self, source: Source, view: View, masks: MaskSet, *, by_content: bool):
        """Checks everything that can be checked without decoding.

        Args:
            source: the frames.
            view: crop and resize applied to every frame.
            masks: the mask files.
            by_content: whether the fingerprint is that of the content of the files
                instead of path and time: for files that the build itself makes.

        Raises:
            DataError: there are no masks, some frames have none, or ids do not persist.
        """
        self.labelled = np.ones(len(source), bool)
        self._source = source
        self._view = view
        self._masks = masks
        self._by_content = by_content
        self._opened: tuple[MaskFiles, Mapping[int, int]] | DataError | None = None
        self._open().check_tracked()

    def read(self, index: int) -> Labels:
        if self._opened is None:
            self._opened = self._assigned()
        if isinstance(self._opened, DataError):
            raise self._opened
        masks, numbers = self._opened
        if index == len(masks) - 1:
            self._opened = None  # Run-length files are large.
        try:
            labels = labels_lib.label_map(masks.read(index), numbers)
        except DataError as error:
            return np.zeros(self._view.size, np.uint8), (error,)
        return self._view.labels(labels), ()

    def fingerprint(self) -> str:
        masks = self._open()
        if not self._by_content:
            files = fingerprint.file_identities(masks.files)
            return fingerprint.digest(masks.options, files)
        paths = dict.fromkeys(masks.files)
        return fingerprint.digest([fingerprint.content_digest(path) for path in paths])

    def _open(self) -> MaskFiles:
        return self._source.open_masks(self._masks)

    def _assigned(self) -> tuple[MaskFiles, Mapping[int, int]] | DataError:
        """Returns the masks with the label of each object, or why there are none."""
        try:
            masks = self._open()
            # This reads all masks: the labels go to the largest objects.
            numbers = labels_lib.assign_labels(
                masks, self._source.name, show_progress=False
            )
        except DataError as error:
            return error
        return masks, numbers

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}
