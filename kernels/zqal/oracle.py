"""The oracle: runs the checked tree on Python's integers and bytes, slowly and as plainly as it can be said.

Every backend is compared with it. It shares the checker with them and nothing else: the meaning of the
operations is written here a second time, without `semantics`.

Numbers, truth values, enums and thousandths are ints; byte strings bytes; arrays and structs lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kernels.errors import KernelError, KernelInputError
from kernels.zqal import typed
from kernels.zqal.types import Array, Bool, Bytes, Enum, Permille, Struct, Type, UInt

Frame = dict[typed.Slot, Any]


class AssertionFailedError(KernelError):
    """A claim of a test does not hold."""


def run(function: typed.Function, arguments: Sequence[Any]) -> Any:
    """Return the result of a function; lists passed by reference are changed in place.

    Raises KernelInputError for arguments of another number, type or size.
    """
    if len(arguments) != len(function.parameters):
        raise KernelInputError(
            f"{function.name} takes {len(function.parameters)} arguments, not {len(arguments)}"
        )
    for (slot, _), argument in zip(function.parameters, arguments, strict=True):
        if not fits(argument, slot.type):
            raise KernelInputError(
                f"{slot.name} of {function.name} is not a {slot.type}", hint="see the function's signature"
            )
    return _invoke(function, list(arguments))


def run_test(block: typed.Block) -> None:
    """Run a test; AssertionFailedError says which claim does not hold, and what both sides are."""
    _block(block, {})


def fits(value: Any, type_: Type) -> bool:
    """Tell whether a Python value is one of a type."""
    match type_:
        case UInt(bits):
            return isinstance(value, int) and 0 <= value < 1 << bits
        case Bool():
            return value in {0, 1}
        case Permille():
            return isinstance(value, int) and 0 <= value < 1 << 16
        case Enum(_, variants):
            return value in {number for _, number in variants}
        case Bytes(length):
            return isinstance(value, bytes) and len(value) == length
        case Array(element, length):
            return isinstance(value, list) and len(value) == length and all(fits(v, element) for v in value)
        case Struct(_, fields):
            return (
                isinstance(value, list)
                and len(value) == len(fields)
                and all(fits(v, t) for v, (_, t) in zip(value, fields, strict=True))
            )
        case _:
            return False


def zero(type_: Type) -> Any:
    """Return the value of a type whose bits are all zero."""
    match type_:
        case Array(element, length):
            return [zero(element) for _ in range(length)]
        case Struct(_, fields):
            return [zero(part) for _, part in fields]
        case Bytes(length):
            return bytes(length)
        case _:
            return 0


@dataclass
class _Reference:
    """A variable passed by reference: where the callee's last value goes."""

    frame: Frame
    slot: typed.Slot


def _invoke(function: typed.Function, arguments: list[Any]) -> Any:
    frame: Frame = {}
    for (slot, by_reference), argument in zip(function.parameters, arguments, strict=True):
        given = argument.frame[argument.slot] if isinstance(argument, _Reference) else argument
        frame[slot] = given if by_reference and not isinstance(argument, _Reference) else _copy(given)
    for slot in function.registers:
        frame[slot] = zero(slot.type)
    result = _block(function.body, frame)
    for (slot, _), argument in zip(function.parameters, arguments, strict=True):
        if isinstance(argument, _Reference):
            argument.frame[argument.slot] = frame[slot]
    return result


def _copy(value: Any) -> Any:
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _block(block: typed.Block, frame: Frame) -> Any:
    for statement in block.statements:
        match statement:
            case typed.Set():
                _set(statement, frame)
            case typed.Count():
                for count in range(_value(statement.low, frame), _value(statement.high, frame)):
                    frame[statement.slot] = count
                    _block(statement.body, frame)
            case typed.Claim():
                _claim(statement, frame)
            case typed.Do():
                _value(statement.expression, frame)
    return None if block.value is None else _copy(_value(block.value, frame))


def _set(statement: typed.Set, frame: Frame) -> None:
    value = _copy(_value(statement.value, frame))
    if not statement.path:
        frame[statement.slot] = value
        return
    path = [step if isinstance(step, int) else _value(step, frame) for step in statement.path]
    frame[statement.slot] = _changed(frame[statement.slot], path, value)


def _changed(whole: Any, path: list[int], value: Any) -> Any:
    if not path:
        return value
    if isinstance(whole, bytes):
        return whole[: path[0]] + bytes([value]) + whole[path[0] + 1 :]
    whole[path[0]] = _changed(whole[path[0]], path[1:], value)
    return whole


def _claim(claim: typed.Claim, frame: Frame) -> None:
    if _value(claim.condition, frame):
        return
    shown = " and ".join(_shown(_value(side, frame)) for side in claim.sides)
    place = claim.place
    raise AssertionFailedError(
        f"{place.source.name}:{place.line}: this does not hold"
        + (f": the sides are {shown}" if shown else "")
    )


def _shown(value: Any) -> str:
    return f'x"{value.hex()}"' if isinstance(value, bytes) else f"{value} ({value:#x})"


def _value(expr: typed.Expr, frame: Frame) -> Any:
    return _RULES[type(expr)](expr, frame)


def _known(expr: typed.Known, frame: Frame) -> Any:  # noqa: ARG001
    return _listed(expr.value)


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


def _width(type_: Type) -> int:
    return {Bool: 1, Enum: 8, Permille: 16}[type(type_)] if not isinstance(type_, UInt) else type_.bits


def _operation(expr: typed.Operation, frame: Frame) -> int:
    operands = [_value(operand, frame) for operand in expr.operands]
    return _OPERATIONS[expr.name](_width(expr.type), *operands) % (1 << _width(expr.type))


def _rotate(bits: int, word: int, count: int) -> int:
    for _ in range(count % bits):
        word = word % (1 << (bits - 1)) * 2 + word // (1 << (bits - 1))
    return word


_OPERATIONS: dict[str, Callable[..., int]] = {
    "add": lambda _, a, b: a + b,
    "sub": lambda _, a, b: a - b,
    "mul": lambda _, a, b: a * b,
    "div": lambda _, a, b: divmod(a, b)[0],
    "rem": lambda _, a, b: divmod(a, b)[1],
    "and": lambda _, a, b: a & b,
    "or": lambda _, a, b: a | b,
    "xor": lambda _, a, b: a ^ b,
    "not": lambda bits, a: (1 << bits) - 1 - a,
    "shl": lambda bits, a, n: a * 2**n if n < bits else 0,
    "shr": lambda bits, a, n: a // 2**n if n < bits else 0,
    "rotl": _rotate,
    "rotr": lambda bits, a, n: _rotate(bits, a, bits - n % bits),
    "eq": lambda _, a, b: a == b,
    "ne": lambda _, a, b: a != b,
    "lt": lambda _, a, b: a < b,
    "le": lambda _, a, b: a <= b,
}


def _convert(expr: typed.Convert, frame: Frame) -> int:
    value: int = _value(expr.operand, frame)
    return value % (1 << _width(expr.type))


def _compare_bytes(expr: typed.CompareBytes, frame: Frame) -> bool:
    left, right = _value(expr.left, frame), _value(expr.right, frame)
    return bool(
        {"eq": left == right, "ne": left != right, "lt": left < right, "le": left <= right}[expr.name]
    )


def _join(expr: typed.Join, frame: Frame) -> bytes:
    left: bytes = _value(expr.left, frame)
    right: bytes = _value(expr.right, frame)
    return left + right


def _from_bytes(expr: typed.FromBytes, frame: Frame) -> Any:
    data: bytes = _value(expr.operand, frame)
    order: Any = expr.order
    if isinstance(expr.type, UInt):
        return int.from_bytes(data, order)
    assert isinstance(expr.type, Array)
    size = _width(expr.type.element) // 8
    return [int.from_bytes(data[i : i + size], order) for i in range(0, len(data), size)]


def _to_bytes(expr: typed.ToBytes, frame: Frame) -> bytes:
    value = _value(expr.operand, frame)
    type_ = expr.operand.type
    order: Any = expr.order
    if isinstance(type_, Array):
        return b"".join(number.to_bytes(_width(type_.element) // 8, order) for number in value)
    data: bytes = value.to_bytes(_width(type_) // 8, order)
    return data


def _element(expr: typed.Element, frame: Frame) -> Any:
    return _value(expr.base, frame)[_value(expr.index, frame)]


def _part(expr: typed.Part, frame: Frame) -> bytes:
    low = _value(expr.low, frame)
    assert isinstance(expr.type, Bytes)
    data: bytes = _value(expr.base, frame)[low : low + expr.type.length]
    return data


def _field(expr: typed.Field, frame: Frame) -> Any:
    return _value(expr.base, frame)[expr.position]


def _gather(expr: typed.Gather, frame: Frame) -> list[Any]:
    return [_copy(_value(item, frame)) for item in expr.items]


def _fold(expr: typed.Fold, frame: Frame) -> int:
    total = 0
    for number in _value(expr.operand, frame):
        total ^= number
    return total


def _choice(expr: typed.Choice, frame: Frame) -> Any:
    if _value(expr.condition, frame):
        return _block(expr.then, frame)
    return None if expr.otherwise is None else _block(expr.otherwise, frame)


def _select(expr: typed.Select, frame: Frame) -> Any:
    subject = _value(expr.subject, frame)
    for number, value in expr.cases:
        if number == subject:
            return _value(value, frame)
    return _value(expr.otherwise, frame)


def _call(expr: typed.Invoke, frame: Frame) -> Any:
    arguments = [
        _Reference(frame, argument) if isinstance(argument, typed.Slot) else _value(argument, frame)
        for argument in expr.arguments
    ]
    return _invoke(expr.function, arguments)


_RULES: dict[type[typed.Expr], Callable[[Any, Frame], Any]] = {
    typed.Known: _known,
    typed.Read: lambda expr, frame: frame[expr.slot],
    typed.Operation: _operation,
    typed.Convert: _convert,
    typed.CompareBytes: _compare_bytes,
    typed.Join: _join,
    typed.FromBytes: _from_bytes,
    typed.ToBytes: _to_bytes,
    typed.Element: _element,
    typed.Part: _part,
    typed.Field: _field,
    typed.Gather: _gather,
    typed.Fold: _fold,
    typed.Choice: _choice,
    typed.Select: _select,
    typed.Invoke: _call,
}
