"""A folder that one process at a time writes to. The lock ends with its process.

The system holds it, not a file: whatever kills a process leaves nothing that would
block the next one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from absl import logging

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NOT_SUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def held(folder: pathlib.Path, what: str) -> Iterator[None]:
    """Holds an existing folder for as long as the body runs.

    Where the file system has no locks, a warning says so.

    Args:
        folder: to be held.
        what: would be in the way, such as `another build`.

    Raises:
        OSError: another process holds it, or it cannot be opened.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(
                f"{what} is writing to {folder}: wait for it, end it, or choose"
                " another folder"
            ) from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            logging.warning(
                "%s cannot be locked (%s): see that nothing else writes there",
                folder,
                error.strerror,
            )
        yield
    finally:
        os.close(descriptor)
