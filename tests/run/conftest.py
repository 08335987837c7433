"""Trained runs of a toy method."""

from tests.training.conftest import toy_config, trained

__all__ = ["toy_config", "trained"]
