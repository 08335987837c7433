"""Function calls in new processes, where nothing is compiled, cached or in memory."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Collection
from typing import Any

_FOLDER = str(pathlib.Path(__file__).resolve().parent)


def call(module: str, expression: str, *, cores: Collection[int] = ()) -> Any:
    """Returns the result of a function of a benchmark, which JSON can express.

    Args:
        module: name of the benchmark.
        expression: the call as Python text, such as `measure('demo', 3)`.
        cores: numbers of the cores that the process may use; empty for all.

    Raises:
        RuntimeError: the call failed; with the end of its error output.
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
