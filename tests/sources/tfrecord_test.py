"""Tests of TFRecord files: where records lie, and check sums."""

import numpy as np
import pytest

from mdm_jax.files.errors import DataError
from mdm_jax.sources import tfrecord


def test_the_check_sum_is_the_published_one():
    # RFC 3720, appendix B.4.
    assert tfrecord.crc32c(b"123456789") == 0xE3069283
    assert tfrecord.crc32c(bytes(32)) == 0x8A9136AA
    assert tfrecord.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert tfrecord.crc32c(bytes(range(32))) == 0x46DD794E
    assert tfrecord.crc32c(b"") == 0


def test_the_check_sum_agrees_with_a_slow_loop_at_all_lengths(tiny):
    data = np.random.default_rng(0).integers(0, 256, 600).astype(np.uint8).tobytes()
    for length in [*range(40), 100, 255, 256, 257, 599, 600]:
        expected = tiny.slow_masked_crc(data[:length])
        assert tfrecord.masked_crc(data[:length]) == expected


def test_records_come_back_as_written(tiny, tmp_path):
    contents = [b"one", b"", b"three" * 100]
    path = tiny.write(tmp_path / "a.tfrecord", tiny.tfrecord(contents))
    records, error = tfrecord.index(path)
    assert error is None
    assert [tfrecord.read(path, record) for record in records] == contents
    assert [bytes(tfrecord.glance(path, record)) for record in records] == contents


def test_a_cut_file_keeps_its_complete_records(tiny, tmp_path):
    content = tiny.tfrecord([b"one", b"two"])
    for length in range(1, len(content)):
        path = tiny.write(tmp_path / "a.tfrecord", content[:length])
        records, error = tfrecord.index(path)
        assert len(records) == (length >= len(content) // 2)
        if length != len(content) // 2:
            assert "truncated" in str(error)
            assert str(path) in str(error)


def test_a_changed_byte_is_noticed(tiny, tmp_path):
    content = bytearray(tiny.tfrecord([b"abcdefg"]))
    for place in range(len(content)):
        changed = content.copy()
        changed[place] ^= 4
        path = tiny.write(tmp_path / "a.tfrecord", bytes(changed))
        records, error = tfrecord.index(path)
        if records:
            with pytest.raises(DataError, match="wrong checksum"):
                tfrecord.read(path, records[0])
        else:
            assert "not a TFRecord header" in str(error)


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent.tfrecord: no such file"):
        tfrecord.index(tmp_path / "absent.tfrecord")
    (tmp_path / "empty.tfrecord").touch()
    with pytest.raises(DataError, match=r"empty.tfrecord: the file is empty"):
        tfrecord.index(tmp_path / "empty.tfrecord")


def test_a_file_cut_after_it_was_indexed_is_named(tiny, tmp_path):
    path = tiny.write(tmp_path / "a.tfrecord", tiny.tfrecord([b"one" * 9]))
    (record,), _ = tfrecord.index(path)
    path.write_bytes(path.read_bytes()[:20])
    for read in (tfrecord.read, tfrecord.glance):
        with pytest.raises(DataError, match="ends within the record"):
            read(path, record)
