"""Which mask belongs to which frame: the one of the same name, or of the same number.

Names are those of files without what follows the last dot. Their number is made of all
runs of digits that differ from name to name: `town_000003_000017_left8bit` among the
names of one snippet has the number (17,), as has `town_000003_000017_instances`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mdm_jax.sources import drive as drive_lib
from mdm_jax.sources import footage as footage_lib


def of_footage(footage: footage_lib.Footage, count: int | None = None) -> list[str]:
    """Returns the names of frames: of the images, or `000000` and so on of a video.

    Args:
        footage: images or a video.
        count: number of frames of the video; None to count them, which takes a while.

    Raises:
        ValueError: two images have one name but for the suffix.
    """
    if footage.names:
        return list(footage.names)
    if len(footage.files) == 1:
        if count is None:
            count = footage_lib.count_frames(footage.files[0])
        return [f"{index:06d}" for index in range(count)]
    names = [file.stem for file in footage.files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f"{footage.files[0].parent}: two images are called {twice}, so that it is"
            " unclear which of them masks belong to; rename one"
        )
    return names


def of_drive(drive: drive_lib.Drive) -> list[str]:
    """Returns the names of frames of a drive: of the files of its images.

    Where many images are in one file, they are the numbers of the frames in the whole
    drive, `000000` and so on.
    """
    # A list file or a split takes parts of drives; masks are of the whole.
    whole, start = drive_lib.origin(drive)
    if len(set(whole.files)) < len(whole):
        return [f"{start + index:06d}" for index in range(len(drive))]
    return [path.stem for path in drive.files]


def match(names: Sequence[str], keys: Sequence[str]) -> list[str | None]:
    """Returns the key of each name, None where there is none.

    Args:
        names: of the frames, all different.
        keys: of the masks, all different.
    """
    by_name = set(keys)
    if any(name in by_name for name in names):
        return [name if name in by_name else None for name in names]
    key_of = dict(zip(numbers(keys), keys, strict=True))
    if len(key_of) != len(keys):
        return [None] * len(names)
    wanted = numbers(names)
    if len(set(wanted)) < len(wanted):  # Two frames of one number.
        return [None] * len(names)
    return [key_of.get(number) for number in wanted]


def numbers(names: Sequence[str]) -> list[tuple[int, ...]]:
    """Returns the number of each name; an empty one where they have none."""
    runs = [tuple(int(run) for run in re.findall(r"\d+", name)) for name in names]
    if len({len(run) for run in runs}) > 1:
        return runs
    columns = list(zip(*runs, strict=True))
    varying = [column for column in columns if len(set(column)) > 1]
    if not varying:
        varying = columns[-1:]
    return list(zip(*varying, strict=True)) if varying else [()] * len(names)
