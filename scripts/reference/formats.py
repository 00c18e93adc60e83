"""The formats of what the API gives to wallets, read from the source of the chain families.

A family names each of its formats in a module-level constant, `FORMAT` or `…_FORMAT`, with a docstring below
it that says what a wallet does with the payload. The source is parsed, not imported: no chain's library is
needed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.reference.markdown import code, table

FAMILIES = Path(__file__).parents[2] / "relayers"
TEST_DOUBLE = "fake"
"""The family that only tests use: its format does not belong to the API."""
UNSIGNED = "UnsignedTx"
"""The struct whose first field is the format (`bridge.chains.port.UnsignedTx`)."""


@dataclass(frozen=True)
class Format:
    """One format: the family that gives it, its name in the API, what a wallet does with it."""

    family: str
    name: str
    meaning: str
    constant: str
    path: Path


def formats(folder: Path = FAMILIES) -> list[Format]:
    """Return every format that a family declares, by family and name."""
    found = [one for path in _sources(folder) for one in _declared(path, folder)]
    return sorted(found, key=lambda one: (one.family, one.name))


def undeclared(folder: Path = FAMILIES) -> list[str]:
    """Return where an unsigned transaction is made with a format that is not a declared constant."""
    constants = {one.constant for one in formats(folder)}
    return [
        f"{path.relative_to(folder)}:{call.lineno}"
        for path in _sources(folder)
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and _called(call) == UNSIGNED and not _names_constant(call, constants)
    ]


def wallet_formats() -> str:
    """Return the table of the formats."""
    rows = [(one.family, code(one.name), one.meaning) for one in formats()]
    return table(("family", "format", "what a wallet does with the payload"), rows)


def _sources(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.py")) if path.relative_to(folder).parts[0] != TEST_DOUBLE]


def _declared(path: Path, folder: Path) -> Iterator[Format]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not (
            isinstance(statement, ast.Assign)
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id.endswith("FORMAT")
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        ):
            continue
        name, text = statement.targets[0].id, statement.value.value
        meaning = _text(following)
        yield Format(path.relative_to(folder).parts[0], text, meaning, name, path)


def _text(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _names_constant(call: ast.Call, constants: set[str]) -> bool:
    by_name = (item.value for item in call.keywords if item.arg == "format")
    first = call.args[0] if call.args else next(by_name, None)
    if isinstance(first, ast.Attribute):
        return first.attr in constants or first.attr == "format"  # the latter: of another transaction
    return isinstance(first, ast.Name) and first.id in constants
