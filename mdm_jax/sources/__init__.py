"""Video on disk, opened by the name of its format: own video and raw data sets.

A reader of a raw data set is a function `open_sources(root, *, problems, ...)` that
returns the sources (`source.Source`) below a folder without decoding them;
`recording.opening` turns sources into recordings for training. A new reader needs one
file here and one line in `READERS`. Problems with files are `DataError`s, which either
stop the program or are counted and skipped (`errors.Problems`).
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mdm_jax.files.errors import DataError, Problems
from mdm_jax.geometry import view
from mdm_jax.sources import (
    cityscapes,
    ddad,
    kitti_odometry,
    kitti_raw,
    nuscenes,
    own_video,
    struct2depth,
    waymo_v1,
    waymo_v2,
)
from mdm_jax.sources.source import Source

READERS: Mapping[str, Callable[..., list[Source]]] = {
    "cityscapes": cityscapes.open_sources,
    "ddad": ddad.open_sources,
    "kitti_odometry": kitti_odometry.open_sources,
    "kitti_raw": kitti_raw.open_sources,
    "nuscenes": nuscenes.open_sources,
    "struct2depth": struct2depth.open_sources,
    "waymo_v1": waymo_v1.open_sources,
    "waymo_v2": waymo_v2.open_sources,
}
# Those that may have instance labels. Of the others, masks must be given.
LABELLED = ("struct2depth", "waymo_v1", "waymo_v2")


def fit_of(name: str, fit: str) -> str:
    """Returns how frames are brought to a size: a key of `view.FITS`.

    Args:
        name: of a data set, as in `config.dataset.name`.
        fit: as in `config.dataset.fit`; empty for what is usual. Raw data sets are
            stretched, as the published protocols do, so that a network is evaluated on
            what it was trained on; own frames of any shape keep the shape of pixels.

    Raises:
        ValueError: there is no such way.
    """
    if fit not in ("", *view.FITS):
        raise ValueError(
            f"config.dataset.fit expects {', '.join(view.FITS)} or nothing, got {fit!r}"
        )
    return fit or ("stretch" if name in READERS else "crop")


def open_sources(
    name: str,
    path: str | os.PathLike[str],
    *,
    intrinsics: str = "",
    problems: Problems | None = None,
    **options: Any,
) -> list[Source]:
    """Returns the sources at a path, sorted by name.

    Args:
        name: `video` for a user's own images and movies, or a key of `READERS`.
        path: a file or folder, see `own_video.open_sources` and the readers.
        intrinsics: of a user's own frames, see `intrinsics_file`. Raw data sets
            contain theirs; `intrinsics_file.of_source` replaces them.
        problems: how to handle broken files of a raw data set; None stops at the first
            one.
        **options: options of the reader.

    Raises:
        FileNotFoundError: the path, or the intrinsics of own frames, do not exist.
        ValueError: there is no such reader, or own frames cannot be used.
        DataError: the path contains nothing to read, or broken files.
    """
    place = pathlib.Path(path).expanduser()
    if name == "video":
        return own_video.open_sources(place, intrinsics=intrinsics)
    if name not in READERS:
        expected = ", ".join(("video", *READERS))
        raise ValueError(f"expected one of {expected}, got {name!r}")
    problems = problems or Problems()
    sources = READERS[name](place, problems=problems, **options)
    if not sources:
        advice = problems.summary() if problems.errors else "is this the right folder?"
        raise DataError(place, f"no drives of {name} found below it; {advice}")
    return sources
