"""Parquet tables: reads rows by their keys, and single values.

Reading needs pyarrow (extra `waymo`), which is imported when it is first used. The last
blocks are cached, because a table stores many rows in one block.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mdm_jax.files import file_content, fingerprint
from mdm_jax.files.errors import DataError


class Row(NamedTuple):
    """The location of a row in a Parquet file."""

    group: int
    index: int


def pyarrow_parquet() -> Any:
    """Returns the Parquet module of pyarrow."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Waymo v2 is stored as Parquet, which needs pyarrow: pip install"
            " 'mdm_jax[waymo]'"
        ) from error
    return parquet


def rows(path: pathlib.Path, keys: Sequence[str]) -> dict[tuple[int, ...], Row]:
    """Returns the location of each row, by the integers in its key columns.

    Raises:
        DataError: the file is missing or damaged, or has no such column.
        ImportError: pyarrow is not installed.
    """
    return _cached_rows(path, tuple(keys), fingerprint.file_identity(path))


def value(path: pathlib.Path, row: Row, column: str) -> Any:
    """Returns a value of a table as a pyarrow scalar.

    Raises:
        DataError: the file is missing or damaged, or has no such row or column.
    """
    # Blocks of images and range images are large, so only a few are cached.
    large = column.endswith((".image", ".values", ".panoptic_label"))
    cached = _large_column if large else _small_column
    values = cached(path, row.group, column, fingerprint.file_identity(path))
    with _reading(path):
        return values[row.index]


def number(path: pathlib.Path, row: Row, column: str) -> float:
    """Returns a finite number of a table."""
    found = value(path, row, column).as_py()
    return float(file_content.numbers(found, (), path, column))


def numbers(path: pathlib.Path, row: Row, column: str) -> np.ndarray:
    """Returns the numbers `[n]` of a list; empty if the row has no list."""
    found = value(path, row, column)
    if not found.is_valid:
        return np.zeros(0)
    values = getattr(found, "values", None)
    with _reading(path):
        array = None if values is None else values.to_numpy(zero_copy_only=False)
    if array is None or array.dtype.kind not in "fiu":
        raise DataError(path, f"{column}: expected a list of numbers, got {found.type}")
    return array


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Turns errors of pyarrow in its body into `DataError`s that name the file."""
    import pyarrow

    try:
        yield
    except (
        pyarrow.ArrowException,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        OverflowError,
        MemoryError,
    ) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, FileNotFoundError | PermissionError):
            raise file_content.unreadable(path, error) from error
        text = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise DataError(
            path, f"expected a Parquet table; is it truncated? ({text})"
        ) from error


@functools.lru_cache(maxsize=16)
def _cached_rows(
    path: pathlib.Path, keys: tuple[str, ...], identity: fingerprint.FileIdentity
) -> dict[tuple[int, ...], Row]:
    del identity
    found: dict[tuple[int, ...], Row] = {}
    with _reading(path), pyarrow_parquet().ParquetFile(path) as table:
        missing = set(keys) - set(table.schema_arrow.names)
        if missing:
            raise DataError(path, f"has no column {', '.join(sorted(missing))}")
        for group in range(table.num_row_groups):
            columns = table.read_row_group(group, columns=list(keys))
            lists = [columns.column(key).to_pylist() for key in keys]
            for index, key in enumerate(zip(*lists, strict=True)):
                if not all(isinstance(part, int) for part in key):
                    raise DataError(path, f"expected integers in {keys}, got {key}")
                found[key] = Row(group, index)
    return found


def _column(
    path: pathlib.Path, group: int, column: str, identity: fingerprint.FileIdentity
) -> Any:
    del identity
    with _reading(path), pyarrow_parquet().ParquetFile(path) as table:
        if column not in table.schema_arrow.names:
            raise DataError(path, f"has no column {column}")
        columns = table.read_row_group(group, columns=[column])
        columns.validate(full=True)
        return columns.column(column)


_small_column = functools.lru_cache(maxsize=64)(_column)
_large_column = functools.lru_cache(maxsize=8)(_column)
