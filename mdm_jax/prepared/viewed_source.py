"""A source seen through a view, which a build reads frame by frame.

What is small and may be wrong (calibration, poses, times, lists of labels) is read when
a source is opened, before hours of decoding.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.geometry.view import View
from mdm_jax.prepared.source_labels import SourceLabels
from mdm_jax.sources.source import Source


class Frame(NamedTuple):
    """The content of a frame.

    Attributes:
        image: uint8 RGB `[h w 3]`; None if it is broken.
        depth: float32 `[h w]`, 0 where unknown; None if the source has none.
        labels: uint8 `[h w]`, 0 where unknown; None if the source has none.
        problems: the broken files.
    """

    image: np.ndarray | None
    depth: np.ndarray | None = None
    labels: np.ndarray | None = None
    problems: tuple[DataError, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ViewedSource:
    """Consecutive frames of one camera, cropped and resized.

    Attributes:
        source: the original frames.
        view: crop and resize applied to every frame.
        original_intrinsics: `[3 3]` in pixels of the original frames; None if they have
            to be learned.
        world_from_camera: float64 `[n 4 4]`, the first at the origin; NaN if unknown.
        timestamp: float64 `[n]`, seconds; NaN if unknown.
        has_depth: whether depth is known.
        labels: instance labels; None if there are none.
    """

    source: Source
    view: View
    original_intrinsics: np.ndarray | None
    world_from_camera: np.ndarray
    timestamp: np.ndarray
    has_depth: bool
    labels: SourceLabels | None

    def __len__(self) -> int:
        return len(self.source)

    @property
    def name(self) -> str:
        """Name of the recording."""
        return self.source.name

    @property
    def intrinsics(self) -> np.ndarray | None:
        """Float32 `[3 3]` of the view; None if they have to be learned."""
        if self.original_intrinsics is None:
            return None
        return np.asarray(self.view.intrinsics(self.original_intrinsics), np.float32)

    @property
    def sequential(self) -> bool:
        """Whether reading a frame costs reading the frames before it."""
        return self.source.sequential or self.labels is not None

    @property
    def labelled(self) -> np.ndarray:
        """Bool `[n]`, whether the labels of a frame are known."""
        return (
            np.zeros(len(self), bool) if self.labels is None else self.labels.labelled
        )

    @property
    def optional(self) -> tuple[str, ...]:
        """The features of `records.OPTIONAL` that are known."""
        known = {
            "timestamp": np.isfinite(self.timestamp).any(),
            "world_from_camera": np.isfinite(self.world_from_camera).any(),
            "depth": self.has_depth,
            "instance_labels": self.labels is not None,
        }
        return tuple(name for name, has in known.items() if has)

    def fingerprint(self) -> str:
        """Returns a digest of everything that the frames depend on."""
        source = self.source
        files = (*source.files, *source.truth_files(), *source.calibration_files())
        return fingerprint.digest(
            self.name,
            len(self),
            self.view,
            self.optional,
            [self.intrinsics, self.world_from_camera, self.timestamp],
            fingerprint.file_identities(files),
            None if self.labels is None else self.labels.fingerprint(),
        )

    def frame(self, index: int) -> Frame:
        """Returns a frame; its problems name the files that are broken.

        Broken depth and labels count as unknown. If the labels of the source cannot be
        used at all, no frame has an image, and the first one names the problem.
        """
        problems: list[DataError] = []
        labels = None
        if self.labels is not None:
            try:
                labels, label_problems = self.labels.read(index)
            except DataError as error:
                return Frame(None, problems=() if index else (error,))
            problems += label_problems
        depth = self._depth(index, problems) if self.has_depth else None
        return Frame(self.image(index, problems), depth, labels, tuple(problems))

    def image(self, index: int, problems: list[DataError]) -> np.ndarray | None:
        """Returns only the image of a frame; None, with a problem, if it is broken."""
        try:
            return self.view.image(self.source.image(index))
        except DataError as error:
            problems.append(error)
            return None

    def _depth(self, index: int, problems: list[DataError]) -> np.ndarray:
        try:
            points = self.source.points(index)
            if points is not None:
                return self.view.depth(points)
        except DataError as error:
            problems.append(error)
        return np.zeros(self.view.size, np.float32)
