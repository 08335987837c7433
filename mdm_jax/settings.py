"""Reading and writing of `ConfigDict`s, whatever their fields are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from ml_collections.config_flags import tuple_parser

ConfigDict = ml_collections.ConfigDict


def flatten(config: ConfigDict) -> dict[str, object]:
    """Returns the settings as one flat dictionary with keys such as `optimizer.b1`."""
    return dict(_flat_items(config))


def _flat_items(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _flat_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def unflatten(values: Mapping[str, object]) -> ConfigDict:
    """Returns the config of such a flat dictionary."""
    nested: dict = {}
    for name, value in values.items():
        *groups, field = name.split(".")
        node = nested
        for group in groups:
            node = node.setdefault(group, {})
        node[field] = value
    return ConfigDict(nested)


def choice(config: ConfigDict, field: str, allowed: tuple[str, ...]) -> str:
    """Returns a string field's value.

    Raises:
        ValueError: the value is not one of `allowed`.
    """
    value = flatten(config)[field]
    if value not in allowed:
        raise ValueError(
            f"config.{field} expects one of {', '.join(allowed)}, got {value!r}"
        )
    return str(value)


def to_json(config: ConfigDict) -> str:
    """Returns the settings as indented JSON, the form kept in a workdir."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True) + "\n"


def from_json(text: str) -> ConfigDict:
    """Returns the settings of `to_json`; tuples come back as tuples.

    Raises:
        ValueError: the text is not such JSON.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        message = f"expected a JSON object, got {type(values).__name__}"
        raise ValueError(message)  # noqa: TRY004 (a value of a file, not an argument)
    return ConfigDict(_with_tuples(values))


def _with_tuples(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Returns (height, width) of a size written as `128x416`.

    Raises:
        ValueError: the text is not of this form.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text.strip())
    if match is None:
        raise ValueError(f"a size is written HEIGHTxWIDTH, as in 128x416; got {text!r}")
    return int(match[1]), int(match[2])


class TupleParser(tuple_parser.TupleParser):
    """Parses tuples on the command line, and sizes such as `128x416` among them."""

    def parse(self, argument: Any) -> tuple:
        """Returns the tuple that an argument stands for."""
        if isinstance(argument, str) and re.fullmatch(r"\d+x\d+", argument.strip()):
            return parse_size(argument)
        return super().parse(argument)
