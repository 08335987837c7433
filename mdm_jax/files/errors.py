"""What happens when a file of a data set cannot be used: stop, or skip and count.

Every reader raises `DataError`, and nothing else, for whatever is wrong with the files:
missing, unreadable, cut off, of another kind, or with numbers that make no sense.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from absl import logging

ON_ERROR = ("raise", "skip")


class DataError(ValueError):
    """A file of a data set that cannot be used.

    Attributes:
        path: the file or folder.
        problem: what was expected, what came, what to do.
    """

    def __init__(self, path: str | os.PathLike[str], problem: str):
        super().__init__(str(path), problem)
        self.path = str(path)
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class Problems:
    """What to do about broken files, and which were met.

    Attributes:
        on_error: `raise` stops at the first broken file; `skip` leaves out what depends
            on it, warns and counts.
        errors: those skipped so far.
    """

    def __init__(self, on_error: str = "raise"):
        """Starts with no errors.

        Raises:
            ValueError: `on_error` is neither `raise` nor `skip`.
        """
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.on_error = on_error
        self.errors: list[DataError] = []

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Runs its body; a `DataError` there leaves it or is counted, as wanted."""
        try:
            yield
        except DataError as error:
            self.report(error)

    def report(self, error: DataError) -> None:
        """Raises an error, or counts it."""
        if self.on_error == "raise":
            raise error
        self.errors.append(error)
        logging.warning("Skipped: %s", error)

    def summary(self) -> str:
        """Returns how many were skipped, and a line for each."""
        lines = [f"{len(self.errors)} skipped for broken files"]
        return "\n  ".join(lines + [str(error) for error in self.errors])
