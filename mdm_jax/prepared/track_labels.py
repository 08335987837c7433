"""Labels of a track, frame by frame: ids persist, and follow from the whole track.

They come from files of masks, or from the data set itself, whose ids may hold in one
frame only. Reading goes on from where it was left; what was opened stays behind when a
reader is sent to another process.
"""

from __future__ import annotations

import abc
import collections
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import view as view_lib
from mdm_jax.masks import labels, mask_files
from mdm_jax.recording import persistent_labels
from mdm_jax.sources.source import Source

Problems = tuple[DataError, ...]


class Unusable(Exception):
    """No frame of the track has labels: a file is broken.

    Attributes:
        error: what is wrong with it.
    """

    def __init__(self, error: DataError):
        super().__init__(error)
        self.error = error


class TrackLabels(abc.ABC):
    """The labels of the frames of a track."""

    @abc.abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, Problems]:
        """Returns uint8 `[h w]`, 0 where broken or unknown, and what is broken.

        Raises:
            Unusable: the labels of all frames are.
        """

    def identity(self) -> list[Any]:
        """Returns in JSON what they follow from, beside what the track does."""
        return []


class OfDrive(TrackLabels):
    """The labels that a data set has; objects are followed by their overlap."""

    def __init__(self, drive: Source, view: view_lib.View):
        self._drive = drive
        self._view = view
        self._following: Iterator[tuple[np.ndarray, Problems]] = iter(())
        self._next = -1

    def read(self, index: int) -> tuple[np.ndarray, Problems]:
        if not 0 <= self._next <= index:
            self._following, self._next = self._all(), 0
        found = np.zeros(self._view.size, np.uint8), ()
        while self._next <= index:
            found = next(self._following)
            self._next += 1
        return found

    def _all(self) -> Iterator[tuple[np.ndarray, Problems]]:
        met: collections.deque[Problems] = collections.deque()

        def each() -> Iterator[np.ndarray]:
            for index in range(len(self._drive)):
                problems: Problems = ()
                values = np.zeros(self._view.size, np.uint8)
                try:
                    found = self._drive.labels(index)
                    if found is not None:
                        values = self._view.labels(found)
                except DataError as error:
                    problems = (error,)
                met.append(problems)
                yield values

        for found in persistent_labels.persistent(each()):
            yield found, met.popleft()


class _Opened(NamedTuple):
    """Masks, and the number that each of their objects has in label maps."""

    masks: mask_files.MaskFiles
    numbers: Mapping[int, int]


class OfMasks(TrackLabels):
    """Labels from files of masks."""

    def __init__(
        self,
        opener: Callable[[], mask_files.MaskFiles],
        view: view_lib.View,
        *,
        name: str,
        by_content: bool,
    ):
        """Checks what can be known before anything is decoded.

        Args:
            opener: opens the masks of all frames; can be pickled.
            view: that the frames are seen through.
            name: of the track.
            by_content: their identity is that of their bytes, not of place and time:
                for files that a build makes anew.

        Raises:
            DataError: there are no masks, or none of some frames.
        """
        self._opener = opener
        self._view = view
        self._name = name
        self._by_content = by_content
        self._opened: _Opened | DataError | None = None
        self._check()

    def read(self, index: int) -> tuple[np.ndarray, Problems]:
        opened = self._opened = self._opened or self._open()
        if isinstance(opened, DataError):
            raise Unusable(opened)
        if index == len(opened.masks) - 1:
            self._opened = None  # Files of run lengths are large.
        try:
            found = labels.label_map(opened.masks.read(index), opened.numbers)
        except DataError as error:
            return np.zeros(self._view.size, np.uint8), (error,)
        return self._view.labels(found), ()

    def identity(self) -> list[Any]:
        masks = self._check()
        found = list(dict.fromkeys(masks.files))
        if not self._by_content:
            return [masks.options, fingerprint.file_identities(found)]
        return [fingerprint.content_digest(path) for path in found]

    def _open(self) -> _Opened | DataError:
        try:
            masks = self._opener()
            # All are read once before: only then the largest objects are known.
            numbers = labels.assign_labels(masks, self._name, show_progress=False)
        except DataError as error:
            return error
        return _Opened(masks, numbers)

    def _check(self) -> mask_files.MaskFiles:
        masks = self._opener()
        masks.check_tracked()
        return masks

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_opened": None}
