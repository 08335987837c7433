"""Monocular depth, egomotion and object motion learned from plain video, in JAX."""

__version__ = "0.1.0"
