"""Content of files, checked: bytes, numbers, tables, arrays and JSON.

Every function raises `DataError` naming the file, whatever is wrong with it.
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
# Larger than any measured number, microseconds since 1970 among them; the square of a
# number below is still a number.
_MAX_NUMBER = 1e18
# Metres; no scanner of a car reaches so far.
_MAX_FLOAT = 1e6


def read_bytes(path: pathlib.Path, limit: int = -1) -> bytes:
    """Returns the content of a file, or its start; it must not be empty."""
    try:
        with path.open("rb") as file:
            content = file.read(limit)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not content:
        raise DataError(path, f"the file is empty (0 bytes); {REPLACE}")
    return content


def unreadable(path: pathlib.Path, error: Exception) -> DataError:
    """Returns what to tell about a file that the system does not give."""
    if isinstance(error, FileNotFoundError):
        return DataError(path, "no such file; is the download complete?")
    if isinstance(error, PermissionError):
        return DataError(path, "no permission to read it; change its mode or owner")
    return DataError(path, f"cannot be read ({error})")


def exists(path: pathlib.Path) -> bool:
    """Returns whether there is such a file or folder; not being allowed to look fails."""
    try:
        return path.exists()
    except OSError as error:
        raise unreadable(path, error) from error


def is_folder(path: pathlib.Path) -> bool:
    """Returns whether there is such a folder; not being allowed to look fails."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def children(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what lies in a folder, sorted by name; hidden files are passed over."""
    try:
        found = [child for child in folder.iterdir() if child.name[0] != "."]
    except NotADirectoryError as error:
        raise DataError(folder, "expected a folder, got a file") from error
    except (OSError, ValueError) as error:
        raise unreadable(folder, error) from error
    return sorted(found)


def read_text(path: pathlib.Path) -> str:
    """Returns a UTF-8 text."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected a text, got other bytes; {REPLACE}") from error


def read_table(path: pathlib.Path, columns: int) -> np.ndarray:
    """Returns float64 `[rows columns]` from a text of numbers, one row a line.

    NaN and infinity are numbers here: what they mean is for the reader to say.
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
    """Returns float32 `[rows columns]` from a file of bare little-endian floats.

    They are measurements of a scanner: rows with a number that is not finite, or that
    no scanner measures (1e6 or more), are left out.
    """
    content = read_bytes(path)
    if len(content) % (4 * columns):
        raise DataError(
            path,
            f"expected a multiple of {4 * columns} bytes ({columns} floats a point),"
            f" got {len(content)}: it seems cut off; {REPLACE}",
        )
    rows = np.frombuffer(content, "<f4").reshape(-1, columns)
    return measured(rows).astype(np.float32)


def measured(rows: np.ndarray) -> np.ndarray:
    """Returns the rows `[n c]` whose numbers a scanner can have measured."""
    return rows[(np.abs(rows) < _MAX_FLOAT).all(axis=1)]


def read_json(path: pathlib.Path) -> Any:
    """Returns the value of a JSON file."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            path,
            f"expected JSON, but it breaks off or is damaged ({error}); {REPLACE}",
        ) from error


def read_array(path: pathlib.Path, name: str = "") -> np.ndarray:
    """Returns the array of an `.npy` file, or the one of a name in an `.npz`."""
    content = io.BytesIO(read_bytes(path))
    try:
        found = np.load(content, allow_pickle=False)
        if name:
            with found:
                return found[name]
        if isinstance(found, np.ndarray):
            return found
    except (
        OSError,
        ValueError,
        LookupError,
        EOFError,
        TypeError,
        AttributeError,
        RuntimeError,  # Also a ZIP's unknown compression.
        SyntaxError,
        MemoryError,
        tokenize.TokenError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            path, f"expected NumPy's {path.suffix}; is it cut off? ({error})"
        ) from error
    raise DataError(path, "expected one array, got an archive of several")


def field(record: Any, keys: Sequence[str | int], path: Any) -> Any:
    """Returns `record[keys[0]][keys[1]]...` of a JSON value, or says what is missing."""
    value = record
    for key in keys:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            name = ".".join(str(part) for part in keys)
            raise DataError(
                path, f"expected the field {name}, which is not there"
            ) from (error)
    return value


def numbers(value: Any, shape: tuple[int, ...], path: Any, name: str) -> np.ndarray:
    """Returns a JSON value as finite float64 of a shape."""
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
    """Returns the files of a folder whose name is a number, by that number, in order.

    Raises:
        DataError: there are none.
    """
    found = {
        int(path.stem): path
        for path in children(folder)
        if path.suffix.lower() in suffixes and re.fullmatch("[0-9]+", path.stem)
    }
    if not found:
        raise DataError(
            folder,
            f"expected files named by numbers, ending in {' or '.join(suffixes)}",
        )
    return dict(sorted(found.items()))
