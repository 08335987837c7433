"""Trains: `python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo`.

The same command resumes a run that was stopped. See `mdm_jax/config.py` for every
setting; any can be overridden, as in `--config.train.num_steps=1000`.

Several hosts (a TPU pod slice, a Slurm or Open MPI job) train together when the same
command is started on each of them with `--multihost`, with a workdir that all of them
see; who they are, `jax.distributed.initialize()` finds out from the environment. The
batch size is that of all hosts together.
"""

from __future__ import annotations

import logging as std_logging
import os
import pathlib
import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment file, such as configs/synthetic.py or ...py:long."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints, metrics and pictures of this run."
)
_MULTIHOST = flags.DEFINE_bool(
    "multihost", False, "Train together with other hosts that run this command."
)


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


def quiet_libraries():
    """Leaves of the libraries' log only what goes wrong."""

    def ours_or_serious(record: std_logging.LogRecord) -> bool:
        noisy = ("orbax", "jax", "grain")
        parts = pathlib.PurePath(record.pathname).parts
        return record.levelno >= std_logging.WARNING or not any(
            part in noisy for part in parts if part != "mdm_jax"
        )

    logging.get_absl_handler().addFilter(ours_or_serious)


def main(argv: list[str]):
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")
    logging.set_verbosity(logging.INFO)
    quiet_libraries()
    config, workdir = _CONFIG.value, _WORKDIR.value
    if workdir is None:
        raise app.UsageError("--workdir is missing: the folder of the run")
    configure_jax(config.train.cpu_devices, config.train.compilation_cache)
    if _MULTIHOST.value:
        jax.distributed.initialize()
    # Imported here: some of these modules ask JAX for its devices.
    from mdm_jax.train import loop

    logging.info("%d x %s", jax.device_count(), jax.devices()[0].device_kind)
    try:
        loop.train_and_evaluate(config, workdir)
    except (ValueError, OSError, FloatingPointError) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")


def run():
    """The console entry point."""
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)


if __name__ == "__main__":
    run()
