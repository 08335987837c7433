"""Tests of reading files: checked content, or an error that names the file."""

import pathlib

import numpy as np
import pytest

from mdm_jax.files import file_content
from mdm_jax.files.errors import DataError


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    # Tests may run as a user whom nothing is forbidden.
    path = tmp_path / "a.txt"
    path.write_text("1 2 3")

    def forbid(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    for method, read in (
        ("open", file_content.read_bytes),
        ("iterdir", file_content.children),
        ("stat", file_content.exists),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, method, forbid)
            with pytest.raises(DataError, match=r"a.txt: no permission"):
                read(path)


def test_tables_name_the_line(tmp_path):
    path = tmp_path / "t.txt"
    for text, message in (
        ("1 2\n3\n", "line 2: expected 2 numbers, got 1"),
        ("1 2\n\nx y\n", "line 3: expected numbers"),
        ("\n", "expected rows of 2 numbers, got none"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            file_content.read_table(path, 2)
    path.write_text("1 2\n\n nan -3e2 \n")
    np.testing.assert_array_equal(
        file_content.read_table(path, 2), [[1, 2], [np.nan, -300]]
    )


def test_bare_floats_are_checked_for_being_complete(tiny, tmp_path):
    rows = np.array([[1, 2, 3], [4, np.nan, 6], [7, 8, 9]], "<f4")
    path = tiny.write(tmp_path / "a.bin", rows.tobytes())
    np.testing.assert_array_equal(file_content.read_floats(path, 3), rows[[0, 2]])
    tiny.write(path, rows.tobytes()[:-1])
    with pytest.raises(DataError, match=r"a.bin: .*got 35: it seems cut off"):
        file_content.read_floats(path, 3)


@pytest.mark.parametrize("text", ["", "{", '{"a": ', "[" * 100000, "\x00", "{'a': 1}"])
def test_broken_json_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        file_content.read_json(path)


def test_fields_are_named_with_the_way_to_them():
    record = {"a": [{"b": 1}]}
    assert file_content.field(record, ("a", 0, "b"), "f.json") == 1
    for keys in (("a", 1, "b"), ("a", 0, "c"), ("a", "b"), ("a", 0, "b", "c")):
        with pytest.raises(DataError, match=r"f.json: the field a\..* is missing"):
            file_content.field(record, keys, "f.json")


def test_numbers_have_a_shape_and_are_finite():
    np.testing.assert_array_equal(
        file_content.numbers(["1", 2], (2,), "f", "x"), [1, 2]
    )
    for value in ([1], [1, 2, 3], [1, float("nan")], [1, None], ["a", 1], {}, [[1], 2]):
        with pytest.raises(DataError, match="f: x: expected"):
            file_content.numbers(value, (2,), "f", "x")
