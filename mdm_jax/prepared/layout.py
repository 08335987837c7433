"""The files of a prepared folder: their names, and what is in the index.

| file                                        | content                                |
|---------------------------------------------|----------------------------------------|
| `NAME-SPLIT.array_record-00000-of-00005`    | frames, see `records`                  |
| `build.json`                                | what the build was asked for           |
| `recordings.json`, `frames.npz`             | the index                              |
| `report.txt`, `report.json`                 | counts, and what was left out          |
| `features.json`, `dataset_info.json`        | what TFDS reads; the latter comes last |

Records are numbered through all shards in their order. The index tells, without a
record being read, which of them are one recording, and the numbers that belong to
frames. A folder without `dataset_info.json` is unfinished.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib

import numpy as np

from mdm_jax.files import atomic, file_content
from mdm_jax.files.errors import DataError

VERSION = "1.0.0"  # of the format: another one cannot be read
BUILD, RECORDINGS, FRAMES = "build.json", "recordings.json", "frames.npz"
INFO, FEATURES = "dataset_info.json", "features.json"
REPORT_TEXT, REPORT_JSON = "report.txt", "report.json"
TRAIN = "train"  # the TFDS split that is trained on
NOTES = ".notes"  # folder of what is known of each finished shard, until all are

# Changes of colour are kept between frames up to so many apart.
NUM_STRIDES = 4
_AGAIN = "run the same datasets/build.py command again, it goes on where it stopped"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of records.

    Attributes:
        file: its name.
        num_frames: how many records are in it.
        num_bytes: its length.
        sha256: of its content.
    """

    file: str
    num_frames: int
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Records that are one recording, neighbours in time.

    Attributes:
        part: the TFDS split that it belongs to.
        name: of the recording.
        start: the number of its first record.
        num_frames: how many there are.
        intrinsics: rows of the matrix, pixels of the frames; None where unknown.
        has: which of `depth`, `instance_labels`, `world_from_camera` and `timestamp`
            are known.
    """

    part: str
    name: str
    start: int
    num_frames: int
    intrinsics: list[list[float]] | None
    has: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Index:
    """What there is in a prepared folder.

    Attributes:
        size: (height, width) of the frames.
        split: of the source that was built, empty for all of it.
        crop: that was asked for.
        held_out: the list file of frames to evaluate on that was asked for.
        shards: in order.
        stretches: in order; together they are all records.
        timestamp: float64 `[n]`, seconds, NaN where unknown.
        world_from_camera: float64 `[n 4 4]`, NaN where unknown.
        changes: float64 `[n NUM_STRIDES]`, in column s - 1 how much a frame differs
            from the one s later, before it was encoded; NaN without such a frame.
        labelled: bool `[n]`, whether instance labels of a frame are known.
    """

    size: tuple[int, int]
    split: str
    crop: tuple[float, ...]
    held_out: str
    shards: tuple[Shard, ...]
    stretches: tuple[Stretch, ...]
    timestamp: np.ndarray
    world_from_camera: np.ndarray
    changes: np.ndarray
    labelled: np.ndarray


def changes(index: Index, stretch: Stretch) -> dict[int, np.ndarray]:
    """Returns the changes of a recording, as `Recording.changes` has them."""
    found = {}
    rows = index.changes[stretch.start : stretch.start + stretch.num_frames]
    for stride in range(1, NUM_STRIDES + 1):
        values = rows[:, stride - 1].copy()
        values[max(0, len(values) - stride) :] = np.inf
        found[stride] = values
    return found


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
            "held_out": index.held_out,
            "shards": [dataclasses.asdict(shard) for shard in index.shards],
            "recordings": [dataclasses.asdict(one) for one in index.stretches],
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
            f"expected version {VERSION} of the format, got {value['version']}: build"
            " the data set anew",
        )
    try:
        shards = tuple(Shard(**shard) for shard in value["shards"])
        stretches = tuple(
            Stretch(**{**one, "has": tuple(one["has"])}) for one in value["recordings"]
        )
        height, width = value["size"]
        split, crop = str(value["split"]), tuple(value["crop"])
        held_out = str(value["held_out"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"the index is damaged ({error!r}); {_REBUILD}") from (
            error
        )
    place = folder / FRAMES
    arrays = {name: file_content.read_array(place, name) for name in _ARRAYS}
    count = sum(shard.num_frames for shard in shards)
    if any(len(array) != count for array in arrays.values()) or count != sum(
        one.num_frames for one in stretches
    ):
        raise DataError(place, f"does not fit the {count} frames of {path.name}")
    size = (height, width)
    return Index(size, split, crop, held_out, shards, stretches, **arrays)


def check_shards(folder: pathlib.Path, index: Index) -> None:
    """Checks that all shards are there, in full length.

    Raises:
        DataError: it names the first that is not.
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
                f" belongs elsewhere; copy it again, or {_REBUILD}",
            )


def is_finished(folder: pathlib.Path) -> bool:
    """Returns whether a build came to its end."""
    return file_content.exists(folder / INFO)


def find(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns the prepared folder at a path or, if there is only one, below it.

    Raises:
        DataError: there is none, or it is not finished; what to do.
    """
    root = pathlib.Path(path).expanduser()
    if not file_content.is_folder(root):
        exists = file_content.exists(root)
        raise DataError(
            root, "expected a folder, got a file" if exists else "no such folder"
        )
    # DATA_DIR/NAME/CONFIG/VERSION
    for pattern in (BUILD, f"*/{BUILD}", f"*/*/{BUILD}", f"*/*/*/{BUILD}"):
        found = sorted(place.parent for place in root.glob(pattern))
        if len(found) > 1:
            names = ", ".join(str(folder.relative_to(root)) for folder in found)
            raise DataError(root, f"holds {len(found)} data sets, name one: {names}")
        if found:
            if not is_finished(found[0]):
                raise DataError(found[0], f"the build is not finished: {_AGAIN}")
            return found[0]
    if file_content.exists(root / INFO):
        problem = "a TFDS data set, but not one that datasets/build.py made"
    else:
        problem = (
            f"no prepared data set (a folder with {BUILD}) in or below it: make one"
            " with datasets/build.py, or set config.dataset.name to read raw data"
        )
    raise DataError(root, problem)


_ARRAYS = ("timestamp", "world_from_camera", "changes", "labelled")
_REBUILD = "delete the folder and build it again"
