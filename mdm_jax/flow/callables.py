"""A user's own functions by dotted name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def load(name: str) -> Callable[..., Any]:
    """Returns the function `package.module.function`.

    Raises:
        ValueError: there is none; the message says which part is missing.
    """
    module_name, _, attribute = name.rpartition(".")
    if not module_name:
        raise ValueError(f"expected package.module.function, got {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"{name}: cannot import {module_name} ({error}); is its folder in PYTHONPATH?"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        message = f"{name}: {module_name} has no function {attribute}"
        raise ValueError(message)  # noqa: TRY004 (a name that a user gave)
    return found
