"""Setup of every command before JAX starts its devices."""

from __future__ import annotations

import logging as std_logging
import os
import pathlib

import jax
from absl import logging


def configure_jax(cpu_devices: int, compilation_cache: str):
    """Configures JAX; must be called before it starts its devices.

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


def quiet_libraries():
    """Hides the log of libraries, except for warnings and errors."""

    def ours_or_serious(record: std_logging.LogRecord) -> bool:
        noisy = ("orbax", "jax", "grain")
        parts = pathlib.PurePath(record.pathname).parts
        return record.levelno >= std_logging.WARNING or not any(
            part in noisy for part in parts if part != "mdm_jax"
        )

    logging.get_absl_handler().addFilter(ours_or_serious)
