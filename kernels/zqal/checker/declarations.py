"""What expressions need to know of the rest of the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kernels.zqal import syntax, typed
from kernels.zqal.diagnostics import Place
from kernels.zqal.types import Array, Enum, Struct, Type

MAX_DEPTH = 100
"""Expressions inside one another, those of called functions counted: Python's stack has room for them."""
TOO_DEEP = "the program nests expressions or calls too deeply"


class Declarations(Protocol):
    """Everything that is declared outside functions."""

    depth: int
    """Expressions that are being checked now, one inside the other."""

    constants: dict[str, tuple[Type, typed.Value]]
    enums: dict[str, Enum]
    structs: dict[str, Struct]
    registers: dict[str, Array]
    functions: dict[str, syntax.Function]
    refused: set[str]
    """Names whose declarations have faults: what uses them is not reported again."""

    def type_of(self, node: syntax.TypeNode, sizes: Mapping[str, int]) -> Type:
        """Return the type that a node names. Raises FaultError."""
        ...

    def instance(self, name: str, sizes: Mapping[str, int], place: Place) -> typed.Function:
        """Return the function for these sizes, checked. Raises FaultError, for recursion among others."""
        ...


class Checking(Protocol):
    """The checker of expressions, for those that check one kind of them."""

    def check(self, node: syntax.Expression, want: Type | None = None, *, alone: bool = False) -> typed.Expr:
        """Return the checked expression; see `expressions.Expressions`."""
        ...

    def name(self, node: syntax.Name, want: Type | None = None) -> typed.Expr:
        """Return what a name stands for."""
        ...
