"""Commands that start alike as modules (`python -m`) and as console scripts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags, logging


def run(main: Callable[[list[str]], None], module: str, **options: Any):
    """Runs a command with absl; `--help` explains it also in a console script.

    Args:
        main: function of the command.
        module: its `__name__`, whose docstring and flags `--help` shows.
        **options: of `absl.app.run`.
    """
    script = sys.modules["__main__"]
    if module != "__main__":
        script.__doc__ = sys.modules[module].__doc__
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            # absl takes the flags of the script, by its path, for those of the command.
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(main, **options)


def check_no_arguments(argv: Sequence[str]):
    """Checks that a command line has options alone.

    Raises:
        UsageError: it has an argument that is not an option; the message names it.
    """
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}: options start with --")


def log_progress():
    """Logs progress; `--verbosity=1`, for debugging, stays as it is."""
    if not logging.level_debug():
        logging.set_verbosity(logging.INFO)


@contextlib.contextmanager
def one_line_errors(*more: type[Exception], if_interrupted: str = "") -> Iterator[None]:
    """Ends the command with status 1 and one line where its input is not usable.

    With `--verbosity=1` the traceback is shown instead.

    Args:
        *more: exceptions to report beside ValueError and OSError.
        if_interrupted: line that Ctrl-C ends with; empty for a KeyboardInterrupt.
    """
    try:
        yield
    except (ValueError, OSError, *more) as error:
        if logging.level_debug():
            raise
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        if not if_interrupted:
            raise
        sys.exit(if_interrupted)
