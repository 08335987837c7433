"""Cached arrays are computed once, are complete, and travel to workers as a location."""

import dataclasses
import pickle

import numpy as np
import pytest

from mdm_jax.files import array_cache

SHAPE = (3, 5)


def _entry(tmp_path, **changes):
    entry = array_cache.Entry(
        tmp_path / "cache", "a drive/02", "depth", "0123", SHAPE, np.float32, 4
    )
    return dataclasses.replace(entry, **changes)


def _items(count=4):
    rng = np.random.default_rng(0)
    return [rng.uniform(size=SHAPE).astype(np.float32) for _ in range(count)]


def test_items_are_computed_once(tmp_path):
    entry, items = _entry(tmp_path), _items()
    array = array_cache.cached(entry, iter(items))
    np.testing.assert_array_equal(array, items)
    assert array.filename == entry.path and not array.flags.writeable
    assert entry.path.name == "a_drive_02-depth-0123.npy"

    def fail():
        pytest.fail("computed again")
        yield

    np.testing.assert_array_equal(array_cache.cached(entry, fail()), items)
    np.testing.assert_array_equal(np.load(entry.path), items)


@pytest.mark.parametrize("count", [0, 1, 123])
def test_the_number_of_items_need_not_be_known(tmp_path, count):
    items = _items(count)
    array = array_cache.cached(_entry(tmp_path, expected=0), iter(items))
    assert array.shape == (count, *SHAPE)
    np.testing.assert_array_equal(array, np.array(items).reshape(count, *SHAPE))


def test_a_failure_leaves_no_file(tmp_path):
    def broken():
        yield from _items(2)
        raise KeyError

    with pytest.raises(KeyError):
        array_cache.cached(_entry(tmp_path), broken())
    with pytest.raises(ValueError, match=r"expected float32 \(3, 5\), got uint8"):
        array_cache.cached(_entry(tmp_path), [np.zeros(SHAPE, np.uint8)])
    assert not list((tmp_path / "cache").iterdir())


def test_a_part_travels_as_its_location(tmp_path):
    items = _items(7)
    array = array_cache.cached(_entry(tmp_path), iter(items))
    part = array_cache.part(array, 2, 5)
    np.testing.assert_array_equal(part, items[2:5])
    location = array_cache.detach(part)
    assert isinstance(location, array_cache.MappedFile)
    content = pickle.dumps(location)
    assert len(content) < 1000
    np.testing.assert_array_equal(array_cache.attach(pickle.loads(content)), items[2:5])
    assert array_cache.part(array, 0, 7) is array
    plain = items[0]
    assert array_cache.attach(array_cache.detach(plain)) is plain
