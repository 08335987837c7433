"""What is known of a recording's scale, put to its predicted frames.

See `metric_scale` for the estimates; here they are collected from the stored frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mdm_jax.geometry.view import View
from mdm_jax.prediction import metric_scale
from mdm_jax.prediction.metric_scale import MetricScale
from mdm_jax.prediction.store import Store


@dataclasses.dataclass(frozen=True)
class Known:
    """What a user knows; at most one of the fields.

    Attributes:
        camera_height: above the ground, metres.
        speed: metres per second, or a file with one speed a line.
        depths: a file of single depths.
    """

    camera_height: float | None = None
    speed: str | None = None
    depths: str | None = None

    def __post_init__(self):
        given = [k for k, v in dataclasses.asdict(self).items() if v is not None]
        if len(given) > 1:
            raise ValueError(
                "the scale follows from one known thing, got"
                f" {' and '.join('--' + name for name in given)}: leave out all but one"
            )
        if self.camera_height is not None and not self.camera_height > 0:
            raise ValueError(
                f"--camera_height expects metres above 0, got {self.camera_height}"
            )

    @property
    def nothing(self) -> bool:
        """Whether the scale stays unknown."""
        return all(v is None for v in dataclasses.asdict(self).values())


def scale_of(
    known: Known,
    store: Store,
    names: Sequence[str],
    view: View,
    *,
    intrinsics: np.ndarray | None,
    seconds_per_step: float | None,
) -> MetricScale | None:
    """Returns metres per unit, or None where nothing is known.

    Args:
        known: what the user knows.
        store: of the predicted frames.
        names: of the frames.
        view: that the network saw.
        intrinsics: `[3 3]` in pixels of the view, for frames that have none of their
            own; None where unknown.
        seconds_per_step: between the frames of a pair; None where unknown.

    Raises:
        ValueError: no estimate succeeds, or something else is missing for them.
    """
    if known.nothing:
        return None
    if known.camera_height is not None:
        height = known.camera_height
        estimates = (height / one for one in _camera_heights(store, names, intrinsics))
        what = f"a camera {height:g} m above the ground"
    elif known.speed is not None:
        estimates = _of_speed(known.speed, store, names, seconds_per_step)
        what = f"the camera's speed ({known.speed})"
    else:
        estimates = _of_depths(str(known.depths), store, names, view)
        what = f"the depths in {known.depths}"
    return metric_scale.summarize(estimates, known=what)


def _camera_heights(
    store: Store, names: Sequence[str], intrinsics: np.ndarray | None
) -> Iterator[float]:
    for name in names:
        maps = store.read(name, "depth", "intrinsics")
        own = maps.get("intrinsics", intrinsics)
        if own is None:
            raise ValueError("--camera_height needs intrinsics: give --intrinsics")
        height = metric_scale.camera_height(maps["depth"], np.asarray(own, np.float64))
        yield height if height > 0 else np.nan


def _of_speed(
    text: str, store: Store, names: Sequence[str], seconds_per_step: float | None
) -> np.ndarray:
    if seconds_per_step is None:
        raise ValueError("--speed needs the frames' rate: give --fps")
    read = (store.read(name, "translation") for name in names)
    steps = np.array(
        [np.linalg.norm(one["translation"]) for one in read if "translation" in one]
    )
    if not steps.size or not steps.max() > 0:
        raise ValueError("--speed needs camera motion, and none is predicted")
    speeds = metric_scale.read_speeds(text, len(steps))
    return metric_scale.speed_estimates(
        steps, speeds, seconds_per_step=seconds_per_step
    )


def _of_depths(path: str, store: Store, names: Sequence[str], view: View) -> np.ndarray:
    known = metric_scale.read_known_depths(path)
    frames = known[:, 0].astype(int)
    if (frames != known[:, 0]).any() or not (
        (frames >= 0) & (frames < len(names))
    ).all():
        raise ValueError(
            f"{path}: frames are whole numbers from 0 to {len(names) - 1}, got"
            f" {known[:, 0].min():g} to {known[:, 0].max():g}"
        )
    estimates = []
    for frame in sorted(set(frames.tolist())):
        depth = store.read(names[int(frame)], "depth")["depth"]
        for _, u, v, metres in known[frames == frame]:
            x = (u - view.x0 + 0.5) * view.size[1] / view.box[1] - 0.5
            y = (v - view.y0 + 0.5) * view.size[0] / view.box[0] - 0.5
            row, column = round(y), round(x)
            inside = 0 <= row < view.size[0] and 0 <= column < view.size[1]
            estimates.append(metres / depth[row, column] if inside else np.nan)
    return np.array(estimates)
