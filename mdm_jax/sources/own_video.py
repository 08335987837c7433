"""Recordings from a user's own frames: folders of images and video files.

Frames of any size are cut to the wanted aspect ratio about the centre and resized once,
antialiased, into a memory-mapped cache; the intrinsics follow exactly. One folder of
images, or one video file, is one recording.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mdm_jax.files import array_cache, fingerprint
from mdm_jax.geometry import intrinsics as intrinsics_lib
from mdm_jax.geometry import view as view_lib
from mdm_jax.input_pipeline import transforms
from mdm_jax.masks import labels as mask_labels
from mdm_jax.masks import mask_files, mask_set
from mdm_jax.recording.arrays import Recording
from mdm_jax.sources import footage as footage_lib
from mdm_jax.sources import intrinsics_file


def open_recordings(dataset_config: Any) -> list[Recording]:
    """Returns the recordings of a data set's config.

    Args:
        dataset_config: with the field `name`, and for the name `video` the fields
            `path`, `size`, `crop`, `intrinsics` and `cache_dir` of `open_path`, and
            `masks`, `mask_coding` and `mask_background`.

    Raises:
        ValueError: an unknown name, or input as listed at `open_path`.
        OSError: as listed at `open_path`.
    """
    if dataset_config.name == "video":
        return open_path(
            dataset_config.path,
            size=dataset_config.size,
            crop=dataset_config.crop,
            intrinsics=dataset_config.intrinsics,
            cache_dir=dataset_config.cache_dir,
            masks=mask_set.from_config(dataset_config),
        )
    raise ValueError(f"dataset.name must be 'video', got {dataset_config.name!r}")


def open_path(
    path: str | os.PathLike[str],
    *,
    size: Sequence[int],
    crop: Sequence[float] | None = None,
    intrinsics: str = "",
    cache_dir: str | os.PathLike[str] | None = None,
    masks: mask_set.MaskSet | None = None,
) -> list[Recording]:
    """Returns the recordings found at a path, in natural order of their names.

    Args:
        path: a video file, a folder of images, a folder of video files, or a folder of
            such folders (one level deep). Images are taken in natural order of their
            names (`2.png` before `10.png`).
        size: (height, width) of the frames of the recordings, at least 32 each.
        crop: fractions (top, bottom, left, right) to cut away first, such as a car's
            bonnet; what remains is cut about its centre to the aspect ratio of `size`.
        intrinsics: of the original frames, as `intrinsics_file` explains.
        cache_dir: where decoded frames are kept; None or empty for a folder in the
            user's cache.
        masks: where the masks of all frames are; None for recordings without labels.

    Returns:
        Recordings with memory-mapped frames. `intrinsics` is None where to be learned.
        A video that breaks keeps the frames before, with a warning.

    Raises:
        FileNotFoundError: no such path, or no intrinsics.
        OSError: the cache cannot be written.
        ValueError: nothing to read there; fewer than two frames; an unreadable file;
            frames of different sizes; sides below 32; intrinsics or crop that do not
            fit; masks that are missing or cannot be used. Messages name the file.
    """
    size = _checked_size(size)
    if not str(path):
        raise ValueError(
            "dataset.path is empty; give a folder of images, a video file, or a folder"
            " of either (--config.dataset.path=...)"
        )
    found = footage_lib.find(pathlib.Path(path).expanduser())
    directory = cache_dir or array_cache.default_directory()
    if masks is not None:
        masks = dataclasses.replace(masks, alone=len(found) == 1)
        # Before anything is decoded.
        for item in found:
            masks.find(item.name)
            if len(item.files) > 1:
                _open_masks(masks, item, len(item.files))
    return [
        _record(
            item,
            size=size,
            crop=crop,
            intrinsics=intrinsics,
            directory=directory,
            masks=masks,
        )
        for item in found
    ]


def original_intrinsics(
    footage: footage_lib.Footage, specification: str
) -> np.ndarray | None:
    """Returns the intrinsics `[3 3]` of the original frames, None if to be learned.

    Raises:
        FileNotFoundError: as listed at `intrinsics_file.resolve`.
        ValueError: likewise.
    """
    first = footage.files[0]
    return intrinsics_file.resolve(
        specification,
        size=footage.size,
        candidates=(
            first.with_name(f"{first.stem}_cam.txt"),
            first.with_name("cam.txt"),
            first.parent.parent / "cam.txt",
        ),
        source=str(first if len(footage.files) == 1 else first.parent),
    )


def _record(
    footage: footage_lib.Footage,
    *,
    size: tuple[int, int],
    crop: Sequence[float] | None,
    intrinsics: str,
    directory: str | os.PathLike[str],
    masks: mask_set.MaskSet | None,
) -> Recording:
    # Intrinsics first: a mistake there should not cost an hour of decoding.
    matrix = original_intrinsics(footage, intrinsics)
    x0, y0, box = _window(footage.size, size, crop)

    def shrink(frame: np.ndarray) -> np.ndarray:
        window = frame[y0 : y0 + box[0], x0 : x0 + box[1]]
        return transforms.resize_image(window, size)

    files = fingerprint.file_identities(footage.files)
    entry = array_cache.Entry(
        pathlib.Path(directory),
        footage.name,
        "frames",
        fingerprint.digest(files, x0, y0, box, size),
        (*size, 3),
        np.uint8,
        footage.expected,
    )
    frames = array_cache.cached(entry, _at_least_two(footage.decode(shrink), footage))
    if matrix is not None:
        matrix = intrinsics_lib.crop(matrix, x0=x0, y0=y0)
        matrix = intrinsics_lib.resize(matrix, from_size=box, to_size=size)
        matrix = np.asarray(matrix, np.float32)
    labels = None
    if masks is not None:
        view = view_lib.View(x0, y0, box, size)
        labels = mask_labels.cached(
            _open_masks(masks, footage, len(frames)),
            frames,
            name=footage.name,
            view=view.labels,
        )
    return Recording(
        name=footage.name, frames=frames, intrinsics=matrix, instance_labels=labels
    )


def _open_masks(
    masks: mask_set.MaskSet, footage: footage_lib.Footage, count: int
) -> mask_files.MaskFiles:
    names = footage_lib.frame_names(footage, count)
    return masks.open(footage.name, names, size=footage.size)


def _at_least_two(
    frames: Iterator[np.ndarray], footage: footage_lib.Footage
) -> Iterator[np.ndarray]:
    count = 0
    for frame in frames:
        yield frame
        count += 1
    if count < 2:
        raise ValueError(
            f"{footage.files[0]}: at least two frames are needed, could read {count}"
        )


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    size = tuple(int(side) for side in size)
    if len(size) != 2 or min(size) < footage_lib.MIN_SIDE:
        raise ValueError(
            "dataset.size is (height, width), at least"
            f" {footage_lib.MIN_SIDE} pixels each, got {size}"
        )
    return size


def _window(
    original: tuple[int, int],
    size: tuple[int, int],
    crop: Sequence[float] | None,
) -> tuple[int, int, tuple[int, int]]:
    """Returns x0, y0 and (height, width) of what is kept of the original frames."""
    crop = tuple(crop or (0, 0, 0, 0))
    fits = len(crop) == 4 and min(crop) >= 0
    if not fits or crop[0] + crop[1] >= 1 or crop[2] + crop[3] >= 1:
        raise ValueError(
            "dataset.crop holds the fractions to cut away at the (top, bottom, left,"
            f" right), which must leave something, got {crop}"
        )
    top, bottom, left, right = crop
    y0, y1 = round(top * original[0]), original[0] - round(bottom * original[0])
    x0, x1 = round(left * original[1]), original[1] - round(right * original[1])
    height = min(y1 - y0, max(1, round((x1 - x0) * size[0] / size[1])))
    width = min(x1 - x0, max(1, round((y1 - y0) * size[1] / size[0])))
    y0 += (y1 - y0 - height) // 2
    x0 += (x1 - x0 - width) // 2
    if min(height, width) < footage_lib.MIN_SIDE:
        raise ValueError(
            f"of {original[1]} x {original[0]} pixels, dataset.crop {crop} and the"
            f" shape of dataset.size {size} leave {width} x {height} (width x height);"
            f" sides of at least {footage_lib.MIN_SIDE} are needed"
        )
    return x0, y0, (height, width)
