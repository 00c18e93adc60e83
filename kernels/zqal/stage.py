"""From the typed tree to the core: calls are inlined, arrays taken apart, branches computed and selected.

Byte strings are little-endian 64-bit words, with zeros behind the last byte: joining and slicing at fixed
offsets is a shift, or nothing. Loops stay rolled unless their variable picks a register or a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kernels.zqal import staged_bytes as strings
from kernels.zqal import typed
from kernels.zqal.core import Builder, Parameter, Routine, Value, constant
from kernels.zqal.passes import mark_uniform, without_dead_code
from kernels.zqal.staged_bytes import Words
from kernels.zqal.typed import assigned
from kernels.zqal.types import Array, Bytes, Struct, Type, Void, storage_bits

Staged = Any
"""A `Value`, `Words`, or a list of these for an array or a struct. Lists are never changed in place."""
Frame = dict[typed.Slot, Staged]
PEEL_FROM = 5
"""Loops of at least so many rounds can have their first and last round taken out."""


def stage(function: typed.Function, *, peel: bool = False) -> Routine:
    """Return a function as core. `peel` takes the first and last round out of rolled loops.

    Results are those of the function, then the last values of what it takes by reference.
    """
    return _Stager(peel=peel).routine(function)


class _Stager:
    def __init__(self, *, peel: bool) -> None:
        self._builder = Builder()
        self._peel = peel
        self._rules: dict[type[typed.Expr], Callable[[Any, Frame], Staged]] = {
            typed.Known: self._known,
            typed.Read: lambda expr, frame: frame[expr.slot],
            typed.Operation: self._operation,
            typed.Convert: self._convert,
            typed.CompareBytes: self._compare,
            typed.Join: lambda e, f: strings.join(
                self._builder, self._value(e.left, f), self._value(e.right, f)
            ),
            typed.FromBytes: self._from_bytes,
            typed.ToBytes: self._to_bytes,
            typed.Element: self._element,
            typed.Part: self._part,
            typed.Field: lambda expr, frame: self._value(expr.base, frame)[expr.position],
            typed.Gather: lambda expr, frame: [self._value(item, frame) for item in expr.items],
            typed.Fold: self._fold,
            typed.Choice: self._choice,
            typed.Select: self._select,
            typed.Invoke: self._invoke,
        }

    def routine(self, function: typed.Function) -> Routine:
        parameters: list[Parameter] = []
        arguments: list[Staged] = []
        for slot, _ in function.parameters:
            staged = self._parameter(slot.type)
            arguments.append(staged)
            parameters.append(Parameter(slot.name, tuple(_leaves(staged)), slot.type, slot.uniform))
        result, back = self._body(function, arguments)
        results = [] if result is None else list(_leaves(result))
        for value in back:
            results += _leaves(value)
        builder = self._builder
        routine = Routine(function.name, parameters, builder.body, results, builder.tables)
        return mark_uniform(without_dead_code(routine))

    # shapes

    def _parameter(self, type_: Type) -> Staged:
        match type_:
            case Array(element, length):
                return [self._parameter(element) for _ in range(length)]
            case Struct(_, fields):
                return [self._parameter(part) for _, part in fields]
            case Bytes(length):
                return Words(
                    length, tuple(self._builder.fresh("parameter", 64) for _ in range(-(-length // 8)))
                )
            case _:
                return self._builder.fresh("parameter", storage_bits(type_))

    def _lift(self, value: Any, type_: Type) -> Staged:
        match type_:
            case Array(element, _):
                return [self._lift(item, element) for item in value]
            case Struct(_, fields):
                return [self._lift(item, part) for item, (_, part) in zip(value, fields, strict=True)]
            case Bytes():
                return strings.constant_words(value)
            case _:
                return constant(int(value), storage_bits(type_))

    def _zero(self, type_: Type) -> Staged:
        match type_:
            case Array(element, length):
                return [self._zero(element)] * length
            case Struct(_, fields):
                return [self._zero(part) for _, part in fields]
            case Bytes(length):
                return strings.constant_words(bytes(length))
            case _:
                return constant(0, storage_bits(type_))

    def _merge(self, condition: Value, yes: Staged, no: Staged) -> Staged:
        chosen = iter(
            [
                self._builder.emit("sel", a.bits, condition, a, b)
                for a, b in zip(_leaves(yes), _leaves(no), strict=True)
            ]
        )
        return _rebuilt(yes, chosen)

    # statements

    def _body(self, function: typed.Function, arguments: list[Staged]) -> tuple[Staged, list[Staged]]:
        frame: Frame = {
            slot: argument for (slot, _), argument in zip(function.parameters, arguments, strict=True)
        }
        for slot in function.registers:
            frame[slot] = self._zero(slot.type)
        result = self._block(function.body, frame)
        return result, [frame[slot] for slot, by_reference in function.parameters if by_reference]

    def _block(self, block: typed.Block, frame: Frame) -> Staged:
        for statement in block.statements:
            match statement:
                case typed.Set():
                    self._set(statement, frame)
                case typed.Count():
                    self._count(statement, frame)
                case typed.Do():
                    self._value(statement.expression, frame)
                case typed.Claim():
                    raise AssertionError("tests are not compiled")
        return None if block.value is None else self._value(block.value, frame)

    def _set(self, statement: typed.Set, frame: Frame) -> None:
        value = self._value(statement.value, frame)
        path = [
            step if isinstance(step, int) else _fixed(self._value(step, frame)) for step in statement.path
        ]
        frame[statement.slot] = self._changed(frame[statement.slot], path, value) if path else value

    def _changed(self, whole: Staged, path: list[int], value: Staged) -> Staged:
        if not path:
            return value
        if isinstance(whole, Words):
            return strings.with_byte(self._builder, whole, path[0], value)
        inner = self._changed(whole[path[0]], path[1:], value)
        return [*whole[: path[0]], inner, *whole[path[0] + 1 :]]

    def _count(self, statement: typed.Count, frame: Frame) -> None:
        low, high = _fixed(self._value(statement.low, frame)), _fixed(self._value(statement.high, frame))
        if statement.loop.unroll or high - low <= 1:
            for count in range(low, high):
                self._round(statement, frame, constant(count, 32))
            return
        peeled = self._peel and high - low >= PEEL_FROM
        if peeled:
            self._round(statement, frame, constant(low, 32))
        self._loop(statement, frame, low + peeled, high - peeled)
        if peeled:
            self._round(statement, frame, constant(high - 1, 32))

    def _round(self, statement: typed.Count, frame: Frame, count: Value) -> None:
        frame[statement.slot] = count
        self._block(statement.body, frame)

    def _loop(self, statement: typed.Count, frame: Frame, low: int, high: int) -> None:
        carried = [slot for slot in assigned(statement.body) if slot in frame]
        shapes = [frame[slot] for slot in carried]

        def put(values: Sequence[Value]) -> None:
            following = iter(values)
            for slot, shape in zip(carried, shapes, strict=True):
                frame[slot] = _rebuilt(shape, following)

        def body(counter: Value, phis: list[Value]) -> list[Value]:
            put(phis)
            self._round(statement, frame, counter)
            return [leaf for slot in carried for leaf in _leaves(frame[slot])]

        initial = [leaf for shape in shapes for leaf in _leaves(shape)]
        put(self._builder.loop(low, high, initial, body))

    # expressions

    def _value(self, expr: typed.Expr, frame: Frame) -> Staged:
        return self._rules[type(expr)](expr, frame)

    def _known(self, expr: typed.Known, frame: Frame) -> Staged:  # noqa: ARG002
        return self._lift(expr.value, expr.type)

    def _operation(self, expr: typed.Operation, frame: Frame) -> Value:
        operands = [self._value(operand, frame) for operand in expr.operands]
        bits = storage_bits(expr.type)
        if expr.name in {"shl", "shr"}:
            operands[1] = self._shift_count(operands[1], bits)
        elif expr.name in {"rotl", "rotr"}:
            return self._rotation(expr.name, bits, *operands)
        return self._builder.emit(expr.name, bits, *operands)

    def _shift_count(self, count: Value, bits: int) -> Value:
        """Return a count in 32 bits; one too large for them stays too large."""
        if count.bits <= 32:
            return self._builder.emit("cast", 32, count)
        inside = self._builder.emit("lt", 1, count, constant(bits, count.bits))
        low = self._builder.emit("cast", 32, count)
        return self._builder.emit("sel", 32, inside, low, constant(bits, 32))

    def _rotation(self, name: str, bits: int, word: Value, count: Value) -> Value:
        emit = self._builder.emit
        count = emit("cast", 32, emit("and", count.bits, count, constant(bits - 1, count.bits)))
        if name == "rotr":
            count = emit("and", 32, emit("sub", 32, constant(bits, 32), count), constant(bits - 1, 32))
        return emit("rotl", bits, word, count)

    def _convert(self, expr: typed.Convert, frame: Frame) -> Value:
        return self._builder.emit("cast", storage_bits(expr.type), self._value(expr.operand, frame))

    def _compare(self, expr: typed.CompareBytes, frame: Frame) -> Value:
        left, right = self._value(expr.left, frame), self._value(expr.right, frame)
        return strings.compared(self._builder, expr.name, left, right)

    def _from_bytes(self, expr: typed.FromBytes, frame: Frame) -> Staged:
        data = self._value(expr.operand, frame)
        if not isinstance(expr.type, Array):
            return strings.number(self._builder, data, 0, storage_bits(expr.type), expr.order)
        bits = storage_bits(expr.type.element)
        starts = range(0, data.length, bits // 8)
        return [strings.number(self._builder, data, start, bits, expr.order) for start in starts]

    def _to_bytes(self, expr: typed.ToBytes, frame: Frame) -> Words:
        value = self._value(expr.operand, frame)
        joined = Words(0, ())
        for number in value if isinstance(value, list) else [value]:
            joined = strings.join(self._builder, joined, strings.of_number(self._builder, number, expr.order))
        return joined

    def _element(self, expr: typed.Element, frame: Frame) -> Staged:
        index = self._value(expr.index, frame)
        if isinstance(expr.base, typed.Known) and expr.base.table and not index.is_constant:
            assert isinstance(expr.base.value, tuple)
            elements = tuple(number for number in expr.base.value if isinstance(number, int))
            self._builder.tables[expr.base.table] = storage_bits(expr.type), elements
            return self._builder.lookup(expr.base.table, index)
        if isinstance(expr.base, typed.Known):  # one element of a table, without lifting all of it
            assert isinstance(expr.base.value, tuple | bytes)
            return self._lift(expr.base.value[_fixed(index)], expr.type)
        base = self._value(expr.base, frame)
        if isinstance(base, Words):
            return strings.number(self._builder, base, _fixed(index), 8, "little")
        return base[_fixed(index)]

    def _part(self, expr: typed.Part, frame: Frame) -> Words:
        assert isinstance(expr.type, Bytes)
        low = _fixed(self._value(expr.low, frame))
        return strings.part(self._builder, self._value(expr.base, frame), low, expr.type.length)

    def _fold(self, expr: typed.Fold, frame: Frame) -> Value:
        items: list[Value] = self._value(expr.operand, frame)
        total = items[0]
        for item in items[1:]:
            total = self._builder.emit(expr.name, total.bits, total, item)
        return total

    def _choice(self, expr: typed.Choice, frame: Frame) -> Staged:
        condition = self._value(expr.condition, frame)
        if condition.is_constant:
            taken = expr.then if condition.constant else expr.otherwise
            return None if taken is None else self._block(taken, frame)
        before = dict(frame)
        yes = self._block(expr.then, frame)
        after_then = dict(frame)
        frame.clear()
        frame.update(before)
        no = None if expr.otherwise is None else self._block(expr.otherwise, frame)
        for slot in before:
            if after_then[slot] is not frame[slot]:
                frame[slot] = self._merge(condition, after_then[slot], frame[slot])
        if isinstance(expr.type, Void):
            return None
        return self._merge(condition, yes, no)

    def _select(self, expr: typed.Select, frame: Frame) -> Staged:
        subject = self._value(expr.subject, frame)
        chosen = self._value(expr.otherwise, frame)
        for number, value in reversed(expr.cases):
            matches = self._builder.emit("eq", 1, subject, constant(number, subject.bits))
            chosen = self._merge(matches, self._value(value, frame), chosen)
        return chosen

    def _invoke(self, expr: typed.Invoke, frame: Frame) -> Staged:
        arguments = [
            frame[argument] if isinstance(argument, typed.Slot) else self._value(argument, frame)
            for argument in expr.arguments
        ]
        result, back = self._body(expr.function, arguments)
        referred = [argument for argument in expr.arguments if isinstance(argument, typed.Slot)]
        frame.update(zip(referred, back, strict=True))
        return result


def _leaves(staged: Staged) -> Iterator[Value]:
    if isinstance(staged, Value):
        yield staged
    elif isinstance(staged, Words):
        yield from staged.words
    else:
        for item in staged:
            yield from _leaves(item)


def _rebuilt(shape: Staged, values: Iterator[Value]) -> Staged:
    if isinstance(shape, Value):
        return next(values)
    if isinstance(shape, Words):
        return Words(shape.length, tuple(next(values) for _ in shape.words))
    return [_rebuilt(item, values) for item in shape]


def _fixed(value: Value) -> int:
    assert value.is_constant, "the checker lets only fixed indexes through"
    return value.constant
