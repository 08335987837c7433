"""Files of run-length masks: COCO JSON and KITTI MOTS text.

Both readers return records of one mask each, by the name or number of the frame.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError
from mdm_jax.masks import coco_rle, instances
from mdm_jax.masks.instances import Instances

_TRACK_NAMES = ("track_id", "instance_id")
_MAX_ID = (1 << 31) - 1
_IGNORED_CLASS = 10


class Record(NamedTuple):
    """One encoded mask of one frame; `where` names it in errors."""

    where: str
    id: int
    category: int
    score: float
    size: tuple[int, int]
    counts: Any


Records = dict[str, list[Record]]


def decode(
    records: Sequence[Record], *, size: tuple[int, int], path: pathlib.Path
) -> Instances:
    """Returns the instances of one frame.

    Raises:
        DataError: a mask has another size or is damaged, or two masks share an id.
    """
    masks = np.zeros((len(records), *size), bool)
    for mask, record in zip(masks, records, strict=True):
        if record.size != tuple(size):
            raise DataError(
                path,
                f"{record.where}: expected a mask of {size[0]}x{size[1]} pixels (height"
                f" x width) like the frames, got {record.size[0]}x{record.size[1]}",
            )
        try:
            mask[...] = coco_rle.decode(record.counts, size)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(path, f"{record.where}: {error}") from error
    ids = [record.id for record in records]
    if len(set(ids)) < len(ids):
        duplicate = next(i for i in ids if ids.count(i) > 1)
        raise DataError(path, f"{records[0].where}: two masks have the id {duplicate}")
    return instances.create(
        masks,
        ids=np.array(ids, np.int64),
        classes=np.array([record.category for record in records], np.int64),
        scores=np.array([record.score for record in records], np.float32),
    )


def read_mots(path: pathlib.Path) -> tuple[Records, bool]:
    """Returns the records of a KITTI MOTS text by frame number, and True (ids persist).

    A line is `frame id class height width run_lengths`; class 10 marks regions to ignore.
    """
    records: Records = {}
    for number, line in enumerate(file_content.read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f"line {number}"
        if len(words) != 6 or not all(w.isdecimal() for w in words[:5]):
            raise DataError(
                path,
                f"{where}: expected 'frame id class height width run_lengths', got"
                f" {line[:60]!r}",
            )
        frame, track, category, height, width = map(int, words[:5])
        in_frame = records.setdefault(str(frame), [])
        if category != _IGNORED_CLASS:
            track = _checked_id(track, path, where)
            size = (height, width)
            in_frame.append(Record(where, track, category, 1.0, size, words[5]))
    return records, True


def read_coco(path: pathlib.Path) -> tuple[Records, bool]:
    """Returns the records of a COCO JSON by image name, and whether ids persist.

    The file is a data set (`images` and `annotations`) or a list of results. Ids persist
    if every annotation has a `track_id` or `instance_id`; otherwise the masks of a frame
    are numbered from 1.
    """
    content = file_content.read_json(path)
    names: dict[Any, str] = {}
    records: Records = {}
    rows = content
    if isinstance(content, Mapping):
        for image in _rows(content.get("images", []), path, "images"):
            name = str(file_content.field(image, ("file_name",), path))
            key = pathlib.PurePosixPath(name).stem
            if key in records:
                raise DataError(path, f"two images are called {key}")
            names[_hashable(file_content.field(image, ("id",), path), path)] = key
            records[key] = []
        rows = file_content.field(content, ("annotations",), path)
    rows = _rows(rows, path, "annotations")
    tracked = bool(rows) and all(_track(row) is not None for row in rows)
    for number, row in enumerate(rows):
        where = f"annotation {number}"
        image = _hashable(file_content.field(row, ("image_id",), path), path)
        if names and image not in names:
            raise DataError(
                path, f"{where}: image_id {image!r} is not among the images"
            )
        in_frame = records.setdefault(names.get(image, str(image)), [])
        in_frame.append(_record(row, path, where, len(in_frame) + 1, tracked))
    return records, tracked


READERS: Mapping[str, Callable[[pathlib.Path], tuple[Records, bool]]] = {
    ".json": read_coco,
    ".txt": read_mots,
}


def _record(
    row: Any, path: pathlib.Path, where: str, number: int, tracked: bool
) -> Record:
    """Returns the record of an annotation; `number` is its id unless masks are tracked."""
    mask = file_content.field(row, ("segmentation",), path)
    if not isinstance(mask, Mapping):
        raise DataError(
            path,
            f"{where}: expected run lengths (size and counts) as segmentation, got"
            f" {'polygons' if isinstance(mask, list) else mask!r:.60}; convert them"
            " (pycocotools: COCO.annToRLE)",
        )
    height, width = file_content.numbers(
        file_content.field(mask, ("size",), path), (2,), path, f"{where}: size"
    )
    category = row.get("category_id", -1)
    score = row.get("score", 1.0)
    return Record(
        where,
        _checked_id(_track(row), path, where) if tracked else number,
        int(file_content.numbers(category, (), path, f"{where}: category_id")),
        float(file_content.numbers(score, (), path, f"{where}: score")),
        (int(height), int(width)),
        file_content.field(mask, ("counts",), path),
    )


def _track(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return None
    return next((row[name] for name in _TRACK_NAMES if name in row), None)


def _checked_id(value: Any, path: pathlib.Path, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(path, f"{where}: expected an integer as id, got {value!r}")
    if not 0 <= value <= _MAX_ID:
        raise DataError(path, f"{where}: ids range from 0 to {_MAX_ID}, got {value}")
    return value


def _rows(value: Any, path: pathlib.Path, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(path, f"expected a list of {name}, got {type(value).__name__}")
    return value


def _hashable(value: Any, path: pathlib.Path) -> Any:
    if not isinstance(value, int | str):
        raise DataError(
            path, f"expected a number or a string as image id, got {value!r}"
        )
    return value
