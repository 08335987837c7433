"""Training losses: one idea per module, every loss a scalar.

Inputs have any leading axes, written `*n` (directed frame pairs, usually flattened with
the batch), and a loss is the mean over all of them. Normalisers are computed per image,
as in the papers' formulas.

Where a residual is exactly zero, a mask is empty or a weight is zero, the gradient is
zero and not NaN. Gradients that must be stopped are stopped in the loss itself, whose
docstring says so.
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
