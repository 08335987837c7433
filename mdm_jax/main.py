"""Trains: `python -m mdm_jax.main --config=configs/synthetic.py --workdir=runs/demo`.

The same command resumes a run that was stopped. See `mdm_jax/config.py` for every
setting; any can be overridden, as in `--config.train.num_steps=1000`.

Several hosts (a TPU pod slice, a Slurm or Open MPI job) train together when the same
command is started on each of them with `--multihost`, with a workdir that all of them
see; who they are, `jax.distributed.initialize()` finds out from the environment. The
batch size is that of all hosts together.
"""

from __future__ import annotations

import sys

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from mdm_jax import command_line, explain, settings
from mdm_jax.methods import renamed_settings
from mdm_jax.training import startup

config_flags.register_flag_parser_for_type(tuple, settings.TupleParser())

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment file, such as configs/synthetic.py or ...py:long."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for checkpoints, metrics and pictures of this run."
)
_MULTIHOST = flags.DEFINE_bool(
    "multihost", False, "Train together with other hosts that run this command."
)
_EXPLAIN = flags.DEFINE_bool(
    "explain", False, "Print the settings that differ from the defaults, and stop."
)


def main(argv: list[str]):
    command_line.check_no_arguments(argv)
    command_line.log_progress()
    startup.quiet_libraries()
    config, workdir = _CONFIG.value, _WORKDIR.value
    if _EXPLAIN.value:
        print(explain.explain(config))
        return
    if workdir is None:
        raise app.UsageError("--workdir is missing: the folder of the run")
    startup.configure_jax(config.train.cpu_devices, config.train.compilation_cache)
    if _MULTIHOST.value:
        jax.distributed.initialize()
    # Imported here: some of these modules ask JAX for its devices.
    from mdm_jax.training import loop

    logging.info("%d x %s", jax.device_count(), jax.devices()[0].device_kind)
    with command_line.one_line_errors(FloatingPointError):
        loop.train(config, workdir)


def _parse(arguments: list[str]) -> list[str]:
    """Returns what follows the options; stops with one line where they are wrong."""
    try:
        arguments = [_with_new_names(argument) for argument in arguments]
        # ml_collections looks for overrides of the config here.
        sys.argv[:] = arguments
        rest = flags.FLAGS(arguments)
        # A file that could not be read fails here, when it is first used.
        assert _CONFIG.value.method
    except (flags.Error, AttributeError, KeyError, OSError, ValueError) as error:
        # Messages within messages, and tracebacks, are quoted in them: what went wrong
        # is in the last line.
        reason = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
        if isinstance(error, AttributeError | KeyError):
            hint = reason.replace("\\n", "\n").splitlines()[-1].strip("\"'")
            reason = f"there is no such setting: {hint}"
        given = [option for option in arguments[1:] if "config" in option]
        sys.exit(
            f"error: {reason}\nThe options were {' '.join(given) or 'none'}; "
            "mdm_jax/config.py lists all settings, --helpshort the other options."
        )
    return rest


def _with_new_names(argument: str) -> str:
    """Returns an option of the command line with the present name of its setting."""
    option, sign, value = argument.partition("=")
    prefix, _, field = option.partition("config.")
    new = renamed_settings.new_name(field)
    if prefix not in ("-", "--") or new is None:
        return argument
    logging.warning("--config.%s is called --config.%s now", field, new)
    return f"{prefix}config.{new}{sign}{value}"


def run():
    """Runs the command with the flags of the command line."""
    flags.mark_flag_as_required("config")
    command_line.run(main, __name__, flags_parser=_parse)


if __name__ == "__main__":
    run()
