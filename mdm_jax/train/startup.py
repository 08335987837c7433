"""What every command does before JAX starts its devices."""

from __future__ import annotations

import ctypes
import logging as std_logging
import os
import pathlib
import platform

import jax
from absl import logging

# Of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


def configure_jax(cpu_devices: int, compilation_cache: str):
    """Sets what must be set before JAX starts its devices.

    Args:
        cpu_devices: XLA devices a CPU is split into; no effect on accelerators.
        compilation_cache: folder; empty for the user's cache folder.
    """
    if cpu_devices > 1 and "host_platform_device_count" not in os.environ.get(
        "XLA_FLAGS", ""
    ):
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    cache = compilation_cache or str(
        pathlib.Path(
            os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"),
            "mdm_jax",
            "xla",
        )
    )
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def keep_freed_memory():
    """Lets the C library keep freed memory for the next step instead of giving it back.

    On CPUs XLA allocates the temporaries of a step anew each time. As large as they are,
    glibc maps them into memory each time, and the kernel clears them page by page: a
    fifth of the demo's time. Elsewhere than with glibc nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_M_MMAP_MAX, 0)
    # What is not mapped has room in the first arena alone.
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def quiet_libraries():
    """Leaves of the libraries' log only what goes wrong."""

    def ours_or_serious(record: std_logging.LogRecord) -> bool:
        noisy = ("orbax", "jax", "grain")
        parts = pathlib.PurePath(record.pathname).parts
        return record.levelno >= std_logging.WARNING or not any(
            part in noisy for part in parts if part != "mdm_jax"
        )

    logging.get_absl_handler().addFilter(ours_or_serious)
