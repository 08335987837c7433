"""The folder of an annotated clip: complete under its name, or absent.

OUTPUT/NAME holds `instances/FRAME.png` (8-bit label maps, which
`config.dataset.masks=OUTPUT` reads) and `summary.json`. Before that, OUTPUT/.NAME.part
holds an owner map and a record of the linked objects for each finished frame, from which
an interrupted run resumes.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from mdm_jax.annotation import object_tracks
from mdm_jax.annotation.linking import Objects
from mdm_jax.annotation.object_tracks import LinkedObjects
from mdm_jax.files import atomic, file_content, image_file
from mdm_jax.files.errors import DataError
from mdm_jax.masks import mask_set

SUMMARY = "summary.json"
_RECORDS, _OWNERS = "records.jsonl", "owners"


def finished(folder: pathlib.Path, key: str) -> dict[str, Any] | None:
    """Returns the summary of a finished clip; None if it is not finished.

    Args:
        folder: of the clip.
        key: fingerprint of everything the annotation depends on.

    Raises:
        DataError: the folder was made from other frames, masks or options, or is not an
            annotation.
    """
    if not file_content.exists(folder):
        return None
    path = folder / SUMMARY
    if not file_content.exists(path):
        raise DataError(
            folder,
            "this folder has the name of a clip but is not an annotation; choose another"
            " output folder",
        )
    summary = file_content.read_json(path)
    if file_content.field(summary, ("key",), path) != key:
        raise DataError(
            folder,
            "was made from other frames, masks or options; remove it, or choose another"
            " output folder",
        )
    return summary


class PartialClip:
    """The annotation of a clip that is not finished, one record per frame."""

    def __init__(self, folder: pathlib.Path, key: str, names: Sequence[str]):
        """Resumes from an interrupted run with the same key, or starts again.

        Args:
            folder: of the finished clip.
            key: fingerprint of everything the annotation depends on.
            names: of the frames.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)  # The name may have folders.
        self._folder = folder
        self._part = folder.with_name(f".{folder.name}.part")
        self._names = names
        self.records = self._read_records(key)
        if not self.records and file_content.exists(self._part):
            shutil.rmtree(self._part)
        (self._part / _OWNERS).mkdir(parents=True, exist_ok=True)
        atomic.remove_abandoned(self._part)
        lines = [key, *(json.dumps(record.to_json()) for record in self.records)]
        atomic.write_text(self._part / _RECORDS, "".join(f"{line}\n" for line in lines))

    def objects(self, index: int) -> Objects:
        """Returns the objects of a recorded frame."""
        record = self.records[index]
        return Objects(
            image_file.read_labels(self._owners(index)),
            record.areas,
            record.classes,
            record.scores,
            record.dropped,
        )

    def append(self, owners: np.ndarray, record: LinkedObjects) -> None:
        """Stores the next frame."""
        # The map first: the record marks the frame as complete.
        _write_png(self._owners(len(self.records)), owners)
        with (self._part / _RECORDS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record.to_json()) + "\n")
        self.records.append(record)

    def finish(self, labels: Sequence[np.ndarray], summary: Mapping[str, Any]) -> None:
        """Writes label maps and summary, and gives the folder its final name.

        Args:
            labels: for each recorded frame, uint8 `[k]`: the label of each object.
            summary: content of `summary.json`.
        """
        folder = self._part / mask_set.LABEL_FOLDER
        folder.mkdir(exist_ok=True)
        for index, label_of in enumerate(labels):
            owners = image_file.read_labels(self._owners(index))
            path = folder / f"{self._names[index]}.png"
            _write_png(path, paint(owners, label_of))
        atomic.write_json(self._part / SUMMARY, summary)
        (self._part / _RECORDS).unlink()
        shutil.rmtree(self._part / _OWNERS)
        os.replace(self._part, self._folder)

    def _owners(self, index: int) -> pathlib.Path:
        return self._part / _OWNERS / f"{self._names[index]}.png"

    def _read_records(self, key: str) -> list[LinkedObjects]:
        path = self._part / _RECORDS
        if not file_content.exists(path):
            return []
        text = path.read_text(encoding="utf-8", errors="replace")
        # A line without a line break was cut off.
        header, *lines = text.split("\n")[:-1] or [""]
        if header != key:
            return []
        records: list[LinkedObjects] = []
        for index, line in enumerate(lines[: len(self._names)]):
            if not file_content.exists(self._owners(index)):
                break
            records.append(object_tracks.from_json(json.loads(line)))
        return records


def paint(owners: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the label map uint8 `[h w]` of an owner map and the label of each object."""
    return np.concatenate([np.zeros(1, np.uint8), labels])[owners]


def _write_png(path: pathlib.Path, values: np.ndarray) -> None:
    _, content = cv2.imencode(".png", values, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    path.write_bytes(content.tobytes())
