"""Fingerprints: short values that change when files or options change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from mdm_jax.files import file_content

FileIdentity = tuple[str, int, int]


def file_identity(path: str | os.PathLike[str]) -> FileIdentity:
    """Returns the full path, the size in bytes and the modification time in ns.

    The path matters: archives often unpack all files with one modification time, and
    raw formats give them one size.

    Raises:
        DataError: the file cannot be accessed.
    """
    try:
        stat = os.stat(path)
    except OSError as error:
        raise file_content.unreadable(pathlib.Path(path), error) from error
    return os.path.realpath(path), stat.st_size, stat.st_mtime_ns


def file_identities(paths: Iterable[str | os.PathLike[str]]) -> list[FileIdentity]:
    """Returns the identity of each distinct file that exists, in the given order."""
    distinct = dict.fromkeys(pathlib.Path(path) for path in paths)
    return [file_identity(path) for path in distinct if file_content.exists(path)]


def content_digest(path: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of the content of a file, as 64 hexadecimal digits.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise file_content.unreadable(pathlib.Path(path), error) from error


def digest(*values: Any) -> str:
    """Returns 16 hexadecimal digits that identify the values.

    Args:
        values: JSON values, paths, NumPy arrays and dataclasses, nested as in JSON.
    """
    text = json.dumps(values, sort_keys=True, default=_to_json)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value).tobytes()
        hashed = hashlib.sha256(content).hexdigest()
        return [str(value.dtype), list(value.shape), hashed]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: getattr(value, field.name) for field in fields}
    raise TypeError(f"a fingerprint cannot be taken of a {type(value).__name__}")
