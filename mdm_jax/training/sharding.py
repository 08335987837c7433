"""Data parallelism: batches are split over all devices, everything else is copied.

There is one mesh with one axis. `jax.jit` inserts the all-reduce of the gradient because
of the shardings of its arguments, so that one device, eight, and many hosts run the same
code, and no array has a device axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Returns the mesh over the given devices, or over all of them."""
    devices = devices or jax.devices()
    # Auto, because gathers raise with the default, Explicit.
    return jax.make_mesh(
        (len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the layout of the state: a copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_clip(mesh: Mesh) -> NamedSharding:
    """Returns the layout of batches: the first axis is split."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def split_or_copied(mesh: Mesh, batch_size: int) -> NamedSharding:
    """Returns `by_clip` if the clips can be split evenly, else `replicated`."""
    return replicated(mesh) if batch_size % mesh.size else by_clip(mesh)


def to_devices(mesh: Mesh, arrays: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Returns this process's share of a batch as part of the global, split arrays."""
    layout = by_clip(mesh)
    return {
        name: jax.make_array_from_process_local_data(layout, np.asarray(array))
        for name, array in arrays.items()
    }


def check_batch_size(mesh: Mesh, batch_size: int, accumulate_steps: int) -> None:
    """Checks that a batch can be split.

    Raises:
        ValueError: `batch_size` is no multiple of devices times accumulation steps.
    """
    parts = mesh.size * accumulate_steps
    if batch_size <= 0 or batch_size % parts:
        raise ValueError(
            f"config.train.batch_size={batch_size} must be a multiple of {parts} "
            f"({mesh.size} devices x {accumulate_steps} accumulation steps)"
        )
