"""Instance labels of a recording, made from its mask files: uint8 maps, ids persist.

The files are read twice: first to see which objects there are, how large and for how
long, as only then the largest are known; then to lay their numbers out, cut and resized
as the frames were, in a memory-mapped file beside the cache of the frames.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tqdm
from absl import logging

from mdm_jax.files import array_cache, fingerprint
from mdm_jax.masks import label_numbers, mask_files
from mdm_jax.masks.instances import Instances
from mdm_jax.masks.mask_files import MaskFiles

_VERSION = 2  # raise it when the same files would have to give other labels


def cached(
    masks: MaskFiles,
    frames: np.memmap,
    *,
    name: str,
    view: Callable[[np.ndarray], np.ndarray],
    options: tuple[int | str, ...] = (),
) -> np.memmap:
    """Returns uint8 `[n h w]`, memory mapped and read-only, made only the first time.

    Args:
        masks: of every frame.
        frames: the cache of the frames, whose name tells how they were cut and resized.
        name: of the recording.
        view: cuts and resizes a label map as the frames were.
        options: whatever else the content follows from.

    Raises:
        ValueError: a mask cannot be used, see `mask_files`; it names the file.
        OSError: the file cannot be written. Nothing is left behind then.
    """
    frames_file = pathlib.Path(str(frames.filename))
    files = fingerprint.file_identities(masks.files)
    entry = array_cache.Entry(
        frames_file.parent,
        name,
        "masks",
        fingerprint.digest(_VERSION, frames_file.name, files, options),
        frames.shape[1:3],
        np.uint8,
        len(frames),
    )
    return array_cache.cached(entry, maps(masks, name, view))


def maps(
    masks: MaskFiles, name: str, view: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields the label map of each frame, uint8, as `view` shows it; see `cached`."""
    numbers = number_objects(masks, name)
    for index in _progress(masks, f"masks of {name}"):
        yield view(label_map(masks.read(index), numbers))


def label_map(found: Instances, numbers: Mapping[int, int]) -> np.ndarray:
    """Returns uint8 `[h w]` with the number of each object, 0 background."""
    labels = np.zeros(found.size, np.uint8)
    for mask, number in zip(found.masks, found.ids, strict=True):
        labels[mask] = numbers[int(number)]
    return labels


def number_objects(
    masks: MaskFiles, name: str, *, show_progress: bool = True
) -> dict[int, int]:
    """Returns the label of each id; logs how many objects find none.

    Raises:
        DataError: a mask cannot be read, overlaps another, or has no lasting id.
    """
    if not masks.tracked:
        raise mask_files.without_tracks(masks.files[0])
    seen: dict[int, list[int]] = {}
    for index in _progress(masks, f"objects of {name}", show=show_progress):
        found = masks.read(index)
        mask_files.check_disjoint(found, masks.of_frame[index])
        for number, area in zip(found.ids.tolist(), found.areas.tolist(), strict=True):
            row = seen.setdefault(number, [index, index, 0])
            row[1:] = index, row[2] + area
    ids = np.array(sorted(seen), np.int64)
    rows = np.array([seen[number] for number in ids.tolist()], np.int64).reshape(-1, 3)
    labels = label_numbers.assign(ids, rows[:, 0], rows[:, 1], rows[:, 2])
    if dropped := int((labels == 0).sum()):
        logging.warning(
            "%s: %d of %d objects are background: there are more than %d at a time, and"
            " these are the smallest, %.1f %% of all pixels of objects",
            name,
            dropped,
            len(ids),
            label_numbers.MAX_LABEL,
            100 * rows[labels == 0, 2].sum() / max(1, rows[:, 2].sum()),
        )
    if not len(ids):
        logging.warning("%s: its masks show no object in any frame", name)
    else:
        logging.info("%s: %d objects in %d frames", name, len(ids), len(masks.of_frame))
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def _progress(masks: MaskFiles, title: str, *, show: bool = True) -> tqdm.tqdm:
    return tqdm.tqdm(
        range(len(masks.of_frame)),
        desc=title,
        unit=" frames",
        disable=None if show else True,  # on a terminal only
    )
