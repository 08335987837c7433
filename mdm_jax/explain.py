"""What the settings of a config mean: the comments above their defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

from ml_collections import ConfigDict

from mdm_jax import config as config_lib
from mdm_jax import methods, settings


def meanings() -> dict[str, str]:
    """Returns the meaning of every field: the comment above its default."""
    result = _comments(config_lib.base_config)
    for name, method in methods.METHODS.items():
        group = _comments(method.config_group)
        result |= {f"{name}.{field}": text for field, text in group.items()}
    return result


def _comments(function: Callable[[], ConfigDict]) -> dict[str, str]:
    """Returns the comment above each assignment `c.field = ...` of a function.

    A comment holds for all assignments up to the next comment or group.
    """
    result: dict[str, str] = {}
    comment: list[str] = []
    is_open = False
    for line in inspect.getsource(function).splitlines():
        line = line.strip()
        if line.startswith("#"):
            comment = [*comment, line[1:].strip()] if is_open else [line[1:].strip()]
            is_open = True
            continue
        is_open = False
        if not line or line.endswith("ConfigDict()"):
            comment = []
        elif match := re.match(r"c\.([\w.]+) = ", line):
            result[match[1]] = " ".join(comment)
    return result


def explain(config: ConfigDict) -> str:
    """Returns every setting that differs from its default, with its meaning.

    Settings of methods that are not trained are left out.
    """
    defaults, meaning = (
        settings.flatten(config_lib.defaults_of(config.method)),
        meanings(),
    )
    others = tuple(f"{name}." for name in methods.METHODS if name != config.method)
    lines = [f"method = {config.method}"]
    for name, value in settings.flatten(config).items():
        if value == defaults.get(name) or name.startswith(others):
            continue
        lines.append(f"{name} = {value}    (default {defaults.get(name, 'none')})")
        if name.startswith("loss_weights."):
            lines.append("    Weight of this loss term.")
        elif text := meaning.get(name):
            lines.append(f"    {text}")
    return "\n".join(lines)
