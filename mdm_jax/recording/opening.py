"""Sources become recordings: frames of one size, memory mapped, with the truth.

Frames are decoded, cropped and resized once into the frame cache; depth and labels,
where wanted, into files beside it. A frame that cannot be read ends a recording, and
the next begins after it, so that neighbours in a recording stay neighbours in time.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files import array_cache, file_content, fingerprint, workers
from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import view as view_lib
from mdm_jax.geometry.view import View
from mdm_jax.masks import labels as mask_labels
from mdm_jax.masks.mask_set import MaskSet
from mdm_jax.recording import persistent_labels
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import intrinsics_file
from mdm_jax.sources import source as source_lib
from mdm_jax.sources.source import Source

_VERSION = 2  # increase it when the same files must give other arrays


def open_recordings(
    sources: Sequence[Source],
    *,
    size: tuple[int, int],
    crop: Sequence[float] | None = None,
    fit: str = "crop",
    intrinsics: str = "",
    with_poses: bool = True,
    with_depth: bool = False,
    with_labels: bool = False,
    masks: MaskSet | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    problems: Problems | None = None,
) -> list[Recording]:
    """Returns the recordings of sources at a size, with what is known about them.

    Args:
        sources: what to decode.
        size: (height, width) of the frames.
        crop: fractions (top, bottom, left, right) to cut away first; None for the usual
            ones of the data set.
        fit: `crop` crops the rest about its centre to the aspect ratio of `size`;
            `stretch` keeps all of it.
        intrinsics: of the original frames, as `intrinsics_file` explains; empty for
            those of the sources. Known depth is still projected with the latter.
        with_poses: whether to read camera poses.
        with_depth: whether to lay out known depth; costs four bytes a pixel on disk.
        with_labels: whether to lay out instance labels, with ids that persist, of the
            recordings all of whose frames have them.
        masks: files of labels that replace those of the data set; those of a source are
            found by its name, those of a frame by `Source.frame_names`.
        cache_dir: folder of decoded frames; None or empty for one in the user's cache.
        problems: what to do about broken files; None stops at the first. When skipping,
            a broken image splits a recording, broken depth or labels of a frame count
            as unknown, and broken poses or times leave out the source.

    Raises:
        DataError: a broken file.
        ValueError: a crop or size that leaves nothing; intrinsics that do not fit.
        OSError: the cache cannot be written, or there is no file of intrinsics.
    """
    problems = problems or Problems()
    directory = pathlib.Path(cache_dir or array_cache.default_directory())
    recordings: list[Recording] = []
    for source in sources:
        view = view_lib.FITS[fit](
            source.size, size, source.crop if crop is None else crop
        )
        matrix = intrinsics_file.of_source(source, intrinsics)
        opening = _Opening(
            dataclasses.replace(source, on_error=problems.on_error),
            view,
            None if matrix is None else view.intrinsics(matrix),
            directory,
            problems,
        )
        with problems.caught():
            recordings += opening.recordings(
                with_poses=with_poses,
                with_depth=with_depth,
                with_labels=with_labels,
                masks=masks,
            )
    return recordings


def check_masks(source: Source, masks: MaskSet):
    """Checks, before anything is decoded, that a source has masks."""
    if source.sequential:  # Its length is not known yet.
        masks.find(source.whole.name)
    else:
        source.open_masks(masks)


@dataclasses.dataclass
class _Opening:
    """Makes the recordings of one source."""

    source: Source
    view: View
    intrinsics: np.ndarray | None
    directory: pathlib.Path
    problems: Problems

    def recordings(
        self,
        *,
        with_poses: bool,
        with_depth: bool,
        with_labels: bool,
        masks: MaskSet | None,
    ) -> list[Recording]:
        # What is small and may be wrong comes before hours of decoding.
        poses = poses_from_start(self.source) if with_poses else None
        self.source.timestamps()
        if masks is not None:
            check_masks(self.source, masks)
        frames = self._frames()
        self.source = self.source.counted(len(frames))
        readable = self._readable(frames)
        depth = self._depth(frames) if with_depth and has_points(self.source) else None
        labels, labelled = None, np.zeros(len(frames), bool)
        if masks is not None:
            labels, labelled = self._labels_of(masks, frames), ~labelled
        elif with_labels:
            labelled = np.array(self.source.labelled())
            labels = self._labels(frames) if labelled.any() else None
        runs = source_lib.runs(readable) if readable else []
        return [
            Recording(
                self.source.name
                if len(runs) == 1
                else f"{self.source.name}/{readable[run.start]}",
                _part(frames, readable[run]),
                intrinsics=self.intrinsics,
                depth=None if depth is None else _part(depth, readable[run]),
                world_from_camera=None if poses is None else poses[readable[run]],
                instance_labels=None
                if labels is None or not labelled[readable[run]].all()
                else _part(labels, readable[run]),
                source=self.source.between(readable[run.start], readable[run][-1] + 1),
                view=self.view,
            )
            for run in runs
        ]

    def _frames(self) -> np.memmap:
        """Returns uint8 `[n h w 3]`; broken images are black when skipping."""
        source = self.source
        files = image_files(source)
        key = fingerprint.digest(
            _VERSION,
            fingerprint.file_identities((*files, *source.calibration_files())),
            (source.name, source.numbers[0], len(source), self.view),
        )
        shape = (*self.view.size, 3)
        entry = array_cache.Entry(
            self.directory, source.name, "frames", key, shape, np.uint8, len(source)
        )
        return array_cache.cached(entry, source.images(apply=self.view.image))

    def _readable(self, frames: np.ndarray) -> list[int]:
        """Returns the frames of a cache that are images, and reports the others.

        A broken frame was stored black. Black frames are read again, to tell broken
        from dark ones; there are few. A movie has no broken frames: it ends there.
        """
        if self.source.sequential:
            return list(range(len(frames)))
        readable = []
        for index in range(len(frames)):
            if not frames[index, 0].any() and not frames[index].any():
                try:
                    self.source.image(index)
                except DataError as error:
                    self.problems.report(error)
                    continue
            readable.append(index)
        return readable

    def _depth(self, frames: np.memmap) -> np.memmap:
        """Returns float32 `[n h w]`; broken depth is 0, unknown, and counted."""

        def read(index: int) -> np.ndarray:
            with self.problems.caught():
                points = self.source.points(index)
                if points is not None:
                    return self.view.depth(points)
            return np.zeros(self.view.size, np.float32)

        maps = workers.read_ahead(read, len(self.source))
        return array_cache.cached(self._entry("depth", np.float32, frames), maps)

    def _labels(self, frames: np.memmap) -> np.memmap:
        """Returns uint8 `[n h w]` with persistent ids; 0 where broken or unknown."""

        def read(index: int) -> np.ndarray:
            with self.problems.caught():
                labels = self.source.labels(index)
                if labels is not None:
                    return self.view.labels(labels)
            return np.zeros(self.view.size, np.uint8)

        maps = persistent_labels.persistent(workers.read_ahead(read, len(self.source)))
        return array_cache.cached(self._entry("labels", np.uint8, frames), maps)

    def _entry(self, kind: str, dtype: type, frames: np.memmap) -> array_cache.Entry:
        """Returns the cache entry of the depth or labels that belong to frames."""
        source = self.source
        key = fingerprint.digest(
            _VERSION,
            kind,
            pathlib.Path(str(frames.filename)).name,  # Depends on images and view.
            self.problems.on_error,  # What is broken is left unknown when skipped.
            fingerprint.file_identities(
                (*source.truth_files(), *source.calibration_files())
            ),
            _calibration(source),
        )
        return array_cache.Entry(
            self.directory, source.name, kind, key, self.view.size, dtype, len(source)
        )

    def _labels_of(self, masks: MaskSet, frames: np.memmap) -> np.memmap:
        """Returns uint8 `[n h w]` from files of masks."""
        return mask_labels.cached(
            self.source.open_masks(masks),
            frames,
            name=self.source.name,
            view=self.view.labels,
        )


def image_files(source: Source) -> list[pathlib.Path]:
    """Returns the image files of a source that exist.

    Raises:
        DataError: there are none.
    """
    files = [path for path in dict.fromkeys(source.files) if file_content.exists(path)]
    if not files:
        raise DataError(
            source.files[0],
            f"none of the {len(source)} images of {source.name} is there",
        )
    return files


def poses_from_start(source: Source) -> np.ndarray | None:
    """Returns `world_from_camera` with the world's origin at the first camera.

    Only motion matters, and coordinates of many kilometres are imprecise in float32.
    """
    poses = source.world_from_camera()
    if poses is None:
        return None
    return poses - np.pad(poses[0, :3, 3:], ((0, 1), (3, 0)))[None]


def has_points(source: Source) -> bool:
    """Returns whether a source has known depth, judging by its first frame."""
    try:
        return source.points(0) is not None
    except DataError:
        return True  # There is depth, but that of this frame is broken.


def _part(maps: np.memmap, indices: Sequence[int]) -> np.ndarray:
    """Returns consecutive frames of a cached array."""
    return array_cache.part(maps, indices[0], indices[-1] + 1)


def _calibration(source: Source) -> list[Any]:
    """Returns the numbers of a source by which its laser points are projected."""
    values = {
        field.name: getattr(source, field.name) for field in dataclasses.fields(source)
    }
    return [
        (name, _calibration(value) if isinstance(value, Source) else value)
        for name, value in values.items()
        if isinstance(value, np.ndarray | float | Source)
    ]
