"""Fingerprints change with what they are taken of, and with nothing else."""

import dataclasses
import hashlib
import os

import numpy as np
import pytest

from mdm_jax.files import fingerprint
from mdm_jax.files.errors import DataError


@dataclasses.dataclass
class _Options:
    size: tuple[int, int]
    matrix: np.ndarray


def test_a_digest_follows_values_and_not_their_containers():
    one = _Options((3, 4), np.eye(3))
    same = fingerprint.digest({"b": 1, "a": [one]})
    assert len(same) == 16
    assert same == fingerprint.digest({"a": (_Options((3, 4), np.eye(3)),), "b": 1})
    changed = np.eye(3)
    changed[1, 2] = 1e-12
    others = (
        _Options((4, 3), np.eye(3)),
        _Options((3, 4), changed),
        _Options((3, 4), np.eye(3, dtype=np.float32)),
    )
    assert len({same, *(fingerprint.digest({"b": 1, "a": [o]}) for o in others)}) == 4
    with pytest.raises(TypeError, match="fingerprint.*object"):
        fingerprint.digest(object())


def test_an_identity_changes_with_path_size_and_time(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"12")
    os.utime(path, ns=(5, 5))
    assert fingerprint.file_identity(path) == (str(path.resolve()), 2, 5)
    other.write_bytes(b"12")
    os.utime(other, ns=(5, 5))
    one, two = fingerprint.file_identities([path, other, path, tmp_path / "missing"])
    assert one == fingerprint.file_identity(path) != two
    with pytest.raises(DataError, match="missing: no such file"):
        fingerprint.file_identity(tmp_path / "missing")


def test_the_content_digest_is_the_sha_256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"content")
    expected = hashlib.sha256(b"content").hexdigest()
    assert fingerprint.content_digest(path) == expected
    with pytest.raises(DataError, match="missing: no such file"):
        fingerprint.content_digest(tmp_path / "missing")
