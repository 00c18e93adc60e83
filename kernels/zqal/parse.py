"""From text to the syntax tree, by lark's LALR parser and the grammar beside this file."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, UnexpectedToken, VisitError

from kernels.zqal import syntax
from kernels.zqal.diagnostics import Diagnostic, FaultError, Place, Source, ZqalError

MAX_SOURCE_BYTES = 1 << 18
"""A source is at most 256 KiB: the whole standard library has less than 30."""
MAX_NESTING = 200
"""Brackets and operators may nest so deep; the compiler walks trees by recursion."""

_READABLE = {
    "NAME": "a name",
    "CALLNAME": "a call",
    "INT": "a number",
    "DECIMAL": "a decimal number",
    "HEX": "bytes",
    "STRING": "a string",
    "PATH": "a path",
    "$END": "the end of the file",
    "ASSIGN": '"="',
    "RELATION": "a comparison",
    "SIGN": '"+"',
    "TIMES": '"*"',
    "SHIFT": '"<<"',
}


def parse(source: Source) -> syntax.File:
    """Return the syntax tree of a source; ZqalError says where the text stops being ZQAL."""
    if len(source.text) > MAX_SOURCE_BYTES:
        place = Place(source, 1, 1, 2)
        raise ZqalError(
            [
                Diagnostic(
                    place, f"the source is longer than {MAX_SOURCE_BYTES} bytes", "split it into modules"
                )
            ]
        )
    _check_nesting(source)
    try:
        tree = _parser().parse(source.text)
    except UnexpectedInput as error:
        raise ZqalError([_unexpected(source, error)]) from None
    try:
        items = _Builder(source).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, FaultError):
            raise ZqalError([error.orig_exc.diagnostic]) from None
        if isinstance(error.orig_exc, RecursionError):
            raise RecursionError from None
        raise
    return syntax.File(items)


@functools.cache
def _parser() -> Lark:
    grammar = Path(__file__).with_name("grammar.lark").read_text()
    return Lark(grammar, parser="lalr", propagate_positions=True, maybe_placeholders=True)


def _check_nesting(source: Source) -> None:
    depth = 0
    for number, line in enumerate(source.text.splitlines(), 1):
        for column, character in enumerate(line.partition("//")[0], 1):
            depth += (character in "([{~!") - (character in ")]}")
            if character in "~!" and line[column : column + 1] not in {"~", "!"}:
                depth -= len(line[:column]) - len(line[:column].rstrip("~!"))
            if depth > MAX_NESTING:
                place = Place(source, number, column, column + 1)
                raise ZqalError([Diagnostic(place, f"this is nested deeper than {MAX_NESTING} times")])


def _unexpected(source: Source, error: UnexpectedInput) -> Diagnostic:
    line, column = max(error.line, 1), max(error.column, 1)
    if error.line < 0:  # the end of the text
        line = max(1, len(source.text.splitlines()))
        column = len(source.text.splitlines()[-1]) + 1 if source.text.strip() else 1
    if not isinstance(error, UnexpectedToken):
        return Diagnostic(
            Place(source, line, column, column + 1), "this character has no place here", "see the reference"
        )
    token = error.token
    place = Place(source, line, column, column + max(1, len(token)))
    before = source.text.splitlines()[line - 1][: column - 1]
    if token.type == "LPAR" or (token.type in {"COMMA", "RPAR"} and re.search(r"\w \([^()]*$", before)):
        return Diagnostic(place, f'unexpected "{token}"', 'write a call without a space before "(": f(x)')
    expected = sorted({_READABLE.get(name, _shown(name)) for name in error.accepts or error.expected})
    help_ = "expected " + " or ".join(expected) if len(expected) <= 6 else ""
    what = "the text ends too early" if token.type == "$END" else f'unexpected "{token}"'
    return Diagnostic(place, what, help_)


def _shown(name: str) -> str:
    definition = next((str(t.pattern.value) for t in _parser().terminals if t.name == name), name)
    return f'"{definition}"'


def _number(text: str) -> int:
    return int(text.replace("_", ""), 0) if text[:2] in {"0x", "0b"} else int(text.replace("_", ""))


@v_args(meta=True)
class _Builder(Transformer[Token, tuple[syntax.Item, ...]]):
    """Makes the nodes of `syntax`; the methods have the names of the grammar's rules."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def _at(self, meta: Any) -> Place:
        if getattr(meta, "empty", True):
            return Place(self._source, 1, 1, 2)
        one_line = meta.end_line == meta.line
        end = meta.end_column if one_line else len(self._source.text.splitlines()[meta.line - 1]) + 1
        return Place(self._source, meta.line, meta.column, end)

    def _at_token(self, token: Token) -> Place:
        assert token.line is not None
        assert token.column is not None
        return Place(self._source, token.line, token.column, token.column + len(token))

    # items

    def start(self, _: Any, items: Sequence[syntax.Item]) -> tuple[syntax.Item, ...]:
        return tuple(items)

    def algorithm(self, meta: Any, parts: list[Any]) -> syntax.Algorithm:
        return syntax.Algorithm(self._at(meta), str(parts[0]), tuple(parts[1:]))

    def setting(self, _: Any, parts: list[Any]) -> tuple[str, str | tuple[str, ...]]:
        value = parts[1]
        return str(parts[0]), str(value).strip('"') if isinstance(value, Token) else value

    def names(self, _: Any, parts: list[Any]) -> tuple[str, ...]:
        return tuple(map(str, parts))

    def use(self, meta: Any, parts: list[Any]) -> syntax.Use:
        return syntax.Use(self._at(meta), str(parts[0]))

    def quantum(self, meta: Any, parts: list[Any]) -> syntax.Quantum:
        return syntax.Quantum(self._at(meta), str(parts[0]), parts[1], parts[2])

    def const(self, meta: Any, parts: list[Any]) -> syntax.Constant:
        return syntax.Constant(self._at(meta), str(parts[0]), parts[1], parts[2])

    def enum(self, meta: Any, parts: list[Any]) -> syntax.Enum:
        variants, following = [], 0
        for name, number in parts[1:]:
            following = following if number is None else number
            variants.append((name, following))
            following += 1
        return syntax.Enum(self._at(meta), str(parts[0]), tuple(variants))

    def variant(self, _: Any, parts: list[Any]) -> tuple[str, int | None]:
        return str(parts[0]), None if parts[1] is None else _number(parts[1])

    def struct(self, meta: Any, parts: list[Any]) -> syntax.Struct:
        return syntax.Struct(self._at(meta), str(parts[0]), tuple(parts[1:]))

    def field(self, _: Any, parts: list[Any]) -> tuple[str, syntax.TypeNode]:
        return str(parts[0]), parts[1]

    def func(self, _: Any, parts: list[Any]) -> syntax.Function:
        count = next(i for i, part in enumerate(parts) if isinstance(part, Token))
        name, generics, parameters, result, body = parts[count:]
        return syntax.Function(
            self._at_token(name),
            str(name),
            tuple(parts[:count]),
            generics or (),
            parameters or (),
            result,
            body,
        )

    def attribute(self, _: Any, parts: list[Any]) -> str:
        return str(parts[0])

    generics = names

    def params(self, _: Any, parts: list[Any]) -> tuple[syntax.Parameter, ...]:
        return tuple(parts)

    def param(self, meta: Any, parts: list[Any]) -> syntax.Parameter:
        return syntax.Parameter(self._at(meta), str(parts[0]), parts[1] is not None, parts[2])

    def test(self, meta: Any, parts: list[Any]) -> syntax.Test:
        return syntax.Test(self._at(meta), str(parts[0])[1:-1], parts[1])

    # types

    def named_type(self, meta: Any, parts: list[Any]) -> syntax.NamedType:
        return syntax.NamedType(self._at(meta), str(parts[0]))

    def array_type(self, meta: Any, parts: list[Any]) -> syntax.ArrayType:
        return syntax.ArrayType(self._at(meta), parts[0], parts[1])

    def bytes_type(self, meta: Any, parts: list[Any]) -> syntax.BytesType:
        return syntax.BytesType(self._at(meta), parts[0])

    def entangled_type(self, meta: Any, parts: list[Any]) -> syntax.EntangledType:
        return syntax.EntangledType(self._at(meta), parts[0])

    # statements

    def block(self, meta: Any, parts: list[Any]) -> syntax.Block:
        return syntax.Block(self._at(meta), tuple(parts))

    def let(self, meta: Any, parts: list[Any]) -> syntax.Let:
        mutable, name, type_, value = parts
        return syntax.Let(self._at(meta), str(name), mutable is not None, type_, value)

    def assign(self, meta: Any, parts: list[Any]) -> syntax.Assign:
        return syntax.Assign(self._at(meta), parts[0], str(parts[1])[:-1], parts[2])

    def for_loop(self, meta: Any, parts: list[Any]) -> syntax.For:
        mode, name, low, high, body = parts if len(parts) == 5 else [None, *parts]
        return syntax.For(self._at(meta), str(name), low, high, body, str(mode or ""))

    def return_(self, meta: Any, parts: list[Any]) -> syntax.Return:
        return syntax.Return(self._at(meta), parts[0])

    def assert_(self, meta: Any, parts: list[Any]) -> syntax.Assert:
        return syntax.Assert(self._at(meta), parts[0])

    def expression(self, meta: Any, parts: list[Any]) -> syntax.ExpressionStatement:
        return syntax.ExpressionStatement(self._at(meta), parts[0])

    # expressions

    def binary(self, meta: Any, parts: list[Any]) -> syntax.Binary:
        return syntax.Binary(self._at(meta), str(parts[1]), parts[0], parts[2])

    def bit_or(self, meta: Any, parts: list[Any]) -> syntax.Binary:
        return syntax.Binary(self._at(meta), "|", *parts)

    def bit_xor(self, meta: Any, parts: list[Any]) -> syntax.Binary:
        return syntax.Binary(self._at(meta), "^", *parts)

    def bit_and(self, meta: Any, parts: list[Any]) -> syntax.Binary:
        return syntax.Binary(self._at(meta), "&", *parts)

    def complement(self, meta: Any, parts: list[Any]) -> syntax.Unary:
        return syntax.Unary(self._at(meta), "~", parts[0])

    def negation(self, meta: Any, parts: list[Any]) -> syntax.Unary:
        return syntax.Unary(self._at(meta), "!", parts[0])

    def index(self, meta: Any, parts: list[Any]) -> syntax.Index:
        return syntax.Index(self._at(meta), *parts)

    def slice(self, meta: Any, parts: list[Any]) -> syntax.Slice:
        return syntax.Slice(self._at(meta), *parts)

    def member(self, meta: Any, parts: list[Any]) -> syntax.Member:
        return syntax.Member(self._at(meta), parts[0], str(parts[1]))

    def integer(self, meta: Any, parts: list[Any]) -> syntax.Integer:
        return syntax.Integer(self._at(meta), _number(parts[0]))

    def decimal(self, meta: Any, parts: list[Any]) -> syntax.Decimal:
        return syntax.Decimal(self._at(meta), Fraction(str(parts[0]).replace("_", "")))

    def hex_bytes(self, meta: Any, parts: list[Any]) -> syntax.HexBytes:
        digits = str(parts[0])[2:-1]
        if len(digits) % 2:
            raise FaultError(self._at(meta), "a byte has two digits, and this has one too many or too few")
        return syntax.HexBytes(self._at(meta), bytes.fromhex(digits))

    def boolean(self, meta: Any, parts: list[Any]) -> syntax.Boolean:
        return syntax.Boolean(self._at(meta), str(parts[0]) == "true")

    def name(self, meta: Any, parts: list[Any]) -> syntax.Name:
        return syntax.Name(self._at(meta), str(parts[0]))

    path = name

    def array(self, meta: Any, parts: list[Any]) -> syntax.ArrayLiteral:
        return syntax.ArrayLiteral(self._at(meta), tuple(parts))

    def repeat(self, meta: Any, parts: list[Any]) -> syntax.Repeat:
        return syntax.Repeat(self._at(meta), *parts)

    def if_(self, meta: Any, parts: list[Any]) -> syntax.If:
        condition, then, otherwise = parts
        if isinstance(otherwise, syntax.If):  # else if: a block with one expression
            inner = syntax.ExpressionStatement(otherwise.place, otherwise)
            otherwise = syntax.Block(otherwise.place, (inner,))
        return syntax.If(self._at(meta), condition, then, otherwise)

    def match(self, meta: Any, parts: list[Any]) -> syntax.Match:
        return syntax.Match(self._at(meta), parts[0], tuple(parts[1:]))

    def arm(self, meta: Any, parts: list[Any]) -> syntax.Arm:
        token = parts[0]
        place = self._at_token(token)
        is_number = token.type == "INT"
        pattern = syntax.Integer(place, _number(token)) if is_number else syntax.Name(place, str(token))
        return syntax.Arm(self._at(meta), pattern, parts[1])

    def call(self, meta: Any, parts: list[Any]) -> syntax.Call:
        return syntax.Call(self._at(meta), str(parts[0]), parts[1] or ())

    def arguments(self, _: Any, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)

    def reference(self, meta: Any, parts: list[Any]) -> syntax.Reference:
        return syntax.Reference(self._at(meta), str(parts[0]))

    def named_argument(self, meta: Any, parts: list[Any]) -> syntax.NamedArgument:
        return syntax.NamedArgument(self._at(meta), str(parts[0]), parts[1])
