"""Training losses: one idea per module, every loss a scalar.

Every loss takes its inputs with any leading axes, here written `*n` (directed frame
pairs, usually flattened with the batch), and returns the mean over all of them. What
the paper writes as a mean over one image is taken per image wherever the difference
matters, that is in every normaliser.

Where a residual is exactly zero, a mask is empty or a weight is zero, the gradient is
zero and not NaN. What must not carry gradient is stopped in the function that
documents it, so that no caller can forget.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def __getattr__(name: str) -> ModuleType:
    """Imports a module of this package when it is first used."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise AttributeError(f"{__name__} has no module {name!r}") from error
