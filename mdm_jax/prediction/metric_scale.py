"""Metres per predicted unit: one factor for a recording, and its spread.

A single camera sees shapes, not sizes. The scale needs one known measurement: the
height of the camera above the ground, its speed, or the depth of a few points. Each
frame (or point) gives an estimate of the factor s in `metres = s * predicted`; the
result is their median, stated with its quartiles. A recording has one factor, because
one that changed from frame to frame would hide that the predicted scale drifts.

Ground: with n the unit normal of a plane at distance h from the camera, points X = D r
(r the ray at depth 1) satisfy `n . D r = h`, so `1 / D = m . r` with `m = n / h`. Inverse
depth is linear in the ray, and the height is `1 / |m|`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging

from mdm_jax.prediction.predicted import Predicted
from mdm_jax.prediction.request import Request

# The ground is sought in this fraction of the rows, from below, in this fraction of the
# columns, and from this fraction of the height below the optical axis on.
_LOWER = 0.35
_MIDDLE = 0.7
_BELOW_AXIS = 0.1
# Number of pixels used, and of planes through three of them that are tried.
_MAX_POINTS = 2000
_TRIALS = 100
# A pixel is on the plane if its inverse depth differs by less than this fraction.
_TOLERANCE = 0.1
# A plane is the ground if this fraction of the pixels is on it, and it faces upwards.
_MIN_INLIERS = 0.4
_MAX_TILT = np.radians(25)
# Quartiles further apart than this fraction of the median make the factor doubtful.
_WIDE = 0.5


@dataclasses.dataclass(frozen=True)
class MetricScale:
    """Metres per predicted unit.

    Attributes:
        factor: median of the estimates.
        lower: their lower quartile.
        upper: their upper quartile.
        num_estimates: number of estimates that succeeded.
        num_candidates: number of frames or points tried.
        known: the measurement it follows from, in words.
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


def estimate(recording: Predicted, request: Request) -> MetricScale | None:
    """Returns metres per unit, or None if the request contains no measurement.

    Raises:
        ValueError: no estimate succeeds, or they need something that is not given.
    """
    if request.camera_height is not None:
        height = request.camera_height
        estimates = (height / h for h in _camera_heights(recording))
        return summarize(estimates, known=f"a camera {height:g} m above the ground")
    if request.speed is not None:
        estimates = _speed_estimates(recording, str(request.speed))
        return summarize(estimates, known=f"the camera's speed ({request.speed})")
    if request.depths is not None:
        estimates = _depth_estimates(recording, request.depths)
        return summarize(estimates, known=f"the depths in {request.depths}")
    return None


def _camera_heights(recording: Predicted) -> Iterator[float]:
    for name in recording.names:
        maps = recording.store.read(name, "depth", "intrinsics")
        intrinsics = maps.get("intrinsics", recording.intrinsics)
        if intrinsics is None:
            raise ValueError("--camera_height needs intrinsics: give --intrinsics")
        height = camera_height(maps["depth"], np.asarray(intrinsics, np.float64))
        yield height if height > 0 else np.nan


def _speed_estimates(recording: Predicted, speed: str) -> np.ndarray:
    if recording.seconds_per_pair is None:
        raise ValueError("--speed needs the frame rate: give --fps")
    read = (recording.store.read(name, "translation") for name in recording.names)
    steps = np.array(
        [np.linalg.norm(maps["translation"]) for maps in read if "translation" in maps]
    )
    if not steps.size or not steps.max() > 0:
        raise ValueError("--speed needs camera motion, and none is predicted")
    speeds = read_speeds(speed, len(steps))
    return speed_estimates(steps, speeds, seconds_per_step=recording.seconds_per_pair)


def _depth_estimates(recording: Predicted, path: str) -> np.ndarray:
    known = read_known_depths(path)
    frames, last = known[:, 0].astype(int), len(recording.names) - 1
    if (frames != known[:, 0]).any() or frames.min() < 0 or frames.max() > last:
        raise ValueError(
            f"{path}: expected frame numbers from 0 to {last}, got"
            f" {known[:, 0].min():g} to {known[:, 0].max():g}"
        )
    names, view, estimates = list(recording.names), recording.view, []
    for frame in sorted(set(frames.tolist())):
        depth = recording.store.read(names[int(frame)], "depth")["depth"]
        for _, u, v, metres in known[frames == frame]:
            x, y, _ = view.pixels(np.array([[u, v, metres]]))[0]
            row, column = round(y), round(x)
            inside = 0 <= row < view.size[0] and 0 <= column < view.size[1]
            estimates.append(metres / depth[row, column] if inside else np.nan)
    return np.array(estimates)


def summarize(estimates: Iterable[float], *, known: str) -> MetricScale:
    """Returns the median of estimates, of which NaN marks those that failed.

    Raises:
        ValueError: all failed.
    """
    values = np.array(list(estimates), np.float64)
    good = values[np.isfinite(values) & (values > 0)]
    if not good.size:
        raise ValueError(
            f"no metric scale follows from {known}: none of {values.size} estimates"
            " succeeded; leave it out for relative depth, or give another measurement"
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

    It is that of the plane on which most pixels of the lower part of the image lie, so
    that cars do no harm. NaN if that plane is too small or too steep for the ground.

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
    if on_plane.mean() < _MIN_INLIERS:
        return np.nan
    plane = _fitted(ray, inverse, on_plane)
    distance = 1.0 / max(float(np.linalg.norm(plane)), 1e-20)
    # y points down, to the ground: n = (0, 1, 0) for a level camera.
    level = float(plane[1]) * distance
    return distance if level > np.cos(_MAX_TILT) else np.nan


def speed_estimates(
    steps: np.ndarray, speeds: np.ndarray, *, seconds_per_step: float
) -> np.ndarray:
    """Returns metres per unit of each step, NaN where the camera hardly moved.

    Args:
        steps: `[n]`, predicted lengths.
        speeds: `[n]` or `[1]`, metres per second.
        seconds_per_step: time between the two frames of a pair.
    """
    distance = np.broadcast_to(speeds, steps.shape) * seconds_per_step
    still = (distance < 0.01 * np.max(distance)) | (steps < 1e-6 * np.max(steps))
    return np.where(still, np.nan, distance / np.where(still, 1.0, steps))


def read_speeds(text: str, count: int) -> np.ndarray:
    """Returns speeds in metres per second, `[1]` or `[count]`.

    Args:
        text: a number, or a file with one number per line and frame.
        count: number of pairs of frames.

    Raises:
        ValueError: it is neither, or a speed is negative.
    """
    try:
        speeds = np.array([float(text)])
    except ValueError:
        path = pathlib.Path(text).expanduser()
        if not path.is_file():
            raise ValueError(
                f"--speed={text} is neither a number (metres per second) nor a file"
            ) from None
        speeds = _numbers(path, (1,), "one speed per line, metres per second")[:, 0]
        if len(speeds) < count:
            raise ValueError(
                f"{path} has {len(speeds)} speeds for {count} frames; give one per line"
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
        ValueError: the file contains anything else.
    """
    values = _numbers(
        pathlib.Path(path).expanduser(),
        (3, 4),
        "lines `u v depth` or `frame u v depth`",
    )
    if values.shape[1] == 3:
        values = np.column_stack([np.zeros(len(values)), values])
    if not (values[:, 3] > 0).all():
        raise ValueError(
            f"{path}: expected depths above 0 metres, got {values[:, 3].min()}"
        )
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
    """Returns which points lie on the plane with the most points, bool `[n]`."""
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
    """Returns the plane fitted to points, without outliers."""
    plane = np.zeros(3)
    for _ in range(3):
        plane, *_ = np.linalg.lstsq(ray[on_plane], inverse[on_plane], rcond=None)
        error = np.abs(ray @ plane - inverse) / inverse
        typical = np.median(error[on_plane])
        on_plane = error < np.clip(3 * typical, 1e-3, _TOLERANCE)
    return plane
