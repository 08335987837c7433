"""A file is complete under its name or absent, whatever interrupts the writing."""

import json
import os

import numpy as np
import pytest

from mdm_jax.files import atomic


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic.replacing(path) as temporary:
        assert temporary.suffix == ".txt" and temporary.parent == path.parent
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyError), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_folder_leaves_nothing(tmp_path):
    path = tmp_path / "new" / "run"
    with pytest.raises(KeyError), atomic.new_folder(path) as temporary:
        (temporary / "a").touch()
        raise KeyError
    assert not list(path.parent.iterdir())
    with atomic.new_folder(path) as temporary:
        (temporary / "a").touch()
    assert [entry.name for entry in path.iterdir()] == ["a"]
    # The permissions are those of any other new folder.
    (tmp_path / "other").mkdir()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_content_is_synchronised_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)

        def recorded(*args, name=name, function=function):
            calls.append(name)
            return function(*args)

        monkeypatch.setattr(os, name, recorded)
    atomic.write_bytes(tmp_path / "a", b"content", sync=True)
    assert calls == ["fsync", "replace"]
    assert (tmp_path / "a").read_bytes() == b"content"


def test_json_holds_only_values_that_json_can_express(tmp_path):
    path = tmp_path / "a.json"
    values = {"b": np.arange(3), "a": np.float32(np.nan), "c": (1.5, None, True)}
    atomic.write_json(path, values)
    read = json.loads(path.read_text())
    assert read == {"b": [0, 1, 2], "a": None, "c": [1.5, None, True]}
    assert list(read) == ["b", "a", "c"]
    atomic.write_json(path, values, sort_keys=True)
    assert list(json.loads(path.read_text())) == ["a", "b", "c"]


def test_names_as_long_as_a_file_system_allows_can_be_written(tmp_path):
    path = tmp_path / ("ö" * 124 + ".json")
    atomic.write_text(path, "text")
    assert path.read_text() == "text"


def test_abandoned_files_are_removed_when_they_are_old_enough(tmp_path):
    for name in ("old", "young"):
        with pytest.raises(KeyError), atomic.replacing(tmp_path / name) as temporary:
            temporary.touch()
            (tmp_path / f".{name}-12345678.part.npy").touch()
            raise KeyError
    (tmp_path / "kept.npy").touch()
    os.utime(tmp_path / ".old-12345678.part.npy", (1, 1))
    atomic.remove_abandoned(tmp_path, min_age=60.0)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".young-12345678.part.npy", "kept.npy"}
    atomic.remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"kept.npy"}
