"""The methods, by name. A further one is a file in this package and a line here."""

from __future__ import annotations

import ml_collections

from mdm_jax.methods import instance_motion, motion_field
from mdm_jax.methods.base import Method

METHODS = {
    "motion_field": motion_field.create,
    "instance_motion": instance_motion.create,
}


def create(config: ml_collections.ConfigDict) -> Method:
    """Returns the method that `config.method` names.

    Raises:
        ValueError: there is no such method.
    """
    if config.method not in METHODS:
        raise ValueError(
            f"config.method expects one of {', '.join(METHODS)}, got {config.method!r}"
        )
    return METHODS[config.method](config)
