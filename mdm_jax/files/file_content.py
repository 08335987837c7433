"""Checked reading of files: bytes, tables of numbers, arrays and JSON.

Every function raises `DataError`, which names the file, for any problem with it.
"""

from __future__ import annotations

import io
import json
import pathlib
import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdm_jax.files.errors import DataError

REPLACE = "download or unpack it again"
# Above any measurement, also microseconds since 1970; squares still fit in a float.
_MAX_NUMBER = 1e18
_MAX_FLOAT = 1e6  # metres, beyond the range of any laser scanner


def read_bytes(path: pathlib.Path, limit: int = -1) -> bytes:
    """Returns the content of a file, or its first `limit` bytes; not empty."""
    try:
        with path.open("rb") as file:
            content = file.read(limit)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not content:
        raise DataError(path, f"the file is empty (0 bytes); {REPLACE}")
    return content


def unreadable(path: pathlib.Path, error: Exception) -> DataError:
    """Returns the `DataError` for an error of the operating system."""
    if isinstance(error, FileNotFoundError):
        return DataError(path, "no such file; is the download complete?")
    if isinstance(error, PermissionError):
        return DataError(path, "no permission to read it; change its mode or owner")
    return DataError(path, f"cannot be read ({error})")


def exists(path: pathlib.Path) -> bool:
    """Returns whether a path exists; raises where access is denied."""
    try:
        return path.exists()
    except OSError as error:
        raise unreadable(path, error) from error


def is_folder(path: pathlib.Path) -> bool:
    """Returns whether a path is a folder; raises where access is denied."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def children(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the content of a folder without hidden files, sorted by name."""
    try:
        return sorted(child for child in folder.iterdir() if child.name[0] != ".")
    except NotADirectoryError as error:
        raise DataError(folder, "expected a folder, got a file") from error
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error


def read_text(path: pathlib.Path) -> str:
    """Returns the content of a UTF-8 text file."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected a text, got other bytes; {REPLACE}") from error


def read_table(path: pathlib.Path, columns: int) -> np.ndarray:
    """Returns float64 `[rows columns]` from a text file with one row per line.

    NaN and infinity are allowed; the caller has to check for them.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        tokens = line.split()
        if not tokens:
            continue
        try:
            row = [float(token) for token in tokens]
        except ValueError as error:
            raise DataError(
                path, f"line {number}: expected numbers, got {line[:60]!r}"
            ) from error
        if len(row) != columns:
            raise DataError(
                path, f"line {number}: expected {columns} numbers, got {len(row)}"
            )
        rows.append(row)
    if not rows:
        raise DataError(path, f"expected rows of {columns} numbers, got none")
    return np.array(rows, np.float64)


def read_floats(path: pathlib.Path, columns: int) -> np.ndarray:
    """Returns float32 `[rows columns]` from a file of raw little-endian floats.

    They are measurements of a laser scanner; impossible rows (not finite, or 1e6 and
    more) are dropped.
    """
    content = read_bytes(path)
    if len(content) % (4 * columns):
        raise DataError(
            path,
            f"expected a multiple of {4 * columns} bytes ({columns} floats per point),"
            f" got {len(content)}: it seems cut off; {REPLACE}",
        )
    rows = np.frombuffer(content, "<f4").reshape(-1, columns)
    return measured(rows).astype(np.float32)


def measured(rows: np.ndarray) -> np.ndarray:
    """Returns the rows `[n c]` whose numbers are possible measurements."""
    return rows[(np.abs(rows) < _MAX_FLOAT).all(axis=1)]


def read_json(path: pathlib.Path) -> Any:
    """Returns the value of a JSON file."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            path,
            f"expected JSON, but it is cut off or damaged ({error}); {REPLACE}",
        ) from error


def read_array(path: pathlib.Path, name: str = "") -> np.ndarray:
    """Returns the array of an `.npy` file, or the array `name` of an `.npz` file."""
    content = io.BytesIO(read_bytes(path))
    try:
        loaded = np.load(content, allow_pickle=False)
        if name:
            with loaded:
                return loaded[name]
        if isinstance(loaded, np.ndarray):
            return loaded
    except (
        OSError,
        ValueError,
        LookupError,
        EOFError,
        TypeError,
        AttributeError,
        RuntimeError,  # Also for an unknown compression of a ZIP.
        SyntaxError,
        MemoryError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            path, f"expected a NumPy {path.suffix}; is it cut off? ({error})"
        ) from error
    raise DataError(path, "expected one array, got an archive of several")


def field(record: Any, keys: Sequence[str | int], path: Any) -> Any:
    """Returns `record[keys[0]][keys[1]]...` of a JSON value."""
    value = record
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            name = ".".join(str(part) for part in keys)
            raise DataError(path, f"the field {name} is missing") from error
    return value


def numbers(value: Any, shape: tuple[int, ...], path: Any, name: str) -> np.ndarray:
    """Returns a JSON value as a finite float64 array of the given shape."""
    try:
        array = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(path, f"{name}: expected numbers, got {value!r:.80}") from error
    if array.shape != shape or not (np.abs(array) < _MAX_NUMBER).all():
        raise DataError(
            path,
            f"{name}: expected finite numbers of shape {list(shape)}, got"
            f" {value!r:.120}",
        )
    return array


def numbered(folder: pathlib.Path, suffixes: Sequence[str]) -> dict[int, pathlib.Path]:
    """Returns the files of a folder that are named by numbers, by number, in order.

    Raises:
        DataError: there are none.
    """
    files = {
        int(path.stem): path
        for path in children(folder)
        if path.suffix.lower() in suffixes and re.fullmatch("[0-9]+", path.stem)
    }
    if not files:
        raise DataError(
            folder,
            f"expected files named by numbers, ending in {' or '.join(suffixes)}",
        )
    return dict(sorted(files.items()))
