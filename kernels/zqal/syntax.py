"""The syntax tree: what the parser read, before names and types mean anything."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from kernels.zqal.diagnostics import Place


@dataclass(frozen=True)
class Node:
    """Base of all nodes."""

    place: Place


@dataclass(frozen=True)
class Name(Node):
    """A name, alone or as a path (``Level::Astral``)."""

    text: str


@dataclass(frozen=True)
class Integer(Node):
    """A whole number without a type of its own."""

    value: int


@dataclass(frozen=True)
class Decimal(Node):
    """A decimal number: exactly what is written."""

    value: Fraction


@dataclass(frozen=True)
class Boolean(Node):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True)
class HexBytes(Node):
    """A byte string, ``x"00ff"``."""

    value: bytes


@dataclass(frozen=True)
class Unary(Node):
    """``~x`` (complement) or ``!x`` (negation)."""

    operator: str
    operand: Expression


@dataclass(frozen=True)
class Binary(Node):
    """Two operands and the operator as it is written."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True)
class Index(Node):
    """One element of an array, or one byte of a byte string."""

    base: Expression
    index: Expression


@dataclass(frozen=True)
class Slice(Node):
    """The bytes from `low` up to, without, `high`."""

    base: Expression
    low: Expression
    high: Expression


@dataclass(frozen=True)
class Member(Node):
    """One field of a struct."""

    base: Expression
    field: str


@dataclass(frozen=True)
class ArrayLiteral(Node):
    """``[a, b, c]``."""

    items: tuple[Expression, ...]


@dataclass(frozen=True)
class Repeat(Node):
    """``[value; count]``."""

    value: Expression
    count: Expression


@dataclass(frozen=True)
class Reference(Node):
    """``&mut name`` as an argument: the callee writes the variable."""

    name: str


@dataclass(frozen=True)
class NamedArgument(Node):
    """``field: value`` in the making of a struct."""

    name: str
    value: Expression


@dataclass(frozen=True)
class Call(Node):
    """A function, a conversion such as ``u32(…)``, or the making of a struct."""

    name: str
    arguments: tuple[Expression | Reference | NamedArgument, ...]


@dataclass(frozen=True)
class If(Node):
    """A statement, or with both branches an expression."""

    condition: Expression
    then: Block
    otherwise: Block | None


@dataclass(frozen=True)
class Arm(Node):
    """``pattern => value``; the pattern ``_`` matches the rest."""

    pattern: Name | Integer
    value: Expression


@dataclass(frozen=True)
class Match(Node):
    """Chooses an arm by a number or an enum."""

    subject: Expression
    arms: tuple[Arm, ...]


Expression = (
    Name
    | Integer
    | Decimal
    | Boolean
    | HexBytes
    | Unary
    | Binary
    | Index
    | Slice
    | Member
    | ArrayLiteral
    | Repeat
    | Call
    | If
    | Match
)


@dataclass(frozen=True)
class NamedType(Node):
    """``u32``, ``hash32``, ``bytes80``, an enum, a struct or a quantum register file."""

    name: str


@dataclass(frozen=True)
class ArrayType(Node):
    """``[element; length]``."""

    element: TypeNode
    length: Expression


@dataclass(frozen=True)
class BytesType(Node):
    """``bytes<length>``; a generic function's parameter names its length here."""

    length: Expression


@dataclass(frozen=True)
class EntangledType(Node):
    """``entangled<T>``: the same in every lane."""

    inner: TypeNode


TypeNode = NamedType | ArrayType | BytesType | EntangledType


@dataclass(frozen=True)
class Let(Node):
    """A new variable."""

    name: str
    mutable: bool
    type: TypeNode | None
    value: Expression


@dataclass(frozen=True)
class Assign(Node):
    """``place = value``, or with an operator before the ``=``."""

    target: Expression
    operator: str
    value: Expression


@dataclass(frozen=True)
class For(Node):
    """A counted loop; `mode` is "", "@unroll" or "@rolled"."""

    name: str
    low: Expression
    high: Expression
    body: Block
    mode: str


@dataclass(frozen=True)
class Return(Node):
    """The value of a function; only as its last statement."""

    value: Expression


@dataclass(frozen=True)
class Assert(Node):
    """A claim that a test makes."""

    value: Expression


@dataclass(frozen=True)
class ExpressionStatement(Node):
    """An expression: a call, an `if`, or as the last of a block its value."""

    value: Expression


Statement = Let | Assign | For | Return | Assert | ExpressionStatement


@dataclass(frozen=True)
class Block(Node):
    """Statements in braces."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Parameter(Node):
    """A parameter; `by_reference` when the function may write the caller's variable."""

    name: str
    by_reference: bool
    type: TypeNode


@dataclass(frozen=True)
class Function(Node):
    """A function as it is written; generic ones are checked once for each set of sizes."""

    name: str
    attributes: tuple[str, ...]
    generics: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    result: TypeNode | None
    body: Block


@dataclass(frozen=True)
class Constant(Node):
    """A named compile-time value."""

    name: str
    type: TypeNode
    value: Expression


@dataclass(frozen=True)
class Quantum(Node):
    """A register file: the name is its type, and in each function a fresh one that holds zeros."""

    name: str
    count: Expression
    element: TypeNode


@dataclass(frozen=True)
class Enum(Node):
    """An enum; each variant with its number."""

    name: str
    variants: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Struct(Node):
    """A struct; fields in the order of their declaration."""

    name: str
    fields: tuple[tuple[str, TypeNode], ...]


@dataclass(frozen=True)
class Use(Node):
    """``use std::keccak``."""

    path: str


@dataclass(frozen=True)
class Algorithm(Node):
    """The ``@algorithm`` head: a name and settings for tools. They change no meaning."""

    name: str
    settings: tuple[tuple[str, str | tuple[str, ...]], ...]


@dataclass(frozen=True)
class Test(Node):
    """A test in the file."""

    title: str
    body: Block


Item = Function | Constant | Quantum | Enum | Struct | Use | Algorithm | Test


@dataclass(frozen=True)
class File:
    """One source file."""

    items: tuple[Item, ...]
