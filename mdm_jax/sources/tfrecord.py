"""TFRecord files without TensorFlow: locations and checksums of the records.

A record is: length (8 bytes, little endian), masked CRC-32C of these 8 bytes, the data,
masked CRC-32C of the data. The mask is `rotate_right(crc, 15) + 0xa282ead8`.
"""

from __future__ import annotations

import functools
import mmap
import pathlib
import struct
from typing import NamedTuple

import numpy as np

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class Record(NamedTuple):
    """The location of the data of a record in its file, in bytes."""

    offset: int
    length: int


class Index(NamedTuple):
    """The records of a file.

    Attributes:
        records: complete records before the first damage.
        error: the damage; None for an intact file.
    """

    records: tuple[Record, ...]
    error: DataError | None


def index(path: pathlib.Path) -> Index:
    """Returns the records of a file without reading their data.

    Raises:
        DataError: the file cannot be read.
    """
    records: list[Record] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            place = 0
            while place < size:
                header = file.read(_HEADER.size)
                problem = _header_problem(header, size - place)
                if problem:
                    error = DataError(
                        path, f"record {len(records)} at byte {place}: {problem}"
                    )
                    return Index(tuple(records), error)
                length, _ = _HEADER.unpack(header)
                records.append(Record(place + _HEADER.size, length))
                place += _HEADER.size + length + _FOOTER.size
                file.seek(place)
    except (OSError, ValueError) as error:
        raise file_content.unreadable(path, error) from error
    if not records:
        raise DataError(path, "the file is empty (0 bytes); download it again")
    return Index(tuple(records), None)


def read(path: pathlib.Path, record: Record) -> bytes:
    """Returns the data of a record, after verifying its checksum.

    Raises:
        DataError: the file cannot be read, or the record is damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(record.offset)
            data = file.read(record.length)
            footer = file.read(_FOOTER.size)
    except (OSError, ValueError) as error:
        raise file_content.unreadable(path, error) from error
    if len(footer) < _FOOTER.size:
        raise DataError(path, f"ends within the record at byte {record.offset}")
    if masked_crc(data) != _FOOTER.unpack(footer)[0]:
        raise DataError(
            path,
            f"the record at byte {record.offset} has a wrong checksum; download the"
            " file again",
        )
    return data


def glance(path: pathlib.Path, record: Record) -> memoryview:
    """Returns the data of a record without a check; bytes are read on access.

    Raises:
        DataError: the file cannot be read, or ends before the record does.
    """
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise file_content.unreadable(path, error) from error
    data = memoryview(content)[record.offset : record.offset + record.length]
    if len(data) < record.length:
        raise DataError(path, f"ends within the record at byte {record.offset}")
    return data


def masked_crc(data: bytes) -> int:
    """Returns the masked CRC-32C of bytes."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C (Castagnoli) of bytes.

    The checksum is linear over the bits. The data are therefore cut into rows whose
    checksums are computed in parallel and then combined: the state after two rows is
    `shift(state of the first) ^ state of the second`, where `shift` appends zeros.
    """
    table = _table()
    width = max(1, int(np.sqrt(len(data))))
    num_rows = len(data) // width
    rows = np.frombuffer(data, np.uint8, num_rows * width).reshape(num_rows, width)
    states = np.zeros(num_rows, np.uint32)
    for column in np.ascontiguousarray(rows.T):
        states = table[(states ^ column) & 0xFF] ^ (states >> np.uint32(8))
    shift = _zeros(width)
    crc = 0xFFFFFFFF
    for state in states.tolist():
        crc = (
            shift[0][crc & 0xFF]
            ^ shift[1][crc >> 8 & 0xFF]
            ^ shift[2][crc >> 16 & 0xFF]
            ^ shift[3][crc >> 24]
            ^ state
        )
    for byte in data[num_rows * width :]:
        crc = int(table[(crc ^ byte) & 0xFF]) ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _header_problem(header: bytes, remaining: int) -> str:
    if len(header) < _HEADER.size:
        return "the file is truncated; download it again"
    length, check = _HEADER.unpack(header)
    if masked_crc(header[:8]) != check:
        return "not a TFRecord header (wrong checksum); is this a TFRecord file?"
    if _HEADER.size + length + _FOOTER.size > remaining:
        return (
            f"the file is truncated, {length} bytes were announced; download it again"
        )
    return ""


@functools.cache
def _table() -> np.ndarray:
    """Returns uint32 `[256]`: the state after one byte from state 0."""
    states = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        low = states & np.uint32(1)
        states = (states >> np.uint32(1)) ^ (low * np.uint32(_POLYNOMIAL))
    return states


@functools.lru_cache(maxsize=64)
def _zeros(count: int) -> list[list[int]]:
    """Returns 4 x 256 values: each byte of a state after `count` zero bytes."""
    table = _table()
    place = np.arange(4, dtype=np.uint32)[:, None] * np.uint32(8)
    states = np.arange(256, dtype=np.uint32)[None, :] << place
    for _ in range(count):
        states = table[states & np.uint32(0xFF)] ^ (states >> np.uint32(8))
    return states.tolist()
