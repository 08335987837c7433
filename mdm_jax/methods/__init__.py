"""The methods, by name. A further one is a file in this package and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ml_collections import ConfigDict

from mdm_jax import settings
from mdm_jax.methods import instance_motion, motion_field, trainable
from mdm_jax.methods.base import Method


class MethodFile(Protocol):
    """What the file of a method holds, apart from its networks and objective."""

    @property
    def LOSS_WEIGHTS(self) -> Mapping[str, float]:
        """The default weight of each loss term."""
        ...

    def config_group(self) -> ConfigDict:
        """Returns the settings of this method alone, with their defaults."""
        ...

    def create(self, config: ConfigDict) -> Method:
        """Returns the method that a config describes."""
        ...


METHODS: dict[str, MethodFile] = {
    "motion_field": motion_field,
    "instance_motion": instance_motion,
}


def create(config: ConfigDict) -> Method:
    """Returns the method that `config.method` names.

    Raises:
        ValueError: there is no such method, an option of it does not exist, or
            intrinsics are to be learned by a method that needs them.
    """
    name = settings.choice(config, "method", tuple(METHODS))
    kind = settings.choice(config, "camera.intrinsics", ("given", "pair", "video"))
    method = METHODS[name].create(config)
    if kind != "given" and not method.learns_intrinsics:
        raise ValueError(
            f"config.method={name} needs intrinsics, but they are to be learned "
            f"(camera.intrinsics={kind}): give them with config.dataset.intrinsics, or "
            "take config.method=motion_field"
        )
    return trainable.hold(method, config.networks.freeze)


def for_inference(method: Method, config: ConfigDict) -> Method:
    """Returns the method without approximations that only save time in training.

    Args:
        method: a method.
        config: that it was created from.
    """
    changed = method.for_inference(config)
    return method if changed is config else create(changed)
