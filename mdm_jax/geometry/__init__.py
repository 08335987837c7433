"""Cameras, rigid motions and image warps, each written for one image.

Callers `jax.vmap` over batches. Read in the order rotation, pose, intrinsics, camera,
sampling, label_maps, motion, splatting, warp: each module uses only those before it.

Notation: pixels are (x, y) with (0, 0) the centre of the top-left pixel, images are
indexed [y, x]; camera frames are x right, y down, z forward; `a_from_b` maps a point
given in frame b to frame a.
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
