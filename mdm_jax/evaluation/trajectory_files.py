"""Trajectory files in the formats of KITTI and TUM.

KITTI: twelve numbers per line, the upper three rows of the 4x4 `world_from_camera`, or
thirteen with the frame number in front. TUM: `time x y z qx qy qz qw` in seconds and
metres. Lines that start with `#` are comments; commas count as spaces.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mdm_jax.files import atomic

# Rotations in files are rounded, some to three digits.
_ORTHONORMAL_TOLERANCE = 5e-3
# Lists the files that an evaluation saved in a folder, one per line.
_SAVED = ".kept"


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """The poses of a file.

    Attributes:
        path: of the file, for messages.
        poses: `world_from_camera`.
        frames: frame numbers, ascending; None if the file has none.
        times: seconds, ascending; None if the file has none.
    """

    path: str
    poses: Float[np.ndarray, "n 4 4"]
    frames: Int[np.ndarray, " n"] | None = None
    times: Float[np.ndarray, " n"] | None = None


def read_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Returns the trajectory of a file in any of the formats.

    Raises:
        ValueError: a line has another count of numbers than the first, or a value that
            is not finite; a rotation is invalid; or frames or times do not ascend.
            Names file and line.
        OSError: the file cannot be read.
    """
    lines = _Lines.read(path)
    if not lines.rows:
        raise ValueError(f"{path}: no poses; expected lines of 12, 13 or 8 numbers")
    columns = len(lines.rows[0])
    for i, row in enumerate(lines.rows):
        if len(row) != columns or columns not in (8, 12, 13):
            raise ValueError(
                f"{lines.place(i)}: got {len(row)} numbers; expected on every line 12"
                " (KITTI), 13 (KITTI with the frame number in front) or 8 (TUM)"
            )
    values = np.array(lines.rows, np.float64)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    if columns == 8:
        poses[:, :3, 3] = values[:, 1:4]
        poses[:, :3, :3] = _rotations(values[:, 4:], lines)
        lines.check_ascending(values[:, 0], "time")
        return Trajectory(str(path), poses, times=values[:, 0])
    poses[:, :3] = values[:, columns - 12 :].reshape(-1, 3, 4)
    _check_rotations(poses[:, :3, :3], lines)
    if columns == 12:
        return Trajectory(str(path), poses)
    frames = values[:, 0].astype(np.int64)
    wrong = np.flatnonzero((frames != values[:, 0]) | (frames < 0))
    if wrong.size:
        raise ValueError(
            f"{lines.place(int(wrong[0]))}: the first of 13 numbers is the frame number, a"
            f" whole number from 0 on; got {values[wrong[0], 0]:g}"
        )
    lines.check_ascending(frames, "frame")
    return Trajectory(str(path), poses, frames=frames)


def read_times(path: str | os.PathLike[str]) -> Float[np.ndarray, " n"]:
    """Returns the times of frames, seconds, from a file like KITTI's `times.txt`.

    Raises:
        ValueError: a line is not one number, or the times do not ascend.
    """
    lines = _Lines.read(path)
    for i, row in enumerate(lines.rows):
        if len(row) != 1:
            raise ValueError(f"{lines.place(i)}: expected one time, got {row}")
    times = np.array(lines.rows, np.float64).reshape(-1)
    lines.check_ascending(times, "time")
    return times


def write_kitti(
    path: str | os.PathLike[str],
    poses: Float[np.ndarray, "n 4 4"],
    *,
    frames: Sequence[int] | None = None,
):
    """Writes poses in KITTI's format, with frame numbers in front if they are given."""
    rows = [" ".join(f"{x:.9g}" for x in pose[:3].reshape(-1)) for pose in poses]
    if frames is not None:
        rows = [f"{i} {row}" for i, row in zip(frames, rows, strict=True)]
    atomic.write_text(path, "\n".join(rows) + "\n")


def write_tum(
    path: str | os.PathLike[str],
    poses: Float[np.ndarray, "n 4 4"],
    *,
    times: Sequence[float] | Float[np.ndarray, " n"],
):
    """Writes `world_from_camera` poses in TUM's format, with times in seconds."""
    rows = [
        " ".join(f"{x:.9g}" for x in (*pose[:3, 3], *_quaternion(pose[:3, :3])))
        for pose in poses
    ]
    rows = [f"{time:.6f} {row}" for time, row in zip(times, rows, strict=True)]
    atomic.write_text(path, "\n".join(rows) + "\n")


def save(
    written: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    truth: str | os.PathLike[str],
) -> None:
    """Copies a folder of trajectories, and removes those of an earlier evaluation.

    Trajectories of other drives would otherwise pass for results of this evaluation.
    Files that no evaluation saved stay.

    Args:
        written: folder of trajectory files.
        folder: to copy them to; created if missing.
        truth: the true trajectories, which must not be in `folder`.

    Raises:
        ValueError: the truth is in that folder.
        OSError: the folder cannot be written to.
    """
    folder, truth = pathlib.Path(folder), pathlib.Path(truth)
    if truth.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{folder}, where trajectories are saved, holds the truth {truth}: choose"
            " another --output"
        )
    names = sorted(
        path.relative_to(written).as_posix()
        for path in pathlib.Path(written).rglob("*.txt")
    )
    saved = folder / _SAVED
    earlier = saved.read_text(encoding="utf-8") if saved.is_file() else ""
    for name in filter(None, earlier.splitlines()):
        (folder / name).unlink(missing_ok=True)
    # Written first, so that the list is complete even if copying is interrupted.
    atomic.write_text(saved, "\n".join(names) + "\n")
    shutil.copytree(written, folder, dirs_exist_ok=True)


@dataclasses.dataclass(frozen=True)
class _Lines:
    """The numbers on each line of a file, without comments and empty lines."""

    path: str
    rows: list[list[float]]
    numbers: list[int]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> _Lines:
        lines = cls(str(path), [], [])
        text = pathlib.Path(path).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            lines.numbers.append(number)
            place = lines.place(-1)
            try:
                lines.rows.append([float(x) for x in line.replace(",", " ").split()])
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
            if not np.isfinite(lines.rows[-1]).all():
                raise ValueError(f"{place}: not finite: {line.strip()[:60]!r}")
        return lines

    def place(self, row: int) -> str:
        """Returns file and line of a row, for messages."""
        return f"{self.path}:{self.numbers[row]}"

    def check_ascending(self, values: np.ndarray, what: str):
        wrong = np.flatnonzero(np.diff(values) <= 0)
        if wrong.size:
            before, value = values[wrong[0]], values[wrong[0] + 1]
            raise ValueError(
                f"{self.place(int(wrong[0]) + 1)}: {what} {value:g} follows {before:g}; each"
                " must be greater than the one before"
            )


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Returns x, y, z, w of a rotation matrix, w not negative."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    # 4 q q^T; the row of its largest diagonal element is the most accurate.
    products = np.array(
        [
            [1 + a - e - i, b + d, c + g, h - f],
            [b + d, 1 - a + e - i, f + h, c - g],
            [c + g, f + h, 1 - a - e + i, d - b],
            [h - f, c - g, d - b, 1 + a + e + i],
        ]
    )
    row = products[np.argmax(np.diag(products))]
    unit = row / np.linalg.norm(row)
    return -unit if unit[3] < 0 else unit


def _rotations(quaternions: np.ndarray, lines: _Lines) -> np.ndarray:
    """Returns the matrices of quaternions x, y, z, w, normalised to unit length."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    wrong = np.flatnonzero(np.abs(length[:, 0] - 1) > _ORTHONORMAL_TOLERANCE)
    if wrong.size:
        raise ValueError(
            f"{lines.place(int(wrong[0]))}: a quaternion must have length 1, this one has"
            f" {length[wrong[0], 0]:.4f}"
        )
    x, y, z, w = np.moveaxis(quaternions / length, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _check_rotations(rotations: np.ndarray, lines: _Lines) -> None:
    product = rotations @ np.swapaxes(rotations, -1, -2)
    error = np.abs(product - np.eye(3)).max(axis=(-2, -1))
    wrong = (error > _ORTHONORMAL_TOLERANCE) | (np.linalg.det(rotations) < 0)
    if wrong.any():
        raise ValueError(
            f"{lines.place(int(np.argmax(wrong)))}: the 3x3 part is no rotation; expected"
            " the rows of a 3x4 world_from_camera"
        )
