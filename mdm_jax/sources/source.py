"""A source: consecutive frames of one camera on disk, not yet decoded.

A source is a light index with names, files and calibration, which can be pickled and
sent to other processes. Images, LiDAR points and labels are read one frame at a time.
Consecutive frames of a source are consecutive in time: where frames are missing, the
reader starts a new source.
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
        name: unique name in the data set.
        files: the file with the image of each frame.
        size: (height, width) of the images.
        intrinsics: float64 `[3 3]` in pixels of these images; None if they are unknown
            and have to be learned.
        crop: fractions (top, bottom, left, right) that are usually cut off, such as a
            bonnet.
        frames_per_second: frame rate of a movie; None if unknown.
        sequence: name of the recording in list files; `name` by default.
        side: `l` or `r` for a stereo camera in list files; empty otherwise.
        numbers: frame numbers in list files; 0, 1, ... by default.
        on_error: how `images` handles a broken image: `raise`, or `skip`, which yields
            a black image instead, so that later frames keep their numbers.

    Raises:
        DataError: at construction, if the intrinsics do not fit the images.
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
        """Returns uint8 RGB `[h w 3]`; by default, the frame is a PNG or JPEG file.

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
        """Yields `apply(image)` for each frame from `start` on; threads read ahead.

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
        """Returns the measured depth of a frame as points; None without depth.

        Float32 `[n 3]`: x and y in pixels of the image (centres at integers), z along
        the optical axis in metres. Empty if the sensor missed this frame.

        Raises:
            DataError: an expected file is missing or damaged.
        """
        del index
        return None

    def labels(self, index: int) -> np.ndarray | None:
        """Returns uint8 `[h w]`, one value per object, 0 background; None if unknown.

        Values need not persist from frame to frame.

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
        """Returns the files of points and labels, whether or not they exist."""
        return []

    def calibration_files(self) -> list[pathlib.Path]:
        """Returns the files besides `files` that determine the pixels of the images."""
        return []

    def world_from_camera(self) -> np.ndarray | None:
        """Returns float64 `[n 4 4]`; None unless all poses are known.

        Raises:
            DataError: the poses are damaged or not rigid.
        """
        return None

    def timestamps(self) -> np.ndarray | None:
        """Returns increasing times in seconds, float64 `[n]`; None if unknown.

        Raises:
            DataError: the times are damaged or do not increase.
        """
        return None

    @property
    def sequential(self) -> bool:
        """Whether reading a frame requires decoding the frames before it."""
        return False

    def counted(self, num_frames: int | None = None) -> Source:
        """Returns the source with its exact length, as headers of movies may be wrong.

        Args:
            num_frames: the length, if known; None counts the frames of a movie, which
                is slow.
        """
        del num_frames
        return self

    @property
    def whole(self) -> Source:
        """The source that this source is a part of, or itself."""
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

        If files contain several frames, the names are the frame indices in `whole`,
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
        """Returns one source for each run of consecutive indices, which increase."""
        return [
            self.between(indices[run.start], indices[run.stop - 1] + 1)
            for run in (runs(indices) if indices else [])
        ]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Part(Source):
    """Consecutive frames of another source, `of`, starting at its index `offset`."""

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
        DataError: a transform is not finite or not rigid; the error names the first.
    """
    # No drive is a billion metres long, and larger numbers overflow when multiplied.
    possible = (np.abs(poses) < 1e9).all(axis=(1, 2))
    wrong = ~(possible & rigid.is_rigid(poses))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(
            path,
            f"pose {index} of {len(poses)} is not a rigid transform (NaN, or not a"
            f" rotation): {poses[index, :3].tolist()}",
        )
    return poses


def checked_timestamps(seconds: np.ndarray, path: Any) -> np.ndarray:
    """Returns times `[n]` unchanged.

    Raises:
        DataError: a time is not finite, or not later than the previous one.
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
            f" the previous one, {before:.6f} s: are the frames in order?",
        )
    return seconds


def runs(numbers: Sequence[int]) -> list[slice]:
    """Returns the slices of increasing frame numbers that have no gaps."""
    breaks = np.flatnonzero(np.diff(np.asarray(numbers)) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
