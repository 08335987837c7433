"""A drive as footage, for what reads the frames of a clip one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from mdm_jax.files import workers
from mdm_jax.files.errors import DataError
from mdm_jax.sources import drive as drive_lib
from mdm_jax.sources import footage as footage_lib


def of(drive: drive_lib.Drive, *, on_error: str = "raise") -> footage_lib.Footage:
    """Returns the frames of a drive in full size.

    Args:
        drive: a whole one, whose name is unique.
        on_error: what is done about a broken image: `skip` shows a black one, so that
            those after it keep their numbers.
    """
    return footage_lib.Footage(
        drive.name,
        tuple(dict.fromkeys((*drive.files, *drive.calibration_files()))),
        drive.size,
        len(drive),
        functools.partial(_decode, drive, on_error),
        tuple(drive_lib.frame_names(drive)),
    )


def _decode(
    drive: drive_lib.Drive, on_error: str, use: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    def read(index: int) -> np.ndarray:
        try:
            image = drive.image(index)
        except DataError:
            if on_error == "raise":
                raise
            image = np.zeros((*drive.size, 3), np.uint8)
        return use(image)

    return workers.read_ahead(read, len(drive))
