"""Tests of building on Apache Beam; skipped where it is not installed."""

import sys

import pytest

from mdm_jax.prepared import beam, build
from mdm_jax.prepared.options import Options


def test_beam_gives_the_same_bytes(tiny, prepare, tree, tmp_path):
    pytest.importorskip("apache_beam")
    root = tiny.kitti_raw(tmp_path / "raw")
    expected = tree(prepare("kitti_raw", root))
    options = Options(
        name="kitti_raw",
        source=str(root),
        data_dir=str(tmp_path / "beam"),
        size=(32, 48),
        frames_per_shard=2,
        image_format="png",
    )
    folder = build.build(options, runner=beam.on_beam(["--runner=DirectRunner"]))
    assert tree(folder) == expected


def test_without_beam_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"mdm_jax\[beam\]"):
        beam.on_beam([])
