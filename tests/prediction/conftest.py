"""A model that needs no training, and frames that need no camera."""

import types

import cv2
import numpy as np
import pytest

from mdm_jax import config as config_lib
from mdm_jax import methods
from mdm_jax.methods import inference

SIZE = (32, 48)


class FakeModel(inference.Model):
    """Predicts depth from brightness, a camera that drives ahead, and a moving patch.

    Attributes:
        calls: shape of the frames of each call.
    """

    def __init__(self, config):
        super().__init__(config, methods.create(config), {}, step=7)
        object.__setattr__(self, "calls", [])

    def maps(self, arrays):
        frames = arrays["frames"]
        self.calls.append(frames.shape)
        num_clips, num_frames, height, width, _ = frames.shape
        depth = 2.0 + frames[:, 0].astype(np.float32).mean(axis=-1) / 16
        if num_frames == 1:
            return {"depth": depth}
        motion = np.zeros((num_clips, height, width, 3), np.float32)
        motion[:, 8:16, 8:16, 0] = 0.5
        return {
            "depth": depth,
            "rotation": np.tile(np.eye(3, dtype=np.float32), (num_clips, 1, 1)),
            "translation": np.tile(np.float32([0, 0, -0.25]), (num_clips, 1)),
            "object_motion": motion,
            "valid": depth > 3,
            "occluded": depth > 10,
            "intrinsics": arrays["intrinsics"],
        }


@pytest.fixture
def config():
    """Config of a run on frames of 32 x 48 pixels, with given intrinsics."""
    settings = config_lib.base_config()
    settings.dataset.size = SIZE
    return settings


@pytest.fixture
def model(config):
    """A fake model, which records its calls."""
    return FakeModel(config)


@pytest.fixture
def altered(monkeypatch):
    """Returns a function that passes the maps of a model through another function."""

    def alter(model, change):
        maps = model.maps
        monkeypatch.setitem(
            model.__dict__, "maps", lambda arrays: change(maps(arrays), arrays)
        )

    return alter


@pytest.fixture
def write_frames(tmp_path):
    """Returns a function that writes a folder of images and a cam.txt beside them."""

    def write(count, *, size=(80, 96)):
        folder = tmp_path / "frames"
        folder.mkdir()
        rng = np.random.default_rng(0)
        texture = rng.integers(40, 255, (10, 20, 3), np.uint8)
        wide = cv2.resize(texture, (2 * size[1], size[0]), interpolation=1)
        for i in range(count):
            path = folder / f"view_{i}.png"
            cv2.imwrite(str(path), wide[:, 2 * i : 2 * i + size[1]])
        (folder / "cam.txt").write_text(f"90 90 {size[1] / 2} {size[0] / 2}")
        return folder

    return write


@pytest.fixture
def summary():
    """The few numbers that stored frames must have beside their maps."""
    return types.MappingProxyType(
        {"max_depth": 9.0, "median_depth": 4.0, "inverse_depth_limit": 0.5}
    )
