"""Writes a configuration as TOML: the standard library can only read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def dumps(tables: Mapping[str, Any]) -> str:
    """Return the text of nested tables of strings, whole numbers, floats, booleans and lists of them."""
    return "\n".join(_lines(tables, "")) + "\n"


def _lines(table: Mapping[str, Any], path: str) -> Iterator[str]:
    nested = {key: value for key, value in table.items() if _tables(value)}
    for key, value in table.items():
        if key not in nested:
            # JSON's strings, numbers, booleans and lists of them are TOML's as well.
            yield f"{_key(key)} = {json.dumps(value)}"
    for key, value in nested.items():
        name = f"{path}{_key(key)}"
        for one in _tables(value):
            yield ""
            yield f"[{name}]" if isinstance(value, Mapping) else f"[[{name}]]"
            yield from _lines(one, f"{name}.")


def _tables(value: object) -> list[Mapping[str, Any]]:
    """Return the tables that a value is or lists; none for plain values."""
    if isinstance(value, Mapping):
        return [value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [one for one in value if isinstance(one, Mapping)]
    return []


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)
