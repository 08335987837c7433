"""Camera intrinsics specified by a user: numbers, a file, a field of view, or none.

A specification is one string, so that it fits in a config field or a command line:

| specification            | meaning                                               |
|--------------------------|-------------------------------------------------------|
| `fx,fy,cx,cy`            | four numbers, pixels of the original frames           |
| nine numbers             | the matrix K row by row, pixels of the original frames |
| a path                   | a text file of four or nine such numbers              |
| `fov:DEGREES`            | horizontal field of view, principal point centred     |
| `learned`                | unknown: the network estimates them                   |
| empty                    | `<video>_cam.txt` or `cam.txt` beside the frames; of a |
|                          | raw data set, its calibration                         |

Pixel (0, 0) is the centre of the top-left pixel.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from mdm_jax.geometry import intrinsics
from mdm_jax.sources.source import Source

OPTIONS = (
    "give the intrinsics of the original frames (--config.dataset.intrinsics in training,"
    " --intrinsics elsewhere) as 'fx,fy,cx,cy' or nine numbers in"
    " pixels, as the path of a text file of these numbers, as 'fov:DEGREES' (horizontal"
    " field of view), or as 'learned'; or put a cam.txt beside the frames"
)


def resolve(
    specification: str,
    *,
    size: tuple[int, int],
    candidates: Sequence[pathlib.Path] = (),
    source: str = "",
) -> np.ndarray | None:
    """Returns the intrinsics that a user specifies for frames of a size.

    Args:
        specification: see the table above.
        size: (height, width) of the original frames.
        candidates: files to look for if the specification is empty, in order.
        source: file or folder of the frames, for error messages.

    Returns:
        float64 `[3 3]` in pixels of the original frames; None for `learned`.

    Raises:
        FileNotFoundError: the file does not exist or, for an empty specification, none
            of the candidates exists.
        ValueError: the numbers are not four or nine, are skewed or normalised, or do
            not fit the image.
    """
    specification = specification.strip()
    if specification == "learned":
        return None
    if specification.startswith("fov:"):
        return _from_field_of_view(specification, size)
    if not specification:
        found = [path for path in candidates if path.is_file()]
        if not found:
            looked = ", ".join(str(path) for path in candidates)
            raise FileNotFoundError(
                f"{source}: no intrinsics given and none of {looked} exists; {OPTIONS}"
            )
        logging.info("%s: intrinsics from %s", source, found[0])
        text, origin = found[0].read_text(), str(found[0])
    elif _numbers(specification) is not None:
        text, origin = specification, f"intrinsics {specification!r}"
    else:
        path = pathlib.Path(specification).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"intrinsics {specification!r} are neither numbers nor a file; {OPTIONS}"
            )
        text, origin = path.read_text(), str(path)
    matrix = _parse(text, origin)
    try:
        intrinsics.validate(matrix, size=size)
    except ValueError as error:
        raise ValueError(f"{origin}, for {source or 'the frames'}: {error}") from error
    return matrix


def of_source(source: Source, specification: str) -> np.ndarray | None:
    """Returns float64 `[3 3]` in original pixels: a user's, else those of the source.

    Args:
        source: of the frames. Its own matrix stays as it is, because known depth is
            projected with it.
        specification: see the table above, but empty for the source's own.

    Raises:
        FileNotFoundError: see `resolve`.
        ValueError: see `resolve`.
    """
    if not specification.strip():
        return source.intrinsics
    return resolve(specification, size=source.size, source=str(source.path))


def _from_field_of_view(specification: str, size: tuple[int, int]) -> np.ndarray:
    numbers = _numbers(specification.removeprefix("fov:"))
    if numbers is None or len(numbers) != 1 or not 0 < numbers[0] < 180:
        raise ValueError(
            "a field of view is one number of degrees between 0 and 180, as in"
            f" 'fov:60', got {specification!r}"
        )
    return np.asarray(intrinsics.from_fov(numbers[0], size), np.float64)


def _parse(text: str, origin: str) -> np.ndarray:
    """Returns K as float64 `[3 3]` from four or nine numbers; # starts a comment."""
    numbers = _numbers(re.sub(r"#.*", "", text))
    if numbers is None or len(numbers) not in (4, 9):
        got = "other text" if numbers is None else f"{len(numbers)} numbers"
        raise ValueError(
            f"{origin}: expected four numbers (fx, fy, cx, cy) or nine (K row by row),"
            f" separated by commas or spaces, got {got}"
        )
    if len(numbers) == 4:
        fx, fy, cx, cy = numbers
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
    matrix = np.array(numbers, np.float64).reshape(3, 3)
    if not np.array_equal(matrix[2], [0, 0, 1]) or matrix[0, 1] or matrix[1, 0]:
        raise ValueError(
            f"{origin}: nine numbers must read fx 0 cx 0 fy cy 0 0 1 (no skew), got"
            f" {' '.join(f'{number:g}' for number in numbers)}"
        )
    return matrix


def _numbers(text: str) -> list[float] | None:
    """Returns the numbers of a text; None if it contains anything else."""
    try:
        return [float(token) for token in re.split(r"[\s,;]+", text) if token] or None
    except ValueError:
        return None
