"""A lock that lets one process at a time write to a folder.

The operating system holds the lock and releases it when the process ends, however that
happens, so a killed process never blocks the next one.
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
    """Locks a folder while its block runs; warns where the file system has no locks.

    Args:
        folder: an existing folder.
        what: the likely holder of the lock, for the error, such as `another build`.

    Raises:
        OSError: another process holds the lock, or the folder cannot be opened.
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
                f"{what} is writing to {folder}: wait for it, stop it, or choose"
                " another folder"
            ) from error
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED:
                raise
            logging.warning(
                "%s cannot be locked (%s): make sure that nothing else writes there",
                folder,
                error.strerror,
            )
        yield
    finally:
        os.close(descriptor)
