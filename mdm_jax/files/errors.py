"""Errors of data files: stop at the first one, or skip and count them.

Readers raise `DataError`, and nothing else, for files that are missing, unreadable, cut
off, in another format, or that hold impossible numbers.
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
    """The policy for broken files, and a list of them.

    Attributes:
        on_error: `raise` stops at the first broken file; `skip` omits the data that
            depend on it, with a warning.
        errors: the errors skipped so far.
    """

    def __init__(self, on_error: str = "raise"):
        """Raises ValueError unless `on_error` is `raise` or `skip`."""
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.on_error = on_error
        self.errors: list[DataError] = []

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Reports a `DataError` that its block raises."""
        try:
            yield
        except DataError as error:
            self.report(error)

    def report(self, error: DataError) -> None:
        """Raises an error, or records it."""
        if self.on_error == "raise":
            raise error
        self.errors.append(error)
        logging.warning("Skipped: %s", error)

    def summary(self) -> str:
        """Returns the number of skipped errors, and a line for each."""
        lines = [f"{len(self.errors)} skipped for broken files"]
        return "\n  ".join(lines + [str(error) for error in self.errors])
