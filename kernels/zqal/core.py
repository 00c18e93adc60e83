"""The core: what is left of a program once calls, arrays and branches are gone.

A routine is a list of pure, total operations on unsigned integers, and counted loops. There is no branch and
no memory but constant tables. Values are in single-assignment form; a loop carries values in *phis*, which
behind the loop name their last value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from kernels.zqal.semantics import COMMUTATIVE, evaluate, mask
from kernels.zqal.types import Type

COUNTER_BITS = 32


@dataclass(eq=False)
class Value:
    """One value. `operation` is "const", "parameter", "phi", "counter", "table" or one of `semantics`."""

    operation: str
    bits: int
    operands: tuple[Value, ...] = ()
    number: int = -1
    constant: int = 0
    table: str = ""
    top: int = 0
    """No value is larger."""
    uniform: bool = False
    """Whether it is the same in every lane."""

    @property
    def is_constant(self) -> bool:
        """Whether the value is written into the code."""
        return self.operation == "const"


@dataclass(eq=False)
class Loop:
    """Runs `body` for counter = low … high - 1; every round gives the phis their following values."""

    counter: Value
    low: int
    high: int
    phis: list[Value]
    initial: list[Value]
    body: list[Item] = field(default_factory=list)
    following: list[Value] = field(default_factory=list)


Item = Value | Loop


@dataclass(frozen=True)
class Parameter:
    """A parameter: its scalar values in order (byte strings as 64-bit words), and its source type."""

    name: str
    values: tuple[Value, ...]
    type: Type
    uniform: bool


@dataclass
class Routine:
    """A function in core form; its results are scalar values in order."""

    name: str
    parameters: list[Parameter]
    body: list[Item]
    results: list[Value]
    tables: dict[str, tuple[int, tuple[int, ...]]]
    """Constant tables: bits of an element, elements."""


def operations(body: Sequence[Item]) -> Iterator[Value]:
    """Return all operations, those in loops once."""
    for item in body:
        if isinstance(item, Loop):
            yield from operations(item.body)
        else:
            yield item


def constant(value: int, bits: int) -> Value:
    """Return a constant, cut to its width."""
    return Value("const", bits, (), -1, value & mask(bits), "", value & mask(bits), True)


class Builder:
    """Appends operations to a routine; folds, simplifies and never computes the same thing twice."""

    def __init__(self) -> None:
        self.body: list[Item] = []
        self.tables: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._open: list[list[Item]] = [self.body]
        self._seen: list[dict[tuple[object, ...], Value]] = [{}]
        self._numbers = 0

    def fresh(self, operation: str, bits: int, *, uniform: bool = False) -> Value:
        """Return a new value that no operation computes: a parameter, phi or counter."""
        self._numbers += 1
        return Value(operation, bits, (), self._numbers, 0, "", mask(bits), uniform)

    def emit(self, operation: str, bits: int, *operands: Value) -> Value:
        """Return the value of an operation, newly appended unless it is known otherwise."""
        if operands and all(operand.is_constant for operand in operands):
            return constant(evaluate(operation, bits, [operand.constant for operand in operands]), bits)
        if operation in COMMUTATIVE and operands[0].is_constant:
            operands = (operands[1], operands[0])
        simpler = self._simplified(operation, bits, operands)
        return self._append(operation, bits, operands) if simpler is None else simpler

    def lookup(self, table: str, index: Value) -> Value:
        """Return an element of a constant table; an index beyond its end reads element 0."""
        bits, elements = self.tables[table]
        if index.is_constant:
            return constant(elements[index.constant if index.constant < len(elements) else 0], bits)
        index = self.emit("cast", 32, index) if index.bits <= 32 else self._clamped(index, len(elements))
        if index.top >= len(elements):
            index = self._clamped(index, len(elements))
        return self._append("table", bits, (index,), table)

    def _clamped(self, index: Value, length: int) -> Value:
        inside = self.emit("lt", 1, index, constant(length, index.bits))
        if index.bits < 32:
            index = self.emit("cast", 32, index)
        narrow = self.emit("cast", 32, index)
        chosen = self.emit("sel", 32, inside, narrow, constant(0, 32))
        chosen.top = min(chosen.top, length - 1)
        return chosen

    def loop(
        self,
        low: int,
        high: int,
        initial: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """Append a loop; `body` gets the counter and phis and returns what follows. Return the phis."""
        counter = self.fresh("counter", COUNTER_BITS, uniform=True)
        counter.top = high - 1
        loop = Loop(counter, low, high, [self.fresh("phi", value.bits) for value in initial], list(initial))
        self._open.append(loop.body)
        self._seen.append({})
        loop.following = list(body(counter, loop.phis))
        self._open.pop()
        self._seen.pop()
        self._open[-1].append(loop)
        return loop.phis

    def _append(self, operation: str, bits: int, operands: tuple[Value, ...], table: str = "") -> Value:
        key = (operation, bits, table, *((o.number, o.constant, o.bits) for o in operands))
        for seen in reversed(self._seen):
            if key in seen:
                return seen[key]
        value = self.fresh(operation, bits)
        value.operands, value.table = operands, table
        value.top = self._top(value)
        self._open[-1].append(value)
        self._seen[-1][key] = value
        return value

    def _top(self, value: Value) -> int:
        tops = [operand.top for operand in value.operands]
        match value.operation:
            case "and":
                return min(tops)
            case "cast":
                return min(tops[0], mask(value.bits))
            case "shr":
                count = value.operands[1]
                return tops[0] >> count.constant if count.is_constant else tops[0]
            case "rem" if value.operands[1].is_constant and value.operands[1].constant:
                return min(tops[0], value.operands[1].constant - 1)
            case "add" if tops[0] + tops[1] <= mask(value.bits):
                return tops[0] + tops[1]
            case "mul" if tops[0] * tops[1] <= mask(value.bits):
                return tops[0] * tops[1]
            case "sel":
                return max(tops[1], tops[2])
            case "table":
                return max(self.tables[value.table][1])
            case _:
                return mask(value.bits)

    def _simplified(self, operation: str, bits: int, operands: tuple[Value, ...]) -> Value | None:
        first = operands[0]
        if operation == "cast":
            return self._cast(bits, first)
        if operation == "sel":
            condition, yes, no = operands
            if condition.is_constant:
                return yes if condition.constant else no
            same = yes.is_constant and no.is_constant and yes.constant == no.constant
            return yes if yes is no or same else None
        if operation in {"bswap", "not"} and first.operation == operation:
            return first.operands[0]
        if len(operands) == 2 and operands[0] is operands[1]:
            match operation:
                case "and" | "or":
                    return first
                case "eq" | "le":
                    return constant(1, bits)
                case "sub" | "xor" | "ne" | "lt":
                    return constant(0, bits)
                case _:
                    return None
        if len(operands) == 2 and operands[1].is_constant:
            return self._with_constant(operation, bits, first, operands[1])
        if operation in {"shl", "shr"} and first.is_constant and not first.constant:
            return first
        return None

    def _cast(self, bits: int, operand: Value) -> Value | None:
        if operand.bits == bits:
            return operand
        inner = operand.operands[0] if operand.operation == "cast" else operand
        if inner is not operand and (inner.bits <= operand.bits or bits <= operand.bits):
            return self.emit("cast", bits, inner)  # widening twice, or cutting after any other cast
        return None

    def _with_constant(self, operation: str, bits: int, value: Value, right: Value) -> Value | None:
        number = right.constant
        power = number and not number & (number - 1)
        match operation:
            case "add" | "sub" | "or" | "xor" | "shl" | "shr" if not number:
                return value
            case "and" | "mul" if not number:
                return constant(0, bits)
            case "shl" | "shr" if number >= bits:
                return constant(0, bits)
            case "rotl" if number % bits == 0:
                return value
            case "rotl" if number >= bits:
                return self.emit("rotl", bits, value, constant(number % bits, right.bits))
            case "and" if number == mask(bits) or (number & (number + 1) == 0 and value.top <= number):
                return value
            case "mul" | "div" if number == 1:
                return value
            case "xor" if number == mask(bits):
                return self.emit("not", bits, value)
            case "div" if power:
                return self.emit("shr", bits, value, constant(number.bit_length() - 1, 32))
            case "rem" if power:
                return self.emit("and", bits, value, constant(number - 1, bits))
            case _:
                return None


def run(routine: Routine, arguments: Sequence[int]) -> list[int]:
    """Return the results for scalar arguments in the order of the parameters' values."""
    known: dict[Value, int] = {}
    parameters = [value for parameter in routine.parameters for value in parameter.values]
    known.update(zip(parameters, arguments, strict=True))

    def read(value: Value) -> int:
        return value.constant if value.is_constant else known[value]

    def go(body: list[Item]) -> None:
        for item in body:
            if isinstance(item, Value):
                operands = [read(operand) for operand in item.operands]
                if item.operation == "table":
                    known[item] = routine.tables[item.table][1][operands[0]]
                else:
                    known[item] = evaluate(item.operation, item.bits, operands)
                continue
            known.update(zip(item.phis, [read(value) for value in item.initial], strict=True))
            for count in range(item.low, item.high):
                known[item.counter] = count
                go(item.body)
                known.update(zip(item.phis, [read(value) for value in item.following], strict=True))

    go(routine.body)
    return [read(value) for value in routine.results]
