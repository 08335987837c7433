"""Commands that start alike as modules (`python -m`) and as console scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags


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
