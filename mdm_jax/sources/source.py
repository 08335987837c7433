"""A source: the frames that one camera recorded in one go, on disk, not yet decoded.

Opening data gives sources, which are a light index: names, files, calibration. Images,
LiDAR points and labels are read one frame at a time. Neighbouring frames of a source
are neighbours in time: where frames are missing, the reader starts another source. A
source holds paths and numbers only, so it can be pickled and sent to other processes.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mdm_jax.files import image_file, workers
from mdm_jax.files.errors import DataError
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import rigid
from mdm_jax.masks.mask_files import MaskFiles
from mdm_jax.masks.mask_set import MaskSet


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Consecutive frames of one camera; subclasses read the formats of data sets.

    Attributes:
        name: unique in the data set.
        files: for each frame the file that holds its image.
        size: (height, width) of the images.
        intrinsics: float64 `[3 3]` in pixels of these images; None where they are
            unknown and have to be learned.
        crop: fractions (top, bottom, left, right) usually cut away, such as a bonnet.
        frames_per_second: of a movie; None where unknown.
        sequence: name of the recording in list files; `name` by default.
        side: `l` or `r` of a stereo camera in list files, empty where they do not say.
        numbers: of the frames in list files; 0, 1, ... by default.
        on_error: what `images` does about a broken image: `raise`, or `skip`, which
            yields a black image in its place so that later frames keep their numbers.

    Raises:
        DataError: at construction, for intrinsics that do not fit the images.
    """

    name: str
    files: tuple[pathlib.Path, ...]
    size: tuple[int, int]
    intrinsics: np.ndarray | None
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    frames_per_second: float | None = None
    sequence: str = ""
    side: str = ""
    numbers: tuple[int, ...] = ()
    on_error: str = "raise"

    def __post_init__(self):
        object.__setattr__(self, "sequence", self.sequence or self.name)
        numbers = self.numbers or tuple(range(len(self.files)))
        object.__setattr__(self, "numbers", numbers)
        if self.intrinsics is None:
            return
        try:
            intrinsics_lib.validate(self.intrinsics, size=self.size)
        except ValueError as error:
            raise DataError(self.files[0], str(error)) from error

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> np.ndarray:
        """Returns uint8 RGB `[h w 3]` of a frame; here that of a PNG or JPEG file.

        Raises:
            DataError: the file is missing, damaged or of another size.
        """
        return image_file.read(self.files[index], size=self.size)

    def images(
        self,
        start: int = 0,
        *,
        apply: Callable[[np.ndarray], Any] = lambda image: image,
    ) -> Iterator[Any]:
        """Yields `apply(image)` of each frame from `start` on; threads read ahead.

        Raises:
            DataError: as for `image`, unless `on_error` is `skip`.
        """

        def read(index: int) -> Any:
            try:
                image = self.image(index)
            except DataError:
                if self.on_error == "raise":
                    raise
                image = np.zeros((*self.size, 3), np.uint8)
            return apply(image)

        return workers.read_ahead(lambda i: read(start + i), len(self) - start)

    def points(self, index: int) -> np.ndarray | None:
        """Returns the known depth of a frame as a list of points; None without depth.

        Float32 `[n 3]`: x and y in pixels of the image (centres at integers), z along
        the optical axis in metres. Empty where the sensor missed this one frame.

        Raises:
            DataError: an expected file is missing or damaged.
        """
        del index
        return None

    def labels(self, index: int) -> np.ndarray | None:
        """Returns uint8 `[h w]`, one value per object, 0 background; None if unknown.

        The same object may have another value in the next frame.

        Raises:
            DataError: an expected file is missing or damaged.
        """
        del index
        return None

    def labelled(self) -> list[bool]:
        """Returns for each frame whether it has labels, without decoding them.

        Raises:
            DataError: a file that lists them is damaged.
        """
        return [False] * len(self)

    def truth_files(self) -> list[pathlib.Path]:
        """Returns the files that points and labels come from, present or not."""
        return []

    def calibration_files(self) -> list[pathlib.Path]:
        """Returns the files besides `files` that determine the pixels of the images."""
        return []

    def world_from_camera(self) -> np.ndarray | None:
        """Returns float64 `[n 4 4]`, or None unless all poses are known.

        Raises:
            DataError: poses that are damaged or not rigid.
        """
        return None

    def timestamps(self) -> np.ndarray | None:
        """Returns seconds, float64 `[n]`, increasing; None where unknown.

        Raises:
            DataError: times that are damaged or do not increase.
        """
        return None

    @property
    def sequential(self) -> bool:
        """Whether reading a frame costs decoding the frames before it."""
        return False

    def counted(self, num_frames: int | None = None) -> Source:
        """Returns the source with its exact length: the header of a movie may be wrong.

        Args:
            num_frames: its length, where known; None counts the frames of a movie,
                which takes a while.
        """
        del num_frames
        return self

    @property
    def whole(self) -> Source:
        """The source that this one is a part of, or itself."""
        return self

    @property
    def start(self) -> int:
        """Index of the first frame in `whole`."""
        return 0

    @property
    def path(self) -> pathlib.Path:
        """The file that holds all frames, or the folder of the first one."""
        single = self.files[0] == self.files[-1]
        return self.files[0] if single else self.files[0].parent

    def frame_names(self) -> list[str]:
        """Returns the names of the frames: the stems of their files.

        Where a file holds several frames they are the indices of the frames in `whole`,
        `000000` and so on.

        Raises:
            ValueError: two files have the same stem.
        """
        if len(set(self.whole.files)) < len(self.whole):
            return [f"{self.start + index:06d}" for index in range(len(self))]
        names = [path.stem for path in self.files]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(
                f"{self.path}: two images are called {twice}, so it is unclear which of"
                " them masks belong to; rename one"
            )
        return names

    def open_masks(self, masks: MaskSet) -> MaskFiles:
        """Returns the masks of the frames: those of `whole` with their names.

        Raises:
            DataError: there are no masks, or some frames have none.
        """
        return masks.open(self.whole.name, self.frame_names(), size=self.size)

    def between(self, start: int, stop: int) -> Source:
        """Returns the frames from index `start` up to, not including, `stop`."""
        if (start, stop) == (0, len(self)):
            return self
        return _Part(
            name=f"{self.name}/{self.numbers[start]}",
            files=self.files[start:stop],
            size=self.size,
            intrinsics=self.intrinsics,
            crop=self.crop,
            frames_per_second=self.frames_per_second,
            sequence=self.sequence,
            side=self.side,
            numbers=self.numbers[start:stop],
            on_error=self.on_error,
            of=self,
            offset=start,
        )

    def take(self, indices: Sequence[int]) -> list[Source]:
        """Returns the frames of rising indices, a source for each run of neighbours."""
        return [
            self.between(indices[run.start], indices[run.stop - 1] + 1)
            for run in (runs(indices) if indices else [])
        ]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Part(Source):
    """Consecutive frames of another source, `of`, from its index `offset` on."""

    of: Source
    offset: int

    def image(self, index: int) -> np.ndarray:
        return self.of.image(self.offset + index)

    def images(
        self,
        start: int = 0,
        *,
        apply: Callable[[np.ndarray], Any] = lambda image: image,
    ) -> Iterator[Any]:
        if not self.sequential:
            return super().images(start, apply=apply)
        images = self.of.images(self.offset + start, apply=apply)
        return itertools.islice(images, len(self) - start)

    def points(self, index: int) -> np.ndarray | None:
        return self.of.points(self.offset + index)

    def labels(self, index: int) -> np.ndarray | None:
        return self.of.labels(self.offset + index)

    def labelled(self) -> list[bool]:
        return self.of.labelled()[self.offset : self.offset + len(self)]

    def truth_files(self) -> list[pathlib.Path]:
        return self.of.truth_files()

    def calibration_files(self) -> list[pathlib.Path]:
        return self.of.calibration_files()

    def world_from_camera(self) -> np.ndarray | None:
        return self._own(self.of.world_from_camera())

    def timestamps(self) -> np.ndarray | None:
        return self._own(self.of.timestamps())

    @property
    def sequential(self) -> bool:
        return self.of.sequential

    @property
    def whole(self) -> Source:
        return self.of.whole

    @property
    def start(self) -> int:
        return self.of.start + self.offset

    def _own(self, values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[self.offset : self.offset + len(self)]


def checked_poses(poses: np.ndarray, path: Any) -> np.ndarray:
    """Returns rigid transforms `[n 4 4]` unchanged.

    Raises:
        DataError: some are not finite or not rigid; it names the first.
    """
    # No car drives a billion metres; larger numbers overflow when multiplied.
    possible = (np.abs(poses) < 1e9).all(axis=(1, 2))
    wrong = ~(possible & rigid.is_rigid(poses))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(
            path,
            f"pose {index} of {len(poses)} is not a rigid transform (NaN, or a matrix"
            f" that does not rotate): {poses[index, :3].tolist()}",
        )
    return poses


def checked_timestamps(seconds: np.ndarray, path: Any) -> np.ndarray:
    """Returns times `[n]` unchanged.

    Raises:
        DataError: some are not finite, or not later than the one before.
    """
    wrong = ~np.isfinite(seconds)
    with np.errstate(invalid="ignore", over="ignore"):
        wrong[1:] |= ~(np.diff(seconds) > 0)
    if wrong.any():
        index = int(np.argmax(wrong))
        before = seconds[index - 1] if index else float("nan")
        raise DataError(
            path,
            f"time {index} of {len(seconds)}, {seconds[index]:.6f} s, is not later than"
            f" the one before, {before:.6f} s: are the frames in order?",
        )
    return seconds


def runs(numbers: Sequence[int]) -> list[slice]:
    """Returns the slices of rising frame numbers within which none is missing."""
    breaks = np.flatnonzero(np.diff(np.asarray(numbers)) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
