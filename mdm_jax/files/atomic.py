"""Atomic writes: a file or folder is complete under its name, or absent.

Content goes to a hidden temporary in the same folder, which is renamed at the end.
Readers never see a partial file, and an error or an interruption leaves the previous
one in place. A killed process leaves its temporary behind; `remove_abandoned` deletes
such files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Path = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary path that is renamed to `path` when the block succeeds.

    Missing folders are created. The temporary keeps the suffix of `path`, by which some
    writers choose their format. If the block fails, the temporary is removed.

    Args:
        path: the final name.
        sync: flush the content to the disk before the rename, so that the file is
            complete even after a power failure. For results of hours of work.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        if sync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[pathlib.Path]:
    """Yields an empty folder that is renamed to `path` when the block succeeds.

    `path` must not exist, or be an empty folder. If the block fails, the temporary
    folder is removed.
    """
    path = pathlib.Path(path)
    temporary = _temporary(path)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Writes a binary file."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Writes a UTF-8 text file."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(
    path: Path, value: Any, *, sort_keys: bool = False, sync: bool = False
) -> None:
    """Writes a value as JSON, as `to_json` converts it."""
    text = json.dumps(to_json(value), indent=2, allow_nan=False, sort_keys=sort_keys)
    write_text(path, text + "\n", sync=sync)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an uncompressed NumPy archive; compression would dominate the time."""
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **dict(arrays))


def to_json(value: Any) -> Any:
    """Returns a value that JSON can express.

    NumPy arrays and scalars become lists and numbers; infinity and NaN become null.
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def remove_abandoned(folder: Path, *, min_age: float = 0.0) -> None:
    """Deletes the temporary files that killed processes left in a folder.

    Args:
        folder: searched without its subfolders.
        min_age: seconds since the last change, to spare files that a running process
            still writes.
    """
    for path in pathlib.Path(folder).glob(".*.part*"):
        # Another process may rename or remove it in the meantime.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and time.time() - path.stat().st_mtime >= min_age:
                path.unlink()


def _temporary(path: pathlib.Path) -> pathlib.Path:
    # The name of a file may have 255 bytes at most.
    stem = path.stem.encode()[:200].decode(errors="ignore")
    return path.with_name(f".{stem}-{uuid.uuid4().hex[:8]}.part{path.suffix}")
