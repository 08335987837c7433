"""A drive: what one camera recorded in one go, on disk, before anything is decoded.

Opening a data set gives its drives, a light index: names, places, calibration. Images,
LiDAR points and labels are read one frame at a time. Neighbouring frames of a drive are
neighbours in time: where frames are missing, the reader starts another drive.
A drive holds paths and numbers only, so that it can be sent to other processes.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files.errors import DataError
from mdm_jax.geometry import intrinsics as intrinsics_lib


@dataclasses.dataclass(frozen=True, eq=False)
class Drive(abc.ABC):
    """Consecutive frames of one camera; readers say how each thing is read.

    Attributes:
        name: unique in the data set.
        files: for each frame the file that its image is in.
        size: (height, width) of the images.
        intrinsics: float64 `[3 3]`, in pixels of these images.
        crop: fractions (top, bottom, left, right) usually cut away, such as a bonnet.
        sequence: what list files call the recording; the name unless told.
        side: `l` or `r` of a stereo camera in list files, empty where they do not say.
        numbers: of the frames in list files; 0, 1, ... unless told.

    Raises:
        DataError: at construction, for intrinsics that do not fit the images.
    """

    name: str
    files: tuple[pathlib.Path, ...]
    size: tuple[int, int]
    intrinsics: np.ndarray
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    sequence: str = ""
    side: str = ""
    numbers: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "sequence", self.sequence or self.name)
        numbers = self.numbers or tuple(range(len(self.files)))
        object.__setattr__(self, "numbers", numbers)
        try:
            intrinsics_lib.validate(self.intrinsics, size=self.size)
        except ValueError as error:
            raise DataError(self.files[0], str(error)) from error

    def __len__(self) -> int:
        return len(self.files)

    @abc.abstractmethod
    def image(self, index: int) -> np.ndarray:
        """Returns uint8 RGB `[h w 3]` of a frame.

        Raises:
            DataError: the file is missing, damaged or of another size.
        """

    def points(self, index: int) -> np.ndarray | None:
        """Returns the frame's known depth as a list of points; None if there is none.

        Float32 `[n 3]`: x and y in pixels of the image (centres at integers), z along
        the optical axis in metres. Empty where the sensor missed this one frame.

        Raises:
            DataError: a file that should be there is missing or damaged.
        """
        del index
        return None

    def labels(self, index: int) -> np.ndarray | None:
        """Returns uint8 `[h w]`, one value per object, 0 background; None if unknown.

        The same object may have another value in the next frame.

        Raises:
            DataError: a file that should be there is missing or damaged.
        """
        del index
        return None

    def labelled(self) -> list[bool]:
        """Returns for each frame whether its labels are there, without decoding them.

        Raises:
            DataError: a file that should tell is damaged.
        """
        return [False] * len(self)

    def truth_files(self) -> list[pathlib.Path]:
        """Returns the files that points and labels come from, present or not."""
        return []

    def calibration_files(self) -> list[pathlib.Path]:
        """Returns the files beside `files` that the pixels of images follow from."""
        return []

    def world_from_camera(self) -> np.ndarray | None:
        """Returns float64 `[n 4 4]`, or None where the poses are not all known.

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


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Part(Drive):
    """Consecutive frames of another drive.

    Attributes:
        whole: the other drive.
        start: its first frame that is taken.
    """

    whole: Drive
    start: int

    def image(self, index: int) -> np.ndarray:
        return self.whole.image(self.start + index)

    def points(self, index: int) -> np.ndarray | None:
        return self.whole.points(self.start + index)

    def labels(self, index: int) -> np.ndarray | None:
        return self.whole.labels(self.start + index)

    def labelled(self) -> list[bool]:
        return self.whole.labelled()[self.start : self.start + len(self)]

    def truth_files(self) -> list[pathlib.Path]:
        return self.whole.truth_files()

    def calibration_files(self) -> list[pathlib.Path]:
        return self.whole.calibration_files()

    def world_from_camera(self) -> np.ndarray | None:
        return self._taken(self.whole.world_from_camera())

    def timestamps(self) -> np.ndarray | None:
        return self._taken(self.whole.timestamps())

    def _taken(self, values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[self.start : self.start + len(self)]


def take(drive: Drive, indices: Sequence[int]) -> list[Drive]:
    """Returns frames of a drive, as a drive for each run of neighbours.

    Args:
        drive: the whole.
        indices: of its frames, rising.
    """
    if len(indices) == len(drive):
        return [drive]
    parts: list[Drive] = []
    for run in runs(indices) if indices else []:
        start = indices[run.start]
        taken = slice(start, start + run.stop - run.start)
        parts.append(
            Part(
                name=f"{drive.name}/{drive.numbers[start]}",
                files=drive.files[taken],
                size=drive.size,
                intrinsics=drive.intrinsics,
                crop=drive.crop,
                sequence=drive.sequence,
                side=drive.side,
                numbers=drive.numbers[taken],
                whole=drive,
                start=start,
            )
        )
    return parts


def origin(drive: Drive) -> tuple[Drive, int]:
    """Returns the drive that a part was taken of, and which of its frames is first."""
    start = 0
    while isinstance(drive, Part):
        drive, start = drive.whole, start + drive.start
    return drive, start


def checked_poses(poses: np.ndarray, path: Any) -> np.ndarray:
    """Returns rigid transforms `[n 4 4]` as they are.

    Raises:
        DataError: some are not finite or not rigid; it names the first.
    """
    # No car drives a billion metres; what is larger overflows when multiplied.
    finite = np.all(np.abs(poses) < 1e9, axis=(1, 2))
    rotation = np.where(finite[:, None, None], poses, 0.0)[:, :3, :3]
    product = rotation @ np.swapaxes(rotation, 1, 2)
    # As exact as `Recording` wants them; files keep six digits and more.
    orthonormal = np.abs(product - np.eye(3)).max(axis=(1, 2)) < 1e-4
    last_row = np.all(poses[:, 3] == np.array([[0, 0, 0, 1.0]]), axis=1)
    rigid = finite & orthonormal & last_row & (np.linalg.det(rotation) > 0)
    wrong = np.asarray(~rigid)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(
            path,
            f"pose {index} of {len(poses)} is not a rigid transform (NaN, or a matrix"
            f" that does not rotate): {poses[index, :3].tolist()}",
        )
    return poses


def checked_timestamps(seconds: np.ndarray, path: Any) -> np.ndarray:
    """Returns times `[n]` as they are.

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


def frame_names(drive: Drive) -> list[str]:
    """Returns the names of the frames of a drive: those of its image files.

    If a file holds many images, they are the frame numbers in the original drive,
    `000000` and so on.
    """
    # List files and splits cut drives, but files of masks are of the original drive.
    whole, start = origin(drive)
    if len(set(whole.files)) < len(whole):
        return [f"{start + index:06d}" for index in range(len(drive))]
    return [path.stem for path in drive.files]


def runs(numbers: Sequence[int]) -> list[slice]:
    """Returns the slices of rising frame numbers within which none is missing."""
    breaks = np.flatnonzero(np.diff(np.asarray(numbers)) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
