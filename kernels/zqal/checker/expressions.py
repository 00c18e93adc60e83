"""Expressions: what each one is, given the names in scope."""

from __future__ import annotations

from collections.abc import Mapping

from kernels.zqal import syntax, typed
from kernels.zqal.checker import arithmetic
from kernels.zqal.checker.arithmetic import coerce, known, settle
from kernels.zqal.checker.calls import Calls
from kernels.zqal.checker.choices import Blocks, Choices
from kernels.zqal.checker.declarations import MAX_DEPTH, TOO_DEEP, Declarations
from kernels.zqal.checker.scope import AlreadyReportedError, Faults, Scope, facts_of, missing, similar
from kernels.zqal.diagnostics import FaultError, Place
from kernels.zqal.types import (
    Array,
    Bool,
    Bytes,
    Enum,
    Interval,
    Literal,
    Real,
    Struct,
    Type,
    UInt,
    Unknown,
    Void,
    size_in_words,
)

MAX_WORDS = 4096
"""A value has at most so many 64-bit words."""


class Expressions:
    """Checks the expressions of one function body."""

    def __init__(
        self,
        declarations: Declarations,
        faults: Faults,
        scope: Scope,
        sizes: Mapping[str, int],
        attributes: tuple[str, ...] = (),
        blocks: Blocks | None = None,
    ) -> None:
        self._declarations = declarations
        self._faults = faults
        self._scope = scope
        self._sizes = sizes
        self._blocks = blocks
        self._kernel = "kernel" in attributes
        self._exact = not {"validator", "reward"}.isdisjoint(attributes)
        self._calls = Calls(self, declarations, scope, exact=self._exact)
        self._choices = Choices(self, faults, scope, blocks)

    def check(self, node: syntax.Expression, want: Type | None = None, *, alone: bool = False) -> typed.Expr:
        """Return the checked expression, of the wanted type if one is wanted.

        `alone` says that the expression is the whole of a statement's value: only there may a call write
        variables through ``&mut``, so that no order of evaluation is ever in doubt.
        """
        self._declarations.depth += 1
        try:
            if self._declarations.depth > MAX_DEPTH:
                raise FaultError(node.place, TOO_DEEP, "give parts of it names with let")
            found = self._any(node, want, alone)
        finally:
            self._declarations.depth -= 1
        if want is not None and not isinstance(want, Void):
            found = coerce(found, want, exact=self._exact)
        if not isinstance(found.type, Literal | Real | Void | Unknown):
            words = size_in_words(found.type)
            if words > MAX_WORDS:
                raise FaultError(node.place, f"a value of {words} words", f"at most {MAX_WORDS} are allowed")
            if not isinstance(found, typed.Known | typed.Read):
                self._scope.cost.steps += max(1, words)
                self._scope.cost.size += max(1, words)
        return found

    def size(self, node: syntax.Expression) -> int:
        """Return a length that is known while compiling."""
        found = self.check(node)
        if not isinstance(found.value, int) or isinstance(found.type, Bool | Enum):
            raise FaultError(node.place, "a length is a whole number known while compiling")
        if not 0 <= found.value <= 8 * MAX_WORDS:
            raise FaultError(node.place, f"a length of {found.value}", f"at most {8 * MAX_WORDS} are allowed")
        return found.value

    def _any(self, node: syntax.Expression, want: Type | None, alone: bool) -> typed.Expr:
        place = node.place
        match node:
            case syntax.Integer(_, value):
                return arithmetic.literal(place, value)
            case syntax.Decimal(_, value):
                return known(place, Real(), value)
            case syntax.Boolean(_, value):
                return known(place, Bool(), int(value))
            case syntax.HexBytes(_, value):
                return known(place, Bytes(len(value)), value)
            case syntax.Name():
                return self.name(node, want)
            case syntax.Unary(operator="~"):
                return arithmetic.complement(place, self.check(node.operand), want)
            case syntax.Unary():
                return self._negation(node, want)
            case syntax.Binary():
                return self._binary(node)
            case syntax.Index():
                return self._element(node)
            case syntax.Slice():
                return self._slice(node)
            case syntax.Member():
                return self._member(node)
            case syntax.ArrayLiteral():
                return self._array(node, want)
            case syntax.Repeat():
                return self._repeat(node, want)
            case syntax.If():
                return self._choices.if_(node, want, alone)
            case syntax.Match():
                return self._choices.match(node, want)
            case syntax.Call():
                return self._calls.call(node, alone)

    # names

    def name(self, node: syntax.Name, want: Type | None = None) -> typed.Expr:
        """Return what a name stands for: a variable, a size, a constant, a variant or registers."""
        text, place = node.text, node.place
        if "::" in text:
            return self._variant(place, text)
        slot = self._scope.find(text) or self._register(text)
        if slot is not None:
            if isinstance(slot.type, Unknown):
                raise AlreadyReportedError
            return typed.Read(place, slot.type, self._scope.interval(slot), slot.value, slot.loops, slot)
        if text in self._sizes:
            return arithmetic.literal(place, self._sizes[text])
        if text in self._declarations.constants:
            type_, value = self._declarations.constants[text]
            return known(place, type_, value, text)
        if text in self._declarations.refused:
            raise AlreadyReportedError
        if isinstance(want, Enum) and (number := want.number(text)) is not None:
            return known(place, want, number)
        others = [*self._declarations.constants, *self._sizes, *self._declarations.registers]
        raise missing(place, text, self._scope, others, kernel=self._kernel)

    def _register(self, name: str) -> typed.Slot | None:
        """Return the function's own instance of a register file, made when it is first named."""
        type_ = self._declarations.registers.get(name)
        if type_ is None or self._blocks is None:
            return None
        slot = typed.Slot(name, type_, True, None)
        self._scope.layers[0][name] = slot
        self._scope.registers.append(slot)
        return slot

    def _variant(self, place: Place, path: str) -> typed.Expr:
        name, _, variant = path.rpartition("::")
        enum = self._declarations.enums.get(name)
        if enum is None:
            raise FaultError(place, f"there is no enum {name}", similar(name, self._declarations.enums))
        number = enum.number(variant)
        if number is None:
            raise FaultError(
                place, f"{name} has no {variant}", "it has " + ", ".join(v for v, _ in enum.variants)
            )
        return known(place, enum, number)

    # operators

    def _negation(self, node: syntax.Unary, want: Type | None) -> typed.Expr:
        operand = self.check(node.operand, want)
        if not isinstance(operand.type, Bool):
            raise FaultError(
                node.place, f"! needs a bool, found {operand.type}", "~x flips the bits of a number"
            )
        return arithmetic.operation(node.place, "not", Bool(), None, operand)

    def _binary(self, node: syntax.Binary) -> typed.Expr:
        place, sign = node.place, node.operator
        left = self.check(node.left)
        if sign in {"&&", "||"}:
            left = coerce(left, Bool())
            with self._scope.layer(facts_of(left, holds=sign == "&&")):
                right = self.check(node.right, Bool())
            return arithmetic.operation(place, "and" if sign == "&&" else "or", Bool(), None, left, right)
        bare = isinstance(left.type, Enum) and isinstance(node.right, syntax.Name)
        right = self.check(node.right, left.type if bare else None)
        if sign in {"+", "-", "*", "/", "%"}:
            return arithmetic.arithmetic(place, sign, left, right, exact=self._exact)
        if sign in {"&", "|", "^"}:
            return arithmetic.bitwise(place, sign, left, right)
        if sign in {"<<", ">>"}:
            return arithmetic.shift(place, sign, left, right)
        if sign == "++":
            for side in (left, right):
                if not isinstance(side.type, Bytes):
                    raise FaultError(
                        side.place,
                        f"++ joins byte strings, found {side.type}",
                        "le_bytes(x) makes bytes of a number",
                    )
            assert isinstance(left.type, Bytes)
            assert isinstance(right.type, Bytes)
            return typed.Join(
                place, Bytes(left.type.length + right.type.length), None, None, None, left, right
            )
        return arithmetic.comparison(place, sign, left, right)

    # parts

    def index(self, node: syntax.Expression, length: int, *, table: bool) -> typed.Expr:
        """Check an index; into registers it must be known once loops are unrolled."""
        found = settle(self.check(node))
        if not isinstance(found.type, UInt):
            raise FaultError(node.place, f"an index is an integer, found {found.type}")
        interval = arithmetic.range_of(found)
        if interval.high >= length:
            raise FaultError(
                node.place,
                f"the index may be {arithmetic.shown(interval)}, the length is {length}",
                f"bring it into range: (…) % {length}",
            )
        if not table:
            self.must_be_static(found, "registers need an index known while compiling")
        return found

    def must_be_static(self, expr: typed.Expr, message: str) -> None:
        """Unroll the loops that fix a value, or say that nothing fixes it."""
        if expr.loops is None:
            raise FaultError(
                expr.place, message, "use loop variables; only constant tables take an index from run time"
            )
        for loop in expr.loops:
            loop.unroll = True

    def _element(self, node: syntax.Index) -> typed.Expr:
        base = self.check(node.base)
        if isinstance(base.type, Array):
            element: Type = base.type.element
            length = base.type.length
        elif isinstance(base.type, Bytes):
            element, length = UInt(8), base.type.length
        else:
            raise FaultError(node.place, f"{base.type} has no elements")
        scalars = not isinstance(element, Array | Struct | Bytes)
        table = (
            isinstance(base, typed.Known) and bool(base.table) and scalars and isinstance(base.type, Array)
        )
        index = self.index(node.index, length, table=table)
        value: typed.Value | None = None
        interval = element.full if isinstance(element, UInt) else None
        if isinstance(base.value, tuple | bytes) and isinstance(index.value, int):
            value = base.value[index.value]
            interval = Interval(value, value) if isinstance(value, int) else None
        elif isinstance(base.value, tuple) and interval is not None:
            numbers = [number for number in base.value if isinstance(number, int)]
            interval = Interval(min(numbers), max(numbers))
        loops = index.loops if base.value is not None else None
        return typed.Element(node.place, element, interval, value, loops, base, index)

    def _slice(self, node: syntax.Slice) -> typed.Expr:
        base = self.check(node.base)
        if not isinstance(base.type, Bytes):
            raise FaultError(node.base.place, f"{base.type} cannot be sliced")
        low, high = settle(self.check(node.low)), settle(self.check(node.high))
        for end in (low, high):
            if not isinstance(end.type, UInt):
                raise FaultError(end.place, f"the end of a slice is an integer, found {end.type}")
            self.must_be_static(end, "the ends of a slice must be known while compiling")
        first, last = arithmetic.range_of(low), arithmetic.range_of(high)
        length = last.low - first.low
        if length != last.high - first.high or length < 0 or not self._same_step(node, length):
            raise FaultError(
                node.place, "the length of this slice is not fixed", "write it as b[x : x + length]"
            )
        if last.high > base.type.length:
            raise FaultError(node.place, f"the slice ends at {last.high}, the length is {base.type.length}")
        return typed.Part(node.place, Bytes(length), None, None, None, base, low)

    def _same_step(self, node: syntax.Slice, length: int) -> bool:
        """Tell whether high is low + length for every value: literally written so, or both fixed."""
        if self.check(node.low).value is not None and self.check(node.high).value is not None:
            return True
        high = node.high
        return (
            isinstance(high, syntax.Binary)
            and high.operator == "+"
            and _same(high.left, node.low)
            and settle(self.check(high.right)).value == length
        )

    def _member(self, node: syntax.Member) -> typed.Expr:
        base = self.check(node.base)
        if not isinstance(base.type, Struct):
            raise FaultError(node.place, f"{base.type} has no fields")
        position = base.type.position(node.field)
        if position is None:
            names = [name for name, _ in base.type.fields]
            raise FaultError(
                node.place, f"{base.type} has no field {node.field}", "it has " + ", ".join(names)
            )
        type_ = base.type.fields[position][1]
        interval = type_.full if isinstance(type_, UInt) else None
        return typed.Field(node.place, type_, interval, None, None, base, position)

    def _array(self, node: syntax.ArrayLiteral, want: Type | None) -> typed.Expr:
        element = want.element if isinstance(want, Array) else None
        items = [self.check(item, element) for item in node.items]
        if element is None:
            element = next((item.type for item in items if not isinstance(item.type, Literal)), UInt(32))
            items = [coerce(item, element, exact=self._exact) for item in items]
        return arithmetic.gather(node.place, Array(element, len(items)), tuple(items))

    def _repeat(self, node: syntax.Repeat, want: Type | None) -> typed.Expr:
        count = self.size(node.count)
        element = want.element if isinstance(want, Array) else None
        value = settle(self.check(node.value, element))
        return arithmetic.gather(node.place, Array(value.type, count), (value,) * count)


def _same(left: syntax.Expression, right: syntax.Expression) -> bool:
    """Tell whether two expressions are written alike."""
    match left, right:
        case syntax.Name(_, a), syntax.Name(_, b):
            return a == b
        case syntax.Integer(_, a), syntax.Integer(_, b):
            return a == b
        case syntax.Binary(), syntax.Binary():
            return (
                left.operator == right.operator
                and _same(left.left, right.left)
                and _same(left.right, right.right)
            )
        case _:
            return False
