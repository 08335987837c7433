"""The wire format of protocol buffers: reads fields by number, without generated code.

A message is a sequence of fields. Each field is a tag, `number << 3 | type`, and a
value: a varint (type 0), 8 bytes (1), a length and that many bytes (2), or 4 bytes (5).
    Repeated
numbers are stored one by one or packed into bytes. A message is a `memoryview`, so that
submessages are not copied and unused parts of a file are not read.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

Value = int | memoryview


class WireError(ValueError):
    """The bytes are not a message."""


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Yields (number, value) of each field: varints as int, other types as bytes.

    Raises:
        WireError: the bytes are not a message, or are truncated.
    """
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == 2:
            length, place = _varint(message, place)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"field {number} has the unknown wire type {kind}")
        if place + length > len(message):
            raise WireError(f"field {number} is truncated")
        yield number, message[place : place + length]
        place += length


def repeated(message: memoryview, number: int) -> list[Value]:
    """Returns the values of all fields with a number."""
    return [value for found, value in fields(message) if found == number]


def messages(message: memoryview, number: int) -> list[memoryview]:
    """Returns all messages, texts or byte strings with a field number."""
    found = repeated(message, number)
    for value in found:
        if isinstance(value, int):
            raise WireError(f"field {number} is a number, expected bytes")
    return [value for value in found if isinstance(value, memoryview)]


def message(parent: memoryview, number: int) -> memoryview:
    """Returns the last message, text or byte string with a number; empty if none."""
    found = messages(parent, number)
    return found[-1] if found else memoryview(b"")


def integer(parent: memoryview, number: int) -> int:
    """Returns the last varint with a field number; 0 if there is none."""
    found = repeated(parent, number)
    if found and not isinstance(found[-1], int):
        raise WireError(f"field {number} is bytes, expected an integer")
    value = found[-1] if found else 0
    return value if isinstance(value, int) else 0


def doubles(parent: memoryview, number: int) -> np.ndarray:
    """Returns the doubles with a field number, float64 `[n]`, packed or not."""
    return _floats(parent, number, "<f8")


def floats(parent: memoryview, number: int) -> np.ndarray:
    """Returns the floats with a field number, float32 `[n]`, packed or not."""
    return _floats(parent, number, "<f4")


def integers(parent: memoryview, number: int) -> np.ndarray:
    """Returns the varints with a field number, int64 `[n]`, packed or not."""
    parts = []
    for value in repeated(parent, number):
        if isinstance(value, int):
            parts.append(np.array([value], np.uint64).astype(np.int64))
        else:
            parts.append(_packed_varints(value))
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _floats(parent: memoryview, number: int, dtype: str) -> np.ndarray:
    content = b"".join(messages(parent, number))
    if len(content) % np.dtype(dtype).itemsize:
        raise WireError(f"field {number} holds {len(content)} bytes, expected {dtype}")
    return np.frombuffer(content, dtype)


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    """Returns the number at a position, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise WireError("a number is truncated")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
    raise WireError("a number is longer than 10 bytes")


def _packed_varints(content: memoryview) -> np.ndarray:
    """Returns consecutive varints, int64 `[n]`; vectorised, as there are millions."""
    octets = np.frombuffer(content, np.uint8)
    if not len(octets):
        return np.zeros(0, np.int64)
    last = np.flatnonzero(octets < 0x80)
    if not len(last) or last[-1] != len(octets) - 1:
        raise WireError("packed numbers are truncated")
    starts = np.concatenate([[0], last[:-1] + 1])
    lengths = last + 1 - starts
    if lengths.max() > 10:
        raise WireError("a packed number is longer than 10 bytes")
    position = np.arange(len(octets)) - np.repeat(starts, lengths)
    # Seven bits each, lowest first; the upper bits of the tenth byte are dropped.
    bits = (octets & 0x7F).astype(np.uint64) << (7 * position).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, starts).view(np.int64)
