"""Tests of the wire format, against an encoder written from its definition."""

import struct

import numpy as np
import pytest

from mdm_jax.sources import protobuf_wire as wire


def test_fields_come_back_as_encoded(tiny):
    content = tiny.message((1, 300), (2, b"text"), (3, 1.5), (15, 0), (16, 2**63 + 5))
    content += tiny.varint(7 << 3 | 5) + struct.pack("<f", 2.5)
    found = list(wire.fields(memoryview(content)))
    assert [number for number, _ in found] == [1, 2, 3, 15, 16, 7]
    assert found[0][1] == 300
    assert bytes(found[1][1]) == b"text"
    assert found[4][1] == 2**63 + 5


def test_the_last_value_counts_and_a_missing_one_is_zero(tiny):
    content = memoryview(tiny.message((1, 3), (2, b"a"), (1, 4), (2, b"b")))
    assert wire.integer(content, 1) == 4
    assert bytes(wire.message(content, 2)) == b"b"
    assert wire.integer(content, 9) == 0
    assert len(wire.message(content, 9)) == 0


def test_repeated_numbers_may_be_packed_or_not(tiny):
    values = [1.0, -2.5, 3e300]
    one_by_one = memoryview(tiny.message(*((4, value) for value in values)))
    packed = memoryview(tiny.message((4, struct.pack("<3d", *values))))
    np.testing.assert_array_equal(wire.doubles(one_by_one, 4), values)
    np.testing.assert_array_equal(wire.doubles(packed, 4), values)
    assert wire.doubles(packed, 5).shape == (0,)
    floats = memoryview(tiny.message((1, struct.pack("<2f", 0.5, -8))))
    np.testing.assert_array_equal(wire.floats(floats, 1), [0.5, -8])


def test_integers_of_every_length_and_sign_come_back(tiny):
    values = [0, 1, 127, 128, 16383, 16384, -1, 2**31, -(2**31), 2**63 - 1, -(2**63)]
    one_by_one = memoryview(tiny.message(*((4, value) for value in values)))
    packed = memoryview(
        tiny.message((4, b"".join(tiny.varint(value) for value in values)))
    )
    for content in (one_by_one, packed):
        np.testing.assert_array_equal(wire.integers(content, 4), values)
    assert wire.integers(memoryview(tiny.message((4, b""))), 4).shape == (0,)


@pytest.mark.parametrize(
    "content",
    [
        b"\x08",  # a tag without its value
        b"\x08\x80",  # a number that goes on
        b"\x08" + b"\xff" * 11,  # and on
        b"\x0a\x05abc",  # bytes that break off
        b"\x09abc",  # likewise a double
        b"\x0b",  # a group, which nobody writes
    ],
)
def test_what_is_no_message_is_an_error(content):
    with pytest.raises(wire.WireError):
        list(wire.fields(memoryview(content)))


def test_values_of_another_type_are_errors(tiny):
    content = memoryview(
        tiny.message((1, 5), (2, b"abc"), (3, b"\x80"), (4, b"\x80" * 11))
    )
    with pytest.raises(wire.WireError, match="is a number"):
        wire.message(content, 1)
    with pytest.raises(wire.WireError, match="is bytes"):
        wire.integer(content, 2)
    with pytest.raises(wire.WireError, match="3 bytes"):
        wire.doubles(content, 2)
    with pytest.raises(wire.WireError, match="truncated"):
        wire.integers(content, 3)
