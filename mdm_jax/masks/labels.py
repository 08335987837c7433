"""Label maps of a recording, made from its masks: uint8, with ids that persist.

Masks are read twice: first to find the extent of every object in time and pixels, since
only then the largest objects are known; then to write the maps, seen through the view of
the frames, to a memory-mapped file beside the frame cache.

A label belongs to one object at a time and is reused once that object has been gone for
REST frames. Clips are shorter, so that no clip shows two objects with one label, and 255
labels suffice for hours of video unless more objects are visible at once; then the
largest ones get the labels.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tqdm
from absl import logging

from mdm_jax.files import array_cache, fingerprint
from mdm_jax.files.errors import DataError
from mdm_jax.masks.instances import Instances
from mdm_jax.masks.mask_files import MaskFiles

MAX_LABEL = 255
# Frames between two objects with the same label.
REST = 32
_VERSION = 2  # Raise it when the same files would have to give other labels.


def cached(
    masks: MaskFiles,
    frames: np.memmap,
    *,
    name: str,
    view: Callable[[np.ndarray], np.ndarray],
) -> np.memmap:
    """Returns the label maps of cached frames, read-only uint8 `[n h w]`.

    They are computed once and stored beside the frame cache.

    Args:
        masks: masks of every frame.
        frames: frame cache; its file name identifies the view.
        name: of the recording.
        view: crops and resizes a label map like the frames.

    Raises:
        DataError: a mask cannot be used; the error names the file.
        OSError: the file cannot be written. Nothing is left behind.
    """
    frames_file = pathlib.Path(str(frames.filename))
    files = fingerprint.file_identities(masks.files)
    entry = array_cache.Entry(
        frames_file.parent,
        name,
        "masks",
        fingerprint.digest(_VERSION, frames_file.name, files, masks.options),
        frames.shape[1:3],
        np.uint8,
        len(frames),
    )
    return array_cache.cached(entry, label_maps(masks, name, view))


def label_maps(
    masks: MaskFiles, name: str, view: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields the label map of each frame, uint8, seen through the view."""
    label_of = assign_labels(masks, name)
    for index in range(len(masks)):
        yield view(label_map(masks.read(index), label_of))


def label_map(instances: Instances, label_of: Mapping[int, int]) -> np.ndarray:
    """Returns uint8 `[h w]` with the label of each instance, 0 for background."""
    labels = np.zeros(instances.size, np.uint8)
    for mask, number in zip(instances.masks, instances.ids, strict=True):
        labels[mask] = label_of[int(number)]
    return labels


def assign_labels(
    masks: MaskFiles, name: str, *, show_progress: bool = True
) -> dict[int, int]:
    """Returns the label of each id; 0 where too many objects are visible at once.

    Raises:
        DataError: a mask cannot be read, overlaps another, or has no persistent id.
    """
    masks.check_tracked()
    extents: dict[int, list[int]] = {}  # First frame, last frame, pixels.
    progress = tqdm.tqdm(
        range(len(masks)),
        desc=f"objects of {name}",
        unit=" frames",
        disable=None if show_progress else True,  # None: shown on a terminal only.
    )
    for index in progress:
        instances = masks.read(index)
        check_disjoint(instances, masks.file_of_frame[index])
        for number, area in zip(
            instances.ids.tolist(), instances.areas.tolist(), strict=True
        ):
            extent = extents.setdefault(number, [index, index, 0])
            extent[1:] = index, extent[2] + area
    ids = np.array(sorted(extents), np.int64)
    table = np.array([extents[number] for number in ids.tolist()], np.int64)
    first, last, area = table.reshape(-1, 3).T
    labels = free_labels(ids, first, last, area)
    if dropped := int((labels == 0).sum()):
        logging.warning(
            "%s: %d of %d objects become background, because more than %d are visible at"
            " once; they are the smallest, %.1f %% of all object pixels",
            name,
            dropped,
            len(ids),
            MAX_LABEL,
            100 * area[labels == 0].sum() / max(1, area.sum()),
        )
    if not len(ids):
        logging.warning("%s: the masks show no object in any frame", name)
    else:
        logging.info("%s: %d objects in %d frames", name, len(ids), len(masks))
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def free_labels(
    ids: np.ndarray, first: np.ndarray, last: np.ndarray, area: np.ndarray
) -> np.ndarray:
    """Returns the label of each object, uint8 `[k]`; 0 if no label is free.

    Ids are kept if all are between 1 and 255. Otherwise each object, from the largest
    on, gets the lowest label that is free while it is visible.

    Args:
        ids: `[k]`, unique.
        first: `[k]`, first frame of each object.
        last: `[k]`, last frame of each object.
        area: `[k]`, pixels of each object, summed over frames.
    """
    if len(ids) == 0 or (ids.min() >= 1 and ids.max() <= MAX_LABEL):
        return np.asarray(ids, np.uint8)
    labels = np.zeros(len(ids), np.uint8)
    # The intervals of frames, (first, last), during which each label is taken.
    taken: list[list[tuple[int, int]]] = [[] for _ in range(MAX_LABEL)]
    for index in np.lexsort((ids, -np.asarray(area))):
        start, end = int(first[index]), int(last[index])
        for label, intervals in enumerate(taken, start=1):
            if all(start > b + REST or end < a - REST for a, b in intervals):
                intervals.append((start, end))
                labels[index] = label
                break
    return labels


def check_disjoint(instances: Instances, path: pathlib.Path) -> None:
    """Checks that no pixel belongs to two instances.

    Raises:
        DataError: a pixel does; the error names two overlapping instances.
    """
    if len(instances) < 2:
        return
    count = instances.masks.sum(axis=0, dtype=np.int32)
    y, x = np.unravel_index(int(count.argmax()), count.shape)
    if count[y, x] < 2:
        return
    first, second = instances.ids[instances.masks[:, y, x]][:2].tolist()
    raise DataError(
        path,
        f"instances {first} and {second} overlap at pixel (x, y) = ({x}, {y});"
        f" {int((count > 1).sum())} pixels belong to several instances."
        " `python -m mdm_jax.annotate --masks=...` makes masks disjoint",
    )
