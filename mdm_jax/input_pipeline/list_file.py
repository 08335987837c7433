"""List files: which frames a published split names, in every form they come in.

| line                                                        | what it names         |
|-------------------------------------------------------------|-----------------------|
| `2011_09_26/2011_09_26_drive_0002_sync 0000000069 l`        | frame and side        |
| `2011_09_26/2011_09_26_drive_0002_sync 69 l`                | the same, not padded  |
| `2011_09_26/2011_09_26_drive_0002_sync/image_02/data/0000000069.png` | the same, as file |
| `2011_09_26 2011_09_26_drive_0009_sync 0000000386`          | a frame, both sides   |
| `9 1570 l`                                                  | odometry sequence 09  |
| `image 7`                                                   | benchmark image 7     |
| `2011_09_26_drive_0117`                                     | all frames of a drive |
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError

_SIDES = {"l": "l", "r": "r", "2": "l", "3": "r", "02": "l", "03": "r"}
_FILE = re.compile(r"(?:.*/)?([^/]+)/image_(\d\d)/data/(\d+)\.(?:png|jpg)")


class Entry(NamedTuple):
    """A line of a list file.

    Attributes:
        sequence: the recording.
        frame: number of the frame; None for all of them.
        side: `l`, `r` or, for both, empty.
    """

    sequence: str
    frame: int | None
    side: str


def read_list(path: str | pathlib.Path) -> list[Entry]:
    """Returns the entries of a list file, in any of the forms above.

    Raises:
        DataError: the file is missing, empty, or a line has another form.
    """
    path = pathlib.Path(path).expanduser()
    entries = []
    for number, line in enumerate(file_content.read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        entry = _parse(line.strip())
        if entry is None:
            raise DataError(
                path,
                f"line {number}: expected a frame like 'date/drive frame side', a file"
                f" or a drive, got {line[:80]!r}",
            )
        entries.append(entry)
    if not entries:
        raise DataError(path, "expected a list of frames, got none")
    return entries


def read_indices(path: str | pathlib.Path, *, count: int) -> np.ndarray:
    """Returns int64 `[n]`: which lines of a list another list keeps.

    Args:
        path: an `.npy` file, such as `eigen_to_benchmark_ids.npy`.
        count: lines of the list that they refer to.

    Raises:
        DataError: the file is missing or damaged, or an index is out of range.
    """
    path = pathlib.Path(path).expanduser()
    indices = file_content.read_array(path)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise DataError(
            path, f"expected a row of integers, got {indices.dtype} {indices.shape}"
        )
    if len(indices) and not (0 <= indices.min() and indices.max() < count):
        raise DataError(
            path,
            f"expected indices of a list of {count} lines, got {indices.min()} to"
            f" {indices.max()}",
        )
    return indices.astype(np.int64)


def names(entries: Iterable[Entry]) -> list[str]:
    """Returns the recordings that entries name, each once, in order."""
    return list(dict.fromkeys(entry.sequence for entry in entries))


def _parse(line: str) -> Entry | None:
    """Returns the entry of a line, None for another form."""
    match = _FILE.fullmatch(line)
    if match and match[2] in _SIDES:
        return Entry(match[1], int(match[3]), _SIDES[match[2]])
    words = line.split()
    if len(words) == 1 and "/" not in line and "." not in line:
        return Entry(_sequence(words[0], whole=True), None, "")
    side = ""
    if len(words) == 3 and words[2] in _SIDES and not words[2].isdecimal():
        side = words.pop()
    if len(words) == 3 and words[1].startswith(words[0]):  # date drive frame
        words.pop(0)
    if len(words) == 2 and words[1].isdecimal() and words[1].isascii():
        return Entry(_sequence(words[0]), int(words[1]), _SIDES.get(side, ""))
    return None


def _sequence(word: str, *, whole: bool = False) -> str:
    """Returns a recording's name as the readers have it."""
    name = word.rsplit("/", 1)[-1]
    if name.isdecimal():
        return f"{int(name):02d}"
    if whole and re.fullmatch(r"\d{4}_\d\d_\d\d_drive_\d{4}", name):
        return f"{name}_sync"
    return name
