"""Trajectories in files, in the forms of KITTI and TUM.

KITTI: twelve numbers a line, the upper three rows of the 4x4 `world_from_camera`;
thirteen where the frame's number stands in front. TUM: `time x y z qx qy qz qw`, seconds
and metres. Lines that start with `#` are comments; commas count as blanks.
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
# Names the files that an evaluation kept in a folder, a line each.
_KEPT = ".kept"


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of a file.

    Attributes:
        path: of the file, for messages.
        poses: `world_from_camera`.
        frames: the frames' numbers, ascending; None where the file has none.
        times: seconds, ascending; None where the file has none.
    """

    path: str
    poses: Float[np.ndarray, "n 4 4"]
    frames: Int[np.ndarray, " n"] | None = None
    times: Float[np.ndarray, " n"] | None = None


def read_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Returns the trajectory of a file, of whichever form.

    Raises:
        ValueError: a line has another number of values than the first, or one that is
            no number or not finite; a rotation is none; frames or times do not ascend.
            Names file and line.
        OSError: the file cannot be read.
    """
    path = pathlib.Path(path)
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            rows.append(_numbers(line, f"{path}:{number}"))
            lines.append(number)
    if not rows:
        raise ValueError(f"{path}: no poses; expected lines of 12, 13 or 8 numbers")
    columns = len(rows[0])
    for row, number in zip(rows, lines, strict=True):
        if len(row) != columns or columns not in (8, 12, 13):
            raise ValueError(
                f"{path}:{number}: got {len(row)} numbers; expected on every line 12"
                " (KITTI), 13 (KITTI behind the frame's number) or 8 (TUM)"
            )
    values = np.array(rows, np.float64)
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    if columns == 8:
        poses[:, :3, 3] = values[:, 1:4]
        poses[:, :3, :3] = _rotations(values[:, 4:], path, lines)
        _check_ascending(values[:, 0], "time", path, lines)
        return Trajectory(str(path), poses, times=values[:, 0])
    poses[:, :3] = values[:, columns - 12 :].reshape(-1, 3, 4)
    _check_rotations(poses[:, :3, :3], path, lines)
    if columns == 12:
        return Trajectory(str(path), poses)
    frames = values[:, 0].astype(np.int64)
    wrong = np.flatnonzero((frames != values[:, 0]) | (frames < 0))
    if wrong.size:
        got = values[wrong[0], 0]
        raise ValueError(
            f"{path}:{lines[wrong[0]]}: the first of 13 numbers is the frame's, a whole"
            f" number from 0 on; got {got:g}"
        )
    _check_ascending(frames, "frame", path, lines)
    return Trajectory(str(path), poses, frames=frames)


def read_times(path: str | os.PathLike[str]) -> Float[np.ndarray, " n"]:
    """Returns the times of the frames, seconds, as in the `times.txt` of KITTI.

    Raises:
        ValueError: a line is not one number, or times do not ascend.
    """
    path = pathlib.Path(path)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            rows.append(_numbers(line, f"{path}:{number}"))
            if len(rows[-1]) != 1:
                raise ValueError(f"{path}:{number}: expected one time, got {line!r}")
    times = np.array(rows, np.float64).reshape(-1)
    _check_ascending(times, "time", path, list(range(1, len(times) + 1)))
    return times


def write_kitti(
    path: str | os.PathLike[str],
    poses: Float[np.ndarray, "n 4 4"],
    *,
    frames: Sequence[int] | None = None,
):
    """Writes poses in KITTI's form, behind the frames' numbers where these are given."""
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
    """Writes poses in TUM's form.

    Args:
        path: of the file.
        poses: `world_from_camera`.
        times: seconds.
    """
    rows = [
        " ".join(f"{x:.9g}" for x in (*pose[:3, 3], *_quaternion(pose[:3, :3])))
        for pose in poses
    ]
    rows = [f"{time:.6f} {row}" for time, row in zip(times, rows, strict=True)]
    atomic.write_text(path, "\n".join(rows) + "\n")


def keep(
    written: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    truth: str | os.PathLike[str],
) -> None:
    """Copies a folder of trajectories over those of an earlier evaluation.

    Of these none is left: of other drives, or of a drive that had another name, they
    would pass for results of this evaluation. What else is in the folder stays.

    Args:
        written: with files of trajectories.
        folder: where they are kept; is made where it is missing.
        truth: what they are measured by.

    Raises:
        ValueError: the truth is in that folder.
        OSError: the folder cannot be written to.
    """
    folder, truth = pathlib.Path(folder), pathlib.Path(truth)
    if truth.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{folder}, where trajectories are kept, holds the truth {truth}: choose"
            " another --output"
        )
    names = sorted(
        path.relative_to(written).as_posix()
        for path in pathlib.Path(written).rglob("*.txt")
    )
    kept = folder / _KEPT
    earlier = kept.read_text(encoding="utf-8") if kept.is_file() else ""
    for old in filter(None, earlier.splitlines()):
        (folder / old).unlink(missing_ok=True)
    # First, so that all that is there is named, wherever this is interrupted.
    atomic.write_text(kept, "\n".join(names) + "\n")
    shutil.copytree(written, folder, dirs_exist_ok=True)


def _quaternion(rotation: np.ndarray) -> np.ndarray:
    """Returns x, y, z, w of a rotation matrix, w not negative."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    # 4 q q^T, of which the row of the largest element is the most exact.
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


def _numbers(line: str, place: str) -> list[float]:
    try:
        values = [float(word) for word in line.replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{place}: a value is not finite: {line.strip()[:60]!r}")
    return values


def _rotations(
    quaternions: np.ndarray, path: pathlib.Path, lines: Sequence[int]
) -> np.ndarray:
    """Returns the matrices of quaternions x, y, z, w, which get unit length."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    wrong = np.flatnonzero(np.abs(length[:, 0] - 1) > _ORTHONORMAL_TOLERANCE)
    if wrong.size:
        raise ValueError(
            f"{path}:{lines[wrong[0]]}: a quaternion has length 1, this one"
            f" {length[wrong[0], 0]:.4f}"
        )
    x, y, z, w = np.moveaxis(quaternions / length, -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def _check_rotations(
    rotations: np.ndarray, path: pathlib.Path, lines: Sequence[int]
) -> None:
    product = rotations @ np.swapaxes(rotations, -1, -2)
    error = np.abs(product - np.eye(3)).max(axis=(-2, -1))
    wrong = (error > _ORTHONORMAL_TOLERANCE) | (np.linalg.det(rotations) < 0)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{path}:{lines[first]}: the 3x3 part is no rotation; expected the rows of"
            " a 3x4 world_from_camera"
        )


def _check_ascending(
    values: np.ndarray, what: str, path: pathlib.Path, lines: Sequence[int]
) -> None:
    wrong = np.flatnonzero(np.diff(values) <= 0)
    if wrong.size:
        raise ValueError(
            f"{path}:{lines[wrong[0] + 1]}: {what} {values[wrong[0] + 1]:g} follows"
            f" {values[wrong[0]]:g}; each must be greater than the one before"
        )
