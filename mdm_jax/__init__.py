"""Monocular depth, egomotion and object motion learned from plain video, in JAX.

    run = mdm_jax.load("runs/mine")
    run.predict("drive.mp4", output="out", camera_height=1.6)

Public names are imported when they are first used, so that `import mdm_jax` starts
neither JAX nor its devices.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdm_jax import geometry, losses
    from mdm_jax.evaluation.evaluate_files import evaluate_files
    from mdm_jax.run.loading import load
    from mdm_jax.training.loop import train

__all__ = ["evaluate_files", "geometry", "load", "losses", "train"]
__version__ = "0.1.0"

# Name to its module and the name there; modules have none.
_PUBLIC = {
    "evaluate_files": ("mdm_jax.evaluation.evaluate_files", "evaluate_files"),
    "geometry": ("mdm_jax.geometry", ""),
    "load": ("mdm_jax.run.loading", "load"),
    "losses": ("mdm_jax.losses", ""),
    "train": ("mdm_jax.training.loop", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module_name, attribute = _PUBLIC[name]
    module = importlib.import_module(module_name)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
