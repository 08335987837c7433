"""What all tests share: eight fake CPU devices, strict JAX settings, sample data."""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import sys
import time

import jaxtyping
import pytest
from absl import flags

pytest_plugins = ("tests.tiny_sets",)

# JAX reads these when it is first imported, which no line of this file does. They are
# environment variables, so that they also hold in the processes that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
# Compiling is most of what tests do, and without LLVM's optimisations takes half as long.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

# Shapes and types in the signatures of these packages are checked at every call. They
# map arrays to arrays; pytrees carry other things than arrays inside transformations.
_CHECKED = ("geometry", "losses", "evaluation", "visualize")
# An int is a float, as for static type checkers.
_TYPE_CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
jaxtyping.install_import_hook([f"mdm_jax.{name}" for name in _CHECKED], _TYPE_CHECKER)

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_CACHE_DAYS = 14


def _share_compiled_programs() -> None:
    """Keeps compiled programs between runs: compiling is most of what tests do."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        cache = cache.expanduser() / "mdm_jax" / "tests"
        cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return  # No place to keep them: the tests compile everything anew.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        oldest = time.time() - _CACHE_DAYS * 24 * 3600
        for entry in cache.iterdir():
            if entry.is_file() and entry.stat().st_mtime < oldest:
                entry.unlink(missing_ok=True)


# Here and not in a hook: the conftest of a folder that a path on the command line is in
# may import JAX before any hook runs.
_share_compiled_programs()


def pytest_configure() -> None:
    # Grain reads absl flags, which only a command line would have parsed.
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def sample_data() -> pathlib.Path:
    """Folder of real recordings; tests that need it are skipped where it is absent."""
    default = _ROOT.parent / "shared" / "data"
    folder = pathlib.Path(os.environ.get("MDM_SAMPLE_DATA") or default)
    if not folder.is_dir():
        pytest.skip(f"no sample data in {folder}; MDM_SAMPLE_DATA names its folder")
    return folder


@pytest.fixture
def import_command(monkeypatch):
    """Imports a command of the package, with flags of its own: they share names."""
    from ml_collections import config_flags

    def load(name):
        values, module = flags.FlagValues(), f"mdm_jax.{name}"
        with monkeypatch.context() as patch:
            for library in (flags, config_flags):
                names = {d for d in vars(library) if d.startswith("DEFINE_")}
                # This one is called by the others, with their flags.
                for define in names - {"DEFINE_flag"}:
                    own = functools.partial(
                        getattr(library, define), flag_values=values
                    )
                    patch.setattr(library, define, own)
            patch.delitem(sys.modules, module, raising=False)
            command = importlib.import_module(module)
        sys.modules.pop(module, None)
        return command, values

    return load


@pytest.fixture
def tiny_config():
    """Config of method A with networks so narrow that a step takes milliseconds."""
    from mdm_jax import config as config_lib

    config = config_lib.base_config()
    config.dataset.size = (32, 40)
    config.augment.min_crop_scale = 1.0
    config.augment.color_probability = 0.0
    config.networks.width_multiplier = 0.0625
    config.motion_field.motion_net = "correlation"
    config.networks.motion_width_multiplier = 0.125
    config.networks.correlation_radius = (2, 1)
    config.motion_field.ego_compensation = False
    config.motion_field.burnin_steps = 0
    config.networks.norm_noise = 0.0
    config.optimizer.learning_rate = 1e-3
    config.train.batch_size = 8
    config.evaluation.batch_size = 8
    config.evaluation.max_frames = 8
    return config


@pytest.fixture
def tiny_recordings():
    """Two drives of six frames towards a textured wall, one patch of it moving."""
    import numpy as np

    from mdm_jax.recording.arrays import Recording

    rng = np.random.default_rng(0)
    num_frames, height, width = 6, 32, 40
    intrinsics = np.array([[30.0, 0, 19.5], [0, 30.0, 15.5], [0, 0, 1]], np.float32)
    poses = np.tile(np.eye(4), (num_frames, 1, 1))
    poses[:, 2, 3] = 0.4 * np.arange(num_frames)
    depth = np.broadcast_to(
        (10.0 - poses[:, 2, 3])[:, None, None], (num_frames, height, width)
    )
    depth = depth + np.linspace(0, 8, width)[None, None, :]
    labels = np.zeros((num_frames, height, width), np.uint8)
    labels[:, 10:20, 10:22] = 1
    objects = np.tile(np.eye(4), (num_frames, 1, 1, 1))
    objects[:, 0, 0, 3] = 0.3 * np.arange(num_frames)

    def drive(name):
        blocks = rng.integers(0, 255, (num_frames, height // 4, width // 4, 3))
        frames = blocks.repeat(4, axis=1).repeat(4, axis=2).astype(np.uint8)
        return Recording(
            name,
            frames,
            intrinsics=intrinsics,
            depth=depth.astype(np.float32),
            world_from_camera=poses,
            instance_labels=labels,
            world_from_object=objects,
        )

    return [drive("first"), drive("second")]
