"""The motion of single objects: a row for each object of each frame with masks.

Methods with object poses give each object a rigid motion. Otherwise its motion is the
median of the motion field over its mask. Both are the displacement of the object's
centre with the camera's own motion removed, in the axes of the target's camera.
"""

from __future__ import annotations

import contextlib
import csv
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from absl import logging

from mdm_jax.files import atomic
from mdm_jax.geometry import points as points_lib
from mdm_jax.prediction.predicted import Predicted

COLUMNS = (
    *("frame", "name", "time_s", "object", "pixels"),
    *("x", "y", "z", "dx", "dy", "dz", "speed"),
)


def rows(
    maps: Mapping[str, np.ndarray], *, scale: float, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields `object`, `pixels`, centre (x y z), displacement (dx dy dz) and `speed`.

    Args:
        maps: of one pair of frames, with the `labels` of objects and their `ids`;
            without motion there are no rows.
        scale: from the maps' unit to that of the rows.
        seconds: time between the two frames; 1 gives the speed per pair of frames.
    """
    if "labels" not in maps or "object_motion" not in maps:
        return
    labels = maps["labels"]
    counts = np.bincount(labels.ravel(), minlength=256)
    rigid = "object_labels" in maps
    points = motion = np.zeros(0)
    if not rigid:
        points = points_lib.unproject(
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
        center = scale * np.asarray(center, np.float64)
        displacement = scale * np.asarray(moved, np.float64)
        yield {
            "object": int(maps["ids"][label]),
            "pixels": int(counts[label]),
            **dict(zip(("x", "y", "z"), center.tolist(), strict=True)),
            **dict(zip(("dx", "dy", "dz"), displacement.tolist(), strict=True)),
            "speed": float(np.linalg.norm(displacement)) / seconds,
        }


def count(maps: Mapping[str, np.ndarray]) -> int:
    """Returns the number of objects in the masks of a frame that has a partner."""
    if "labels" not in maps or "object_motion" not in maps:
        return 0
    return int(np.count_nonzero(np.unique(maps["labels"])))


class Table:
    """Writes `objects.csv` and `objects.json`; a context manager.

    The files appear when the block succeeds, if there is any row.

    Attributes:
        num_rows: number of rows written so far.
    """

    def __init__(self, output: pathlib.Path, recording: Predicted):
        self.num_rows = 0
        self._num_objects = 0
        self._output = output
        self._recording = recording
        self._files = contextlib.ExitStack()

    def add(self, index: int, name: str, maps: Mapping[str, np.ndarray]):
        """Appends the objects of a frame.

        Args:
            index: of the frame.
            name: of the frame.
            maps: of the frame.
        """
        rate = self._recording.frames_per_second
        seconds = self._recording.seconds_per_pair or 1.0
        self._num_objects += count(maps)
        for row in rows(maps, scale=self._recording.scale, seconds=seconds):
            time = index / rate if rate else None
            row = {"frame": index, "name": name, "time_s": time, **row}
            values = [row[column] for column in COLUMNS]
            self._writer.writerow(
                [f"{v:.6g}" if isinstance(v, float) else v for v in values]
            )
            self._json.write(",\n" if self.num_rows else "\n")
            self._json.write(json.dumps(dict(zip(COLUMNS, values, strict=True))))
            self.num_rows += 1

    def __enter__(self) -> Self:
        open_file = self._files.enter_context
        paths = [
            open_file(atomic.replacing(self._output / f"objects.{suffix}"))
            for suffix in ("csv", "json")
        ]
        csv_file = open_file(paths[0].open("w", newline="", encoding="utf-8"))
        self._writer = csv.writer(csv_file)
        self._writer.writerow(COLUMNS)
        self._json = open_file(paths[1].open("w", encoding="utf-8"))
        self._json.write("[")
        return self

    def __exit__(self, *error):
        self._json.write("\n]\n")
        self._files.__exit__(*error)
        if error[0] is not None:
            return
        if self.num_rows < self._num_objects:
            logging.warning(
                "objects.csv has %d of the %d objects in the masks: the others are too"
                " small, or not in the next frame under the same id",
                self.num_rows,
                self._num_objects,
            )
        if not self.num_rows:
            for suffix in ("csv", "json"):
                (self._output / f"objects.{suffix}").unlink()
