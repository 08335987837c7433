"""Calls in processes of their own: nothing is compiled, cached or held in memory yet."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Collection
from typing import Any

_FOLDER = str(pathlib.Path(__file__).resolve().parent)


def call(module: str, expression: str, *, cores: Collection[int] = ()) -> Any:
    """Returns what a function of a benchmark returns, through JSON.

    Args:
        module: name of the benchmark.
        expression: the call as Python text, such as `measure('demo', 3)`.
        cores: numbers of those that the process may use; empty for all.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    code = (
        f"import sys; sys.path.insert(0, {_FOLDER!r}); import json, {module}; "
        f"print(json.dumps({module}.{expression}))"
    )
    command = [sys.executable, "-c", code]
    if cores:
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}.{expression} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
