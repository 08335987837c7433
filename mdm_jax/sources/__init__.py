"""Raw data sets, read where they were unpacked. One more is a file here and a line.

A reader is a function `open_drives(root, *, problems, ...)` that returns the drives
(`drive.Drive`) below a folder without decoding anything. `recordings` makes of a drive
what training reads. Whatever is wrong with the files is a `DataError`, which stops or
is skipped and counted (`errors.Problems`).
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mdm_jax.files.errors import DataError, Problems
from mdm_jax.sources import (
    cityscapes,
    ddad,
    kitti_odometry,
    kitti_raw,
    nuscenes,
    struct2depth,
    waymo_v1,
    waymo_v2,
)
from mdm_jax.sources.drive import Drive

READERS: Mapping[str, Callable[..., list[Drive]]] = {
    "cityscapes": cityscapes.open_drives,
    "ddad": ddad.open_drives,
    "kitti_odometry": kitti_odometry.open_drives,
    "kitti_raw": kitti_raw.open_drives,
    "nuscenes": nuscenes.open_drives,
    "struct2depth": struct2depth.open_drives,
    "waymo_v1": waymo_v1.open_drives,
    "waymo_v2": waymo_v2.open_drives,
}


def open_drives(
    name: str,
    root: str | os.PathLike[str],
    *,
    problems: Problems | None = None,
    **options: Any,
) -> list[Drive]:
    """Returns the drives of a raw data set, in order of their names.

    Args:
        name: of the data set, a key of `READERS`.
        root: its folder.
        problems: what to do about broken files; None stops at the first.
        **options: of the reader.

    Raises:
        ValueError: there is no such reader.
        DataError: nothing to read there, or broken files.
    """
    if name not in READERS:
        raise ValueError(f"expected one of {', '.join(READERS)}, got {name!r}")
    path = pathlib.Path(root).expanduser()
    problems = problems or Problems()
    drives = READERS[name](path, problems=problems, **options)
    if not drives:
        advice = problems.summary() if problems.errors else "is this the right folder?"
        raise DataError(path, f"no drives of {name} found below it; {advice}")
    return drives
