"""The files of a prepared folder, and its index.

| file                                     | content                           |
|------------------------------------------|-----------------------------------|
| `NAME-SPLIT.array_record-00000-of-00005` | frames, see `records`             |
| `build.json`                             | options of the build              |
| `recordings.json`, `frames.npz`          | the index                         |
| `report.txt`, `report.json`              | counts, and broken files          |
| `features.json`, `dataset_info.json`     | TFDS metadata; the latter is last |

Records are numbered through all shards in order. The index tells, without reading
records, which of them belong to one recording, and holds poses, times and changes. A
folder without `dataset_info.json` is unfinished.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib

import numpy as np

from mdm_jax.files import atomic, file_content
from mdm_jax.files.errors import DataError

VERSION = "1.0.0"  # of the format; others cannot be read
BUILD, RECORDINGS, FRAMES = "build.json", "recordings.json", "frames.npz"
INFO, FEATURES = "dataset_info.json", "features.json"
REPORT_TEXT, REPORT_JSON = "report.txt", "report.json"
TRAIN = "train"  # the TFDS split for training
NOTES = ".notes"  # folder with notes on the complete shards of an unfinished build

# The index has the changes between frames that are at most this far apart.
NUM_STRIDES = 4
_AGAIN = "run the same mdm-prepare command again, which resumes it"
_ARRAYS = ("timestamp", "world_from_camera", "changes", "labelled")
_REBUILD = "delete the folder and build it again"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
        file: its name.
        num_frames: number of records.
        num_bytes: size of the file.
        sha256: of its content.
    """

    file: str
    num_frames: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """Consecutive records that are one recording.

    Attributes:
        part: the TFDS split that it belongs to.
        name: of the recording.
        start: number of the first record.
        num_frames: number of records.
        intrinsics: rows of the matrix, pixels of the frames; None where unknown.
        has: the features of `records.OPTIONAL` that are known.
    """

    part: str
    name: str
    start: int
    num_frames: int
    intrinsics: list[list[float]] | None
    has: tuple[str, ...]

    @property
    def rows(self) -> slice:
        """Its records in the arrays of the index."""
        return slice(self.start, self.start + self.num_frames)


@dataclasses.dataclass(frozen=True)
class Index:
    """The index of a prepared folder.

    Attributes:
        size: (height, width) of the frames.
        split: of the source; empty for all of it.
        crop: option of the build.
        fit: how frames were brought to their size, `crop` or `stretch`.
        held_out: list file of evaluation frames, option of the build.
        shards: in order.
        entries: the recordings, in order; they cover all records.
        timestamp: float64 `[n]`, seconds, NaN where unknown.
        world_from_camera: float64 `[n 4 4]`, NaN where unknown.
        changes: float64 `[n NUM_STRIDES]`; column s - 1 is the change of colour to the
            frame s later, before encoding; NaN if there is none.
        labelled: bool `[n]`, whether the instance labels of a frame are known.
    """

    size: tuple[int, int]
    split: str
    crop: tuple[float, ...]
    fit: str
    held_out: str
    shards: tuple[Shard, ...]
    entries: tuple[Entry, ...]
    timestamp: np.ndarray
    world_from_camera: np.ndarray
    changes: np.ndarray
    labelled: np.ndarray

    def of_part(self, part: str) -> list[Entry]:
        """Returns the recordings of a TFDS split."""
        return [entry for entry in self.entries if entry.part == part]


def changes(index: Index, entry: Entry) -> dict[int, np.ndarray]:
    """Returns the changes of a recording by stride, as `Recording.changes` has them."""
    by_stride = {}
    for stride in range(1, NUM_STRIDES + 1):
        values = index.changes[entry.rows, stride - 1].copy()
        values[max(0, len(values) - stride) :] = np.inf
        by_stride[stride] = values
    return by_stride


def shard_name(name: str, split: str, number: int, count: int) -> str:
    """Returns the name that TFDS gives a shard."""
    return f"{name}-{split}.array_record-{number:05d}-of-{count:05d}"


def write_index(folder: pathlib.Path, index: Index) -> None:
    """Writes the index of a folder."""
    content = io.BytesIO()
    arrays = {name: getattr(index, name) for name in _ARRAYS}
    np.savez_compressed(content, allow_pickle=False, **arrays)
    atomic.write_bytes(folder / FRAMES, content.getvalue(), sync=True)
    atomic.write_json(
        folder / RECORDINGS,
        {
            "version": VERSION,
            "size": index.size,
            "split": index.split,
            "crop": index.crop,
            "fit": index.fit,
            "held_out": index.held_out,
            "shards": [dataclasses.asdict(shard) for shard in index.shards],
            "recordings": [dataclasses.asdict(entry) for entry in index.entries],
        },
        sort_keys=True,
        sync=True,
    )


def read_index(folder: pathlib.Path) -> Index:
    """Returns the index of a finished folder.

    Raises:
        DataError: it is missing, damaged or does not fit the shards beside it.
    """
    path = folder / RECORDINGS
    value = file_content.read_json(path)
    if file_content.field(value, ["version"], path) != VERSION:
        raise DataError(
            path,
            f"expected version {VERSION} of the format, got {value['version']};"
            f" {_REBUILD}",
        )
    try:
        shards = tuple(Shard(**shard) for shard in value["shards"])
        entries = tuple(
            Entry(**{**entry, "has": tuple(entry["has"])})
            for entry in value["recordings"]
        )
        height, width = value["size"]
        split, crop = str(value["split"]), tuple(value["crop"])
        # Builds that do not name it are older than the choice.
        fit = str(value.get("fit", "crop"))
        held_out = str(value["held_out"])
    except (KeyError, TypeError, ValueError) as error:
        problem = f"the index is damaged ({error!r}); {_REBUILD}"
        raise DataError(path, problem) from error
    arrays = {name: file_content.read_array(folder / FRAMES, name) for name in _ARRAYS}
    count = sum(shard.num_frames for shard in shards)
    counts = {sum(entry.num_frames for entry in entries), *map(len, arrays.values())}
    if counts != {count}:
        raise DataError(
            folder / FRAMES, f"does not fit the {count} frames of {path.name}"
        )
    return Index((height, width), split, crop, fit, held_out, shards, entries, **arrays)


def check_shards(folder: pathlib.Path, index: Index) -> None:
    """Checks that all shards exist and have their size.

    Raises:
        DataError: it names the first one that does not.
    """
    for shard in index.shards:
        path = folder / shard.file
        try:
            length = path.stat().st_size
        except OSError as error:
            raise file_content.unreadable(path, error) from error
        if length != shard.num_bytes:
            raise DataError(
                path,
                f"expected {shard.num_bytes} bytes, got {length}: it is cut off or"
                f" of another build; copy it again, or {_REBUILD}",
            )


def is_finished(folder: pathlib.Path) -> bool:
    """Returns whether a build is finished."""
    return file_content.exists(folder / INFO)


def find(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the prepared folder at a path or, if there is only one, below it.

    Raises:
        DataError: there is none, or it is not finished.
    """
    root = pathlib.Path(path).expanduser()
    if not file_content.is_folder(root):
        exists = file_content.exists(root)
        raise DataError(
            root, "expected a folder, got a file" if exists else "no such folder"
        )
    # DATA_DIR/NAME/CONFIG/VERSION
    for pattern in (BUILD, f"*/{BUILD}", f"*/*/{BUILD}", f"*/*/*/{BUILD}"):
        folders = sorted(place.parent for place in root.glob(pattern))
        if len(folders) > 1:
            names = ", ".join(str(folder.relative_to(root)) for folder in folders)
            raise DataError(
                root, f"holds {len(folders)} data sets, choose one: {names}"
            )
        if folders:
            if not is_finished(folders[0]):
                raise DataError(folders[0], f"the build is not finished: {_AGAIN}")
            return folders[0]
    if file_content.exists(root / INFO):
        problem = "a TFDS data set, but not one made by mdm-prepare"
    else:
        problem = (
            f"no prepared data set (a folder with {BUILD}) in or below it: make one"
            " with mdm-prepare, or set config.dataset.name to read raw data"
        )
    raise DataError(root, problem)
