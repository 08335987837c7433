"""What all tests share: eight fake CPU devices, strict JAX settings, sample data."""

from __future__ import annotations

import os
import pathlib
import time

import pytest
from absl import flags

# JAX reads these when it is first imported, which no line of this file does. They are
# environment variables, so that they also hold in the processes that tests start.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"

_ROOT = pathlib.Path(__file__).resolve().parents[1]
_CACHE_DAYS = 14


def _share_compiled_programs() -> None:
    """Keeps compiled programs between runs and test processes: most of the time."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    cache = cache / "mdm_jax" / "tests"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # No place to keep them: the tests compile everything anew.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
    if "PYTEST_XDIST_WORKER" not in os.environ:
        oldest = time.time() - _CACHE_DAYS * 24 * 3600
        for entry in cache.iterdir():
            if entry.is_file() and entry.stat().st_mtime < oldest:
                entry.unlink(missing_ok=True)


def pytest_configure() -> None:
    _share_compiled_programs()
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
