"""The checked program: every expression has a type, names are slots, generics are gone.

Values known while compiling are ints (numbers, truth values, enums, thousandths), bytes, Fractions, or
tuples of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from kernels.zqal.diagnostics import Place
from kernels.zqal.types import Interval, Type

Value: TypeAlias = "int | bytes | Fraction | tuple[Value, ...]"


@dataclass(eq=False)
class Slot:
    """One variable; two variables of one name are two slots."""

    name: str
    type: Type
    mutable: bool
    interval: Interval | None
    uniform: bool = False
    loops: frozenset[Loop] | None = None
    """The loops whose counts fix the value, or None when it is known at run time only."""
    value: Value | None = None


@dataclass(eq=False)
class Loop:
    """What the checker decides about one loop."""

    unroll: bool


@dataclass(frozen=True, eq=False)
class Expr:
    """Base of expressions. `value` is set when it is known while compiling; `loops` as in `Slot`."""

    place: Place
    type: Type
    interval: Interval | None
    value: Value | None
    loops: frozenset[Loop] | None


@dataclass(frozen=True, eq=False)
class Known(Expr):
    """A value known while compiling; `table` names the constant when it is an array of one."""

    table: str = ""


@dataclass(frozen=True, eq=False)
class Read(Expr):
    """The present value of a variable."""

    slot: Slot


@dataclass(frozen=True, eq=False)
class Operation(Expr):
    """An operator or built-in function on scalars; `name` as in `core`, operands of one width."""

    name: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Convert(Expr):
    """A scalar in another width; the high bits go."""

    operand: Expr


@dataclass(frozen=True, eq=False)
class CompareBytes(Expr):
    """Two byte strings of one length as big-endian numbers; `name` is eq, ne, lt or le."""

    name: str
    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class Join(Expr):
    """Two byte strings, one behind the other."""

    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class FromBytes(Expr):
    """A number, or an array of numbers, read from bytes in one order ("little" or "big")."""

    operand: Expr
    order: str


@dataclass(frozen=True, eq=False)
class ToBytes(Expr):
    """The bytes of a number or of an array of numbers."""

    operand: Expr
    order: str


@dataclass(frozen=True, eq=False)
class Element(Expr):
    """One element of an array or one byte of a byte string."""

    base: Expr
    index: Expr


@dataclass(frozen=True, eq=False)
class Part(Expr):
    """A slice; its length is the type's."""

    base: Expr
    low: Expr


@dataclass(frozen=True, eq=False)
class Field(Expr):
    """One field of a struct, by position."""

    base: Expr
    position: int


@dataclass(frozen=True, eq=False)
class Gather(Expr):
    """An array or struct of given parts."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Fold(Expr):
    """All elements of an array joined by one operation: what `collapse` does."""

    operand: Expr
    name: str


@dataclass(frozen=True, eq=False)
class Choice(Expr):
    """An `if`; the branches may assign variables, and give values unless the type is `Void`."""

    condition: Expr
    then: Block
    otherwise: Block | None


@dataclass(frozen=True, eq=False)
class Select(Expr):
    """A `match`: the first case with the subject's number, else the last."""

    subject: Expr
    cases: tuple[tuple[int, Expr], ...]
    otherwise: Expr


@dataclass(frozen=True, eq=False)
class Invoke(Expr):
    """A call; a `Slot` among the arguments is passed by reference."""

    function: Function
    arguments: tuple[Expr | Slot, ...]


@dataclass(frozen=True, eq=False)
class Set:
    """A new value for a variable or, with a path of indexes, for a part of it."""

    place: Place
    slot: Slot
    path: tuple[Expr | int, ...]
    value: Expr


@dataclass(frozen=True, eq=False)
class Count:
    """A counted loop."""

    place: Place
    slot: Slot
    low: Expr
    high: Expr
    body: Block
    loop: Loop


@dataclass(frozen=True, eq=False)
class Claim:
    """An `assert`; `sides` are both sides of a comparison, for the message."""

    place: Place
    condition: Expr
    sides: tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Do:
    """An expression for what it changes."""

    expression: Expr


Statement = Set | Count | Claim | Do


@dataclass(frozen=True, eq=False)
class Block:
    """Statements, and the value of the block when it has one."""

    statements: tuple[Statement, ...]
    value: Expr | None


@dataclass(eq=False)
class Function:
    """A function with all sizes filled in."""

    name: str
    attributes: tuple[str, ...]
    parameters: tuple[tuple[Slot, bool], ...]
    """Each with whether it is passed by reference."""
    registers: tuple[Slot, ...]
    """Register files that the body uses: zeros at the start of every call."""
    result: Type
    result_interval: Interval | None
    body: Block
    steps: int
    """How many operations one call takes at most, loops counted out: the bound behind totality."""
    size: int
    """How many operations one call has when every loop that must be is unrolled."""


@dataclass
class Program:
    """A checked program: functions by name, generic ones left out until they are used, and its tests."""

    name: str
    functions: dict[str, Function] = field(default_factory=dict)
    tests: list[tuple[str, Block]] = field(default_factory=list)
    settings: dict[str, str | tuple[str, ...]] = field(default_factory=dict)


def assigned(block: Block) -> list[Slot]:
    """Return the variables that a block sets, inner blocks and calls included, in order of appearance."""
    found: dict[Slot, None] = {}

    def in_block(one: Block) -> None:
        for statement in one.statements:
            match statement:
                case Set():
                    found[statement.slot] = None
                    in_expression(statement.value)
                case Count():
                    in_block(statement.body)
                case Do():
                    in_expression(statement.expression)
                case Claim():
                    pass
        if one.value is not None:
            in_expression(one.value)

    def in_expression(expr: Expr) -> None:  # only what is a whole statement can set anything
        match expr:
            case Choice():
                in_block(expr.then)
                if expr.otherwise is not None:
                    in_block(expr.otherwise)
            case Invoke():
                found.update({argument: None for argument in expr.arguments if isinstance(argument, Slot)})
            case _:
                pass

    in_block(block)
    return list(found)
