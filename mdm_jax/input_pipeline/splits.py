"""Splits: which frames are for training and which for evaluation.

Published list files (`readers.list_file`) are compared with the drives that are on
disk. The package itself holds only what a rule derives.

Cityscapes and Waymo have their official split in their folders: their readers take it
by name.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mdm_jax.files import file_content
from mdm_jax.input_pipeline import list_file
from mdm_jax.sources.source import Source

# Drives whose frames are in the test set of Eigen et al. 2014, by date. None of their
# frames may be trained on.
_EIGEN_TEST = {
    "2011_09_26": (
        *(2, 9, 13, 20, 23, 27, 29, 36, 46, 48, 52, 56, 59, 64, 84, 86, 93, 96),
        *(101, 106, 117),
    ),
    "2011_09_28": (2,),
    "2011_09_29": (71,),
    "2011_09_30": (16, 18, 27),
    "2011_10_03": (27, 47),
}
_ODOMETRY_TRAIN = range(9)
_ODOMETRY_TEST = range(9, 11)

_SHOWN = 5  # recordings and frames named in a report


class Split(NamedTuple):
    """Drives to train on and drives to evaluate on."""

    train: list[Source]
    test: list[Source]


class Place(NamedTuple):
    """A frame on disk: number of the drive, number of the frame in it."""

    drive: int
    frame: int


class Located(NamedTuple):
    """Where the frames of a list are.

    Attributes:
        places: for each entry, in order, where it is; None where it is missing.
        missing: the entries that are not on disk.
    """

    places: list[Place | None]
    missing: list[list_file.Entry]

    def report(self) -> str:
        """Returns how many frames were found, and which are missing, briefly."""
        found = len(self.places) - len(self.missing)
        text = f"{found} of {len(self.places)} listed frames found"
        if not self.missing:
            return text
        by_sequence = collections.defaultdict(list)
        for entry in self.missing:
            by_sequence[entry.sequence].append(f"{entry.frame}{entry.side}")
        lines = [
            f"{text}; {len(self.missing)} missing, of {len(by_sequence)} recordings:"
        ]
        for sequence, frames in list(by_sequence.items())[:_SHOWN]:
            shown = ", ".join(frames[:_SHOWN])
            more = ", ..." if len(frames) > _SHOWN else ""
            lines.append(f"{sequence}: {len(frames)} frames ({shown}{more})")
        if len(by_sequence) > _SHOWN:
            lines.append(f"and {len(by_sequence) - _SHOWN} more recordings")
        return "\n  ".join(lines)


def eigen_test_scenes() -> frozenset[str]:
    """Returns the 28 drives of the Eigen test set, without the ending `_sync`."""
    return frozenset(
        f"{date}_drive_{number:04d}"
        for date, numbers in _EIGEN_TEST.items()
        for number in numbers
    )


def eigen(drives: Iterable[Source]) -> Split:
    """Returns KITTI raw drives split by scene (Eigen et al. 2014).

    The test drives are whole; which of their frames count is in a list file.
    """
    scenes = eigen_test_scenes()
    return _split(drives, lambda name: name.removesuffix("_sync") in scenes)


def odometry(drives: Iterable[Source]) -> Split:
    """Returns KITTI odometry drives: 00 to 08 to train on, 09 and 10 to evaluate on.

    Sequences without ground truth, 11 to 21, are in neither.
    """
    known = [
        drive
        for drive in drives
        if _number(drive) in _ODOMETRY_TRAIN or _number(drive) in _ODOMETRY_TEST
    ]
    return _split(known, lambda name: int(name) in _ODOMETRY_TEST)


def locate(entries: Sequence[list_file.Entry], drives: Sequence[Source]) -> Located:
    """Returns where the listed frames are, and which are missing on disk.

    An entry without a side is found at the first drive that has the frame. Files are
    looked at, not read.

    Raises:
        ValueError: an entry names no frame.
    """
    known: dict[tuple[str, int, str], Place] = {}
    for position, drive in enumerate(drives):
        for index, number in enumerate(drive.numbers):
            place = Place(position, index)
            for side in {drive.side, ""} if drive.side else {"l", "r", ""}:
                known.setdefault((drive.sequence, number, side), place)
    places: list[Place | None] = []
    for entry in entries:
        if entry.frame is None:
            raise ValueError(
                f"the list names the whole recording {entry.sequence}, expected frames"
            )
        place = known.get((entry.sequence, entry.frame, entry.side))
        if place and not file_content.exists(drives[place.drive].files[place.frame]):
            place = None
        places.append(place)
    missing = [
        entry for entry, place in zip(entries, places, strict=True) if place is None
    ]
    return Located(places, missing)


def without(
    drives: Iterable[Source], entries: Iterable[list_file.Entry]
) -> list[Source]:
    """Returns drives without the listed frames, such as those of a standing car.

    What remains of a drive becomes a drive for each run of neighbours. Runs of a single
    frame are dropped: they show no motion.
    """
    listed = _Listed(entries)
    return _kept(drives, lambda drive, index: not listed.has(drive, index))


def around(
    drives: Iterable[Source],
    entries: Iterable[list_file.Entry],
    *,
    before: int = 1,
    after: int = 1,
) -> list[Source]:
    """Returns the listed frames with their neighbours, to train on a list of targets.

    Args:
        drives: what is on disk.
        entries: the target frames.
        before: neighbours before each target.
        after: neighbours after each target.

    Where targets are close together, frames between them are in too, and so become
    targets themselves.
    """
    listed = _Listed(entries)

    def wanted(drive: Source, index: int) -> bool:
        near = range(max(0, index - after), min(len(drive), index + before + 1))
        return any(listed.has(drive, other) for other in near)

    return _kept(drives, wanted)


def labelled(drive: Source) -> list[Source]:
    """Returns the frames of a drive that have instance labels, to train on these.

    What remains becomes a drive for each run of neighbours; runs of a single frame are
    dropped.

    Raises:
        DataError: a file that should tell is damaged.
    """
    known = drive.labelled()
    return _kept([drive], lambda _, index: known[index])


class _Listed:
    """Which frames of drives a list names."""

    def __init__(self, entries: Iterable[list_file.Entry]):
        self._entries = frozenset(entries)

    def has(self, drive: Source, index: int) -> bool:
        number = drive.numbers[index]
        sides = ("", drive.side) if drive.side else ("", "l", "r")
        return any(
            list_file.Entry(drive.sequence, frame, side) in self._entries
            for frame in (number, None)
            for side in sides
        )


def _kept(
    drives: Iterable[Source], wanted: Callable[[Source, int], bool]
) -> list[Source]:
    return [
        part
        for drive in drives
        for part in drive.take(
            [index for index in range(len(drive)) if wanted(drive, index)]
        )
        if len(part) > 1
    ]


def _split(drives: Iterable[Source], is_test: Callable[[str], bool]) -> Split:
    split = Split([], [])
    for drive in drives:
        (split.test if is_test(drive.sequence) else split.train).append(drive)
    return split


def _number(drive: Source) -> int:
    return int(drive.sequence) if drive.sequence.isdecimal() else -1
