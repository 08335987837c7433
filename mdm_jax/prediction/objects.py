"""How single objects move: a row for each object of each frame, from instance masks.

A method that knows objects gives each a rigid motion; of one that gives a motion field
the median over the object's mask is taken. Both are the motion of an object's centre
with the camera's own motion left out, in the axes of the target's camera.
"""

from __future__ import annotations

import csv
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from mdm_jax.recording import arrays as recording_lib

COLUMNS = (
    "frame",
    "name",
    "time_s",
    "object",
    "pixels",
    "x",
    "y",
    "z",
    "dx",
    "dy",
    "dz",
    "speed",
)


def rows(
    maps: Mapping[str, np.ndarray], *, scale: float, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields `object`, `pixels`, centre (x y z), displacement (dx dy dz) and `speed`.

    Args:
        maps: of one pair of frames, with the `labels` of objects and the `ids` by
            which they are known; without motion there are no rows.
        scale: from the maps' unit to that of the rows.
        seconds: between the two frames; speed is per that, so 1 gives it per pair.
    """
    if "labels" not in maps or "object_motion" not in maps:
        return
    labels = maps["labels"]
    counts = np.bincount(labels.ravel(), minlength=256)
    rigid = "object_labels" in maps
    points = motion = np.zeros(0)
    if not rigid:
        points = recording_lib.unproject(
            np.asarray(maps["depth"], np.float64),
            np.asarray(maps["intrinsics"], np.float64),
        )
        # From the source camera's axes to the target's: R^T.
        motion = maps["object_motion"] @ maps["rotation"]
    slots = maps["object_labels"] if rigid else np.flatnonzero(counts)
    for slot, label in enumerate(slots):
        if label == 0 or not counts[label]:
            continue
        if rigid:
            center = maps["object_centers"][slot]
            moved = maps["object_translations"][slot]
        else:
            mask = labels == label
            center = points[mask].mean(axis=0)
            moved = np.median(motion[mask], axis=0)
        place = scale * np.asarray(center, np.float64)
        displacement = scale * np.asarray(moved, np.float64)
        yield {
            "object": int(maps["ids"][label]),
            "pixels": int(counts[label]),
            **dict(zip(("x", "y", "z"), place.tolist(), strict=True)),
            **dict(zip(("dx", "dy", "dz"), displacement.tolist(), strict=True)),
            "speed": float(np.linalg.norm(displacement)) / seconds,
        }


def count(maps: Mapping[str, np.ndarray]) -> int:
    """Returns how many objects the masks show in a frame that has a next one."""
    if "labels" not in maps or "object_motion" not in maps:
        return 0
    return int(np.count_nonzero(np.unique(maps["labels"])))


class Table:
    """Writes rows as CSV and as JSON, one at a time; a context manager."""

    def __init__(self, csv_path: pathlib.Path, json_path: pathlib.Path):
        self._csv = csv_path.open("w", newline="", encoding="utf-8")
        self._json = json_path.open("w", encoding="utf-8")
        self._writer = csv.writer(self._csv)
        self._writer.writerow(COLUMNS)
        self._json.write("[")
        self.count = 0

    def add(self, row: Mapping[str, Any]):
        """Appends a row with all of `COLUMNS`."""
        values = [row[name] for name in COLUMNS]
        self._writer.writerow(
            [f"{v:.6g}" if isinstance(v, float) else v for v in values]
        )
        self._json.write(",\n" if self.count else "\n")
        self._json.write(json.dumps(dict(zip(COLUMNS, values, strict=True))))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object):
        self._json.write("\n]\n")
        self._json.close()
        self._csv.close()
