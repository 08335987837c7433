"""What the tests of prepared data sets share: tiny raw data sets, and building them."""

from __future__ import annotations

import hashlib
import pathlib

import pytest

from mdm_jax import config as config_lib
from mdm_jax.prepared import build
from mdm_jax.prepared.options import Options

SIZE = (32, 48)


@pytest.fixture
def prepare(tmp_path):
    """Function that prepares a raw folder in this process and returns its folder."""

    def run(
        name,
        source,
        *,
        data_dir="prepared",
        num_processes=1,
        annotator=None,
        **options,
    ):
        defaults = {"size": SIZE, "frames_per_shard": 2, "image_format": "png"}
        made = Options(
            name=name,
            source=str(source),
            data_dir=str(tmp_path / data_dir),
            **{**defaults, **options},
        )
        runner = build.on_processes(num_processes)
        return build.build(made, runner=runner, annotator=annotator)

    return run


@pytest.fixture
def dataset():
    """Function that returns `config.dataset` of a name, a path and other fields."""

    def make(name, path, tmp_path, **options):
        found = config_lib.base_config().dataset
        found.update(name=name, path=str(path), size=SIZE)
        found.cache_dir = str(tmp_path / "cache")
        found.update(options)
        return found

    return make


@pytest.fixture
def tree():
    """Function that returns the digest of every file below a folder, by its name."""

    def digests(folder: pathlib.Path):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return digests


@pytest.fixture
def video_folder(tiny, tmp_path):
    """Folder with two folders of images, of five and three frames, and their camera."""
    root = tmp_path / "videos"
    for name, count in (("first", 5), ("second", 3)):
        for index in range(count):
            content = tiny.encoded(tiny.image(seed=index, height=40, width=50))
            tiny.write(root / name / f"{index}.png", content)
    tiny.write(root / "cam.txt", "40 41 24 19")
    return root
