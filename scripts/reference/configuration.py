"""The configuration's keys, read from the pydantic models and the docstrings below their fields."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from bridge.chains import registry
from bridge.config import Settings
from scripts.reference.markdown import code, table

OUR_FAMILIES = "relayers."


@dataclass(frozen=True)
class Key:
    """One key of a section: its name in the file, what it is when absent, what it means."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class ConfigSection:
    """A table of the file: its TOML head, e.g. `[api]` or `[[pairs]]`; "" for the top of the file."""

    head: str
    summary: str
    keys: tuple[Key, ...]


def chain_sections() -> dict[str, type[BaseModel]]:
    """Return the model of each chain family's section, by the family's name: of our own families, not of
    others that happen to be installed."""
    found: dict[str, type[BaseModel]] = {}
    for name, points in registry.offered().items():
        if points[0].module.startswith(OUR_FAMILIES):
            family = registry.family(name)
            found[family.name] = family.section
    return found


def sections() -> list[ConfigSection]:
    """Return the file's sections: those of the service, then one for each chain family."""
    found = [_section("", Settings)]
    for name, info in Settings.model_fields.items():
        model, many = _model_of(info.annotation)
        if model is not None and name != "chains":
            found += _sections(name, model, many)
    for family, model in chain_sections().items():
        head, *nested = _sections("chains.…", model, False)
        found += [replace(head, head=f'[chains.…] with family = "{family}"'), *nested]
    return _each_once(found)


def reference() -> str:
    """Return one heading and table for each section of the file."""
    return "\n\n".join(_text(one) for one in sections())


def _text(section: ConfigSection) -> str:
    rows = [(code(key.name), key.default, key.meaning) for key in section.keys]
    heading = f"### {section.head or 'At the top of the file'}"
    return "\n\n".join([heading, section.summary, table(("key", "default", "meaning"), rows)])


def _sections(path: str, model: type[BaseModel], many: bool) -> Iterator[ConfigSection]:
    yield _section(f"[[{path}]]" if many else f"[{path}]", model)
    for name, info in model.model_fields.items():
        inner, inner_many = _model_of(info.annotation)
        if inner is not None:
            yield from _sections(f"{path}.{_written(name, info)}", inner, inner_many)


def _section(head: str, model: type[BaseModel]) -> ConfigSection:
    meanings = field_docstrings(model)
    keys = tuple(
        Key(_written(name, info), _default(info), meanings.get(name, ""))
        for name, info in model.model_fields.items()
        if _model_of(info.annotation)[0] is None
    )
    return ConfigSection(head, inspect.cleandoc(model.__doc__ or ""), keys)


def _each_once(found: list[ConfigSection]) -> list[ConfigSection]:
    """The sections of a table that several chains have alike (`timing`) become one, with their defaults left
    out."""
    alike: dict[tuple[str, ...], list[ConfigSection]] = {}
    for section in found:
        names = (section.head.rpartition(".")[2], *(key.name for key in section.keys))
        alike.setdefault(names, []).append(section)
    single = [group[0] for group in alike.values() if len(group) == 1]
    return [*single, *(_merged(group) for group in alike.values() if len(group) > 1)]


def _merged(group: list[ConfigSection]) -> ConfigSection:
    first = group[0]
    table_name = first.head.rpartition(".")[2]
    keys = tuple(
        Key(
            key.name,
            key.default if len({one.keys[place].default for one in group}) == 1 else "of the chain",
            key.meaning,
        )
        for place, key in enumerate(first.keys)
    )
    return ConfigSection(f"[chains.….{table_name}", first.summary, keys)


def _written(name: str, info: FieldInfo) -> str:
    return info.alias or name


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model of a nested table, and whether the key takes any number of them."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, False
    if origin is tuple and arguments:
        return _model_of(arguments[0])[0], True
    if origin in (typing.Union, types.UnionType):
        return next((found for found in map(_model_of, arguments) if found[0] is not None), (None, False))
    return None, False


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path):
        value = "" if value == Path() else value.as_posix()
    if value is None or value in ("", (), {}):
        return ""
    return code(_toml(value))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{value}"'


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring that stands below each field, in the model or the nearest base that has one."""
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if not (
            inspect.isclass(kind)
            and issubclass(kind, BaseModel)
            and kind.__module__.startswith(("bridge.", "relayers."))
        ):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for statement, following in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                found[statement.target.id] = following.value.value
    return found
