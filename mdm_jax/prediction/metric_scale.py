"""From depth in an unknown unit to metres: one factor for a recording, and its spread.

A single camera sees shapes, not sizes. Something else must be known: how high the
camera is above the ground, how fast it moves, or the depth of a few points. Each frame
(or point) gives an estimate of the factor s in `metres = s * predicted`; the median is
taken, and the quartiles are stated. A recording has one factor: one that changed from
frame to frame would hide that the predictions' own scale drifts.

Ground: with n the unit normal of a plane at distance h from the camera, points X = D r
(r the ray at depth 1) obey `n . D r = h`, so `1 / D = m . r` with `m = n / h`. Inverse
depth is linear in the ray, and the height is `1 / |m|`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np
from absl import logging

# Share of the image, from below, and of its middle columns, that the ground is sought in;
# and how far below the optical axis that begins at the earliest, as a share of the height.
_LOWER = 0.35
_BELOW_AXIS = 0.1
_MIDDLE = 0.7
# At most so many pixels are looked at, and so many planes through three of them tried.
_MAX_POINTS = 2000
_TRIALS = 100
# A pixel is on the plane where inverse depth is off by less than this share.
_TOLERANCE = 0.1
# A plane is the ground if so many of the pixels are on it, and it faces upwards.
_LEAST_SHARE = 0.4
_LARGEST_TILT = np.radians(25)
# Quartiles this far apart, as a share of the median, make the factor doubtful.
_WIDE = 0.5


@dataclasses.dataclass(frozen=True)
class MetricScale:
    """Metres per predicted unit.

    Attributes:
        factor: median of the estimates.
        lower: their lower quartile.
        upper: their upper quartile.
        num_estimates: how many there are.
        num_candidates: how many frames or points were tried.
        known: what it follows from, for people.
    """

    factor: float
    lower: float
    upper: float
    num_estimates: int
    num_candidates: int
    known: str

    def description(self) -> str:
        """Returns a sentence with the factor and its spread."""
        spread = (self.upper - self.lower) / self.factor
        return (
            f"1 unit = {self.factor:.4g} m, from {self.known}: median of"
            f" {self.num_estimates} estimates ({self.num_candidates} tried), half of"
            f" them between {self.lower:.4g} and {self.upper:.4g} ({spread:.0%} wide)"
        )


def summarize(estimates: Iterable[float], *, known: str) -> MetricScale:
    """Returns the factor that estimates agree on; NaN stands for one that failed.

    Raises:
        ValueError: all failed.
    """
    values = np.array(list(estimates), np.float64)
    good = values[np.isfinite(values) & (values > 0)]
    if not good.size:
        raise ValueError(
            f"no metric scale follows from {known}: none of {values.size} estimates"
            " succeeded; leave it out for relative depth, or give something else that"
            " is known"
        )
    lower, median, upper = np.percentile(good, [25, 50, 75])
    result = MetricScale(
        float(median), float(lower), float(upper), good.size, values.size, known
    )
    if (upper - lower) / median > _WIDE or good.size < 0.5 * values.size:
        logging.warning("The metric scale is doubtful: %s", result.description())
    return result


def camera_height(depth: np.ndarray, intrinsics: np.ndarray) -> float:
    """Returns the camera's height above the ground in the depth's unit, or NaN.

    The plane that most pixels of the image's lower part agree on is fitted, so that
    cars in it do no harm; if it is not large or not level enough, there is none.

    Args:
        depth: `[h w]`.
        intrinsics: `[3 3]` in pixels of the depth map.
    """
    height, width = depth.shape
    margin = round(0.5 * (1 - _MIDDLE) * width)
    top = max((1 - _LOWER) * height, intrinsics[1, 2] + _BELOW_AXIS * height)
    rows, columns = np.mgrid[round(top) : height, margin : width - margin]
    rows, columns = rows.ravel(), columns.ravel()
    step = max(1, len(rows) // _MAX_POINTS)
    rows, columns = rows[::step], columns[::step]
    if len(rows) < 3:
        return np.nan
    ray = np.stack(
        [
            (columns - intrinsics[0, 2]) / intrinsics[0, 0],
            (rows - intrinsics[1, 2]) / intrinsics[1, 1],
            np.ones(len(rows)),
        ],
        axis=-1,
    )
    inverse = 1.0 / depth[rows, columns].astype(np.float64)
    on_plane = _largest_plane(ray, inverse)
    if on_plane.mean() < _LEAST_SHARE:
        return np.nan
    plane = _fitted(ray, inverse, on_plane)
    distance = 1.0 / max(float(np.linalg.norm(plane)), 1e-20)
    # y points down, to the ground: n = (0, 1, 0) for a camera held level.
    level = float(plane[1]) * distance
    return distance if level > np.cos(_LARGEST_TILT) else np.nan


def step_length(translation: np.ndarray) -> float:
    """Returns how far the camera moved, in the depth's unit."""
    return float(np.linalg.norm(translation))


def speed_estimates(
    steps: np.ndarray, speeds: np.ndarray, *, seconds_per_step: float
) -> np.ndarray:
    """Returns metres per unit of each step, NaN where the camera hardly moved.

    Args:
        steps: `[n]`, predicted lengths.
        speeds: `[n]` or `[1]`, metres per second.
        seconds_per_step: between the frames of a pair.
    """
    distance = np.broadcast_to(speeds, steps.shape) * seconds_per_step
    still = (distance < 0.01 * np.max(distance)) | (steps < 1e-6 * np.max(steps))
    return np.where(still, np.nan, distance / np.where(still, 1.0, steps))


def read_speeds(text: str, count: int) -> np.ndarray:
    """Returns speeds in metres per second, `[1]` or `[count]`.

    Args:
        text: a number, or a file with one number a line for each frame.
        count: of the frames that have a partner.

    Raises:
        ValueError: it is neither.
    """
    try:
        speeds = np.array([float(text)])
    except ValueError:
        path = pathlib.Path(text).expanduser()
        if not path.is_file():
            raise ValueError(
                f"--speed={text} is neither a number (metres per second) nor a file"
            ) from None
        speeds = _numbers(path, (1,), "one speed a line, metres per second")[:, 0]
        if len(speeds) < count:
            raise ValueError(
                f"{path} has {len(speeds)} speeds for {count} frames; give one a line"
            ) from None
        speeds = speeds[:count]
    if not (speeds >= 0).all() or not speeds.max() > 0:
        raise ValueError(f"--speed={text} expects speeds above 0 metres per second")
    return speeds


def read_known_depths(path: str) -> np.ndarray:
    """Returns `[n 4]`: frame, u, v (original pixels) and depth in metres.

    Args:
        path: of a text file with lines `u v depth`, of the first frame, or
            `frame u v depth`, frames counted from 0.

    Raises:
        ValueError: the file holds something else.
    """
    values = _numbers(
        pathlib.Path(path).expanduser(),
        (3, 4),
        "lines `u v depth` or `frame u v depth`",
    )
    if values.shape[1] == 3:
        values = np.column_stack([np.zeros(len(values)), values])
    if not (values[:, 3] > 0).all():
        raise ValueError(f"{path}: depths are above 0 metres, got {values[:, 3].min()}")
    return values


def _numbers(path: pathlib.Path, columns: tuple[int, ...], expected: str) -> np.ndarray:
    try:
        text = path.read_text(encoding="utf-8").replace(",", " ")
        lines = [line.partition("#")[0].split() for line in text.splitlines()]
        values = np.array([[float(w) for w in line] for line in lines if line])
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected {expected}, got {error}") from error
    if values.ndim != 2 or values.shape[1] not in columns:
        raise ValueError(f"{path}: expected {expected}, got shape {list(values.shape)}")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: expected {expected}, got a value that is not finite")
    return values


def _largest_plane(ray: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Returns which points, bool `[n]`, are on the plane that has the most of them."""
    rng = np.random.default_rng(0)
    triples = rng.integers(0, len(ray), (_TRIALS, 3))
    matrices = ray[triples]
    proper = np.abs(np.linalg.det(matrices)) > 1e-9
    if not proper.any():
        return np.zeros(len(ray), bool)
    planes = np.linalg.solve(matrices[proper], inverse[triples[proper]][..., None])
    error = np.abs(planes[..., 0] @ ray.T - inverse)
    on_plane = error < _TOLERANCE * inverse
    return on_plane[np.argmax(on_plane.sum(axis=1))]


def _fitted(ray: np.ndarray, inverse: np.ndarray, on_plane: np.ndarray) -> np.ndarray:
    """Returns the plane through points, without those that are off by far more."""
    plane = np.zeros(3)
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(ray[on_plane], inverse[on_plane], rcond=None)
        error = np.abs(ray @ plane - inverse) / inverse
        typical = np.median(error[on_plane])
        on_plane = error < np.clip(3 * typical, 1e-3, _TOLERANCE)
    return plane
