"""Arithmetic of numbers that are several 64-bit limbs, the lowest first, written as core operations."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.zqal.core import Builder, Value, constant
from kernels.zqal.semantics import mask

Limbs = tuple[Value, ...]
_ZERO = constant(0, 64)


def apply(builder: Builder, operation: str, bits: int, operands: Sequence[Limbs]) -> Limbs:
    """Return the limbs of an operation's result of `bits` bits; some operand or the result is wide."""
    first = operands[0]
    match operation:
        case "and" | "or" | "xor":
            return tuple(builder.emit(operation, 64, a, b) for a, b in zip(*operands, strict=True))
        case "not":
            return _complement(builder, first)
        case "add":
            return add(builder, first, operands[1], _ZERO)
        case "sub":
            return add(builder, first, _complement(builder, operands[1]), constant(1, 64))
        case "mul":
            return multiply(builder, first, operands[1])
        case "div":
            return divide(builder, first, operands[1])[0]
        case "rem":
            return divide(builder, first, operands[1])[1]
        case "shl" | "shr":
            return shift(builder, operation, first, operands[1][0])
        case "rotl":
            return _rotate(builder, first, operands[1][0])
        case "eq" | "ne":
            equal = _equal(builder, first, operands[1])
            return (equal if operation == "eq" else builder.emit("not", 1, equal),)
        case "lt" | "le":
            return (less(builder, first, operands[1], or_equal=operation == "le"),)
        case "sel":
            return select(builder, first[0], operands[1], operands[2])
        case "bswap":
            return tuple(builder.emit("bswap", 64, limb) for limb in reversed(first))
        case "cast":
            return _cast(builder, first, bits)
        case _:
            raise AssertionError(operation)


def _cast(builder: Builder, number: Limbs, bits: int) -> Limbs:
    if bits <= 64:
        return (builder.emit("cast", bits, number[0]),)
    if len(number) == 1:
        number = (builder.emit("cast", 64, number[0]),)
    return (*number, *[_ZERO] * 4)[: bits // 64]


def _complement(builder: Builder, number: Limbs) -> Limbs:
    return tuple(builder.emit("not", 64, limb) for limb in number)


def add(builder: Builder, left: Limbs, right: Limbs, carry: Value) -> Limbs:
    """Return left + right + carry, cut to the width; the carry is 0 or 1 in 64 bits."""
    total: list[Value] = []
    for a, b in zip(left, right, strict=True):
        half = builder.emit("add", 64, a, b)
        over_half = builder.emit("lt", 1, half, a)
        whole = builder.emit("add", 64, half, carry)
        over = builder.emit("or", 1, over_half, builder.emit("lt", 1, whole, half))
        carry = builder.emit("cast", 64, over)
        total.append(whole)
    return tuple(total)


def less(builder: Builder, left: Limbs, right: Limbs, *, or_equal: bool) -> Value:
    """Return whether left < right, or left ≤ right."""
    result = constant(int(or_equal), 1)
    for a, b in zip(left, right, strict=True):
        result = builder.emit("sel", 1, builder.emit("eq", 1, a, b), result, builder.emit("lt", 1, a, b))
    return result


def _equal(builder: Builder, left: Limbs, right: Limbs) -> Value:
    result = constant(1, 1)
    for a, b in zip(left, right, strict=True):
        result = builder.emit("and", 1, result, builder.emit("eq", 1, a, b))
    return result


def select(builder: Builder, condition: Value, yes: Limbs, no: Limbs) -> Limbs:
    """Return one of two numbers."""
    return tuple(builder.emit("sel", 64, condition, a, b) for a, b in zip(yes, no, strict=True))


def shift(builder: Builder, operation: str, number: Limbs, count: Value) -> Limbs:
    """Return the number shifted; `count` has 32 bits, and by the width or more the result is 0.

    Each limb joins two neighbours: `near`, shifted the same way, and `far`, shifted the other way.
    """
    if len(number) == 1:
        return (builder.emit(operation, number[0].bits, number[0], count),)
    whole = builder.emit("shr", 32, count, constant(6, 32))
    bits = builder.emit("and", 32, count, constant(63, 32))
    rest = builder.emit("sub", 32, constant(64, 32), bits)  # 64 for none: that shift gives 0
    back = "shr" if operation == "shl" else "shl"
    step = -1 if operation == "shl" else 1

    def moved(position: int) -> Value:
        limb = _ZERO
        for distance in range(len(number)):
            source = position + step * distance
            if 0 <= source < len(number):
                here = builder.emit("eq", 1, whole, constant(distance, 32))
                limb = builder.emit("sel", 64, here, number[source], limb)
        return limb

    shifted: list[Value] = []
    for position in range(len(number)):
        near = builder.emit(operation, 64, moved(position), bits)
        far = builder.emit(back, 64, moved(position + step), rest)
        shifted.append(builder.emit("or", 64, near, far))
    return tuple(shifted)


def _rotate(builder: Builder, number: Limbs, count: Value) -> Limbs:
    width = 64 * len(number)
    count = builder.emit("and", 32, count, constant(width - 1, 32))
    left = shift(builder, "shl", number, count)
    right = shift(builder, "shr", number, builder.emit("sub", 32, constant(width, 32), count))
    return tuple(builder.emit("or", 64, a, b) for a, b in zip(left, right, strict=True))


def multiply(builder: Builder, left: Limbs, right: Limbs) -> Limbs:
    """Return left · right, cut to the width, by schoolbook multiplication of limbs."""
    size = len(left)
    total: Limbs = (_ZERO,) * size
    for i in range(size):
        for j in range(size - i):
            low, high = _product(builder, left[i], right[j])
            part = [_ZERO] * size
            part[i + j] = low
            if i + j + 1 < size:
                part[i + j + 1] = high
            total = add(builder, total, tuple(part), _ZERO)
    return total


def _product(builder: Builder, left: Value, right: Value) -> tuple[Value, Value]:
    """Return the low and the high 64 bits of a product, by halves of 32 bits."""

    def low(word: Value) -> Value:
        return builder.emit("and", 64, word, constant(mask(32), 64))

    def high(word: Value) -> Value:
        return builder.emit("shr", 64, word, constant(32, 32))

    def plus(*words: Value) -> Value:
        total = words[0]
        for word in words[1:]:
            total = builder.emit("add", 64, total, word)
        return total

    low_low = builder.emit("mul", 64, low(left), low(right))
    low_high = builder.emit("mul", 64, low(left), high(right))
    high_low = builder.emit("mul", 64, high(left), low(right))
    high_high = builder.emit("mul", 64, high(left), high(right))
    middle = plus(high(low_low), low(low_high), low(high_low))
    upper = plus(high_high, high(low_high), high(high_low), high(middle))
    return builder.emit("mul", 64, left, right), upper


def divide(builder: Builder, left: Limbs, right: Limbs) -> tuple[Limbs, Limbs]:
    """Return quotient and remainder by long division, a bit a round; total as `semantics` says."""
    size = len(left)

    def doubled(number: Sequence[Value], lowest: Value) -> Limbs:
        parts = []
        for position in range(size):
            below = builder.emit("shr", 64, number[position - 1], constant(63, 32)) if position else lowest
            parts.append(
                builder.emit("or", 64, builder.emit("shl", 64, number[position], constant(1, 32)), below)
            )
        return tuple(parts)

    def one_bit(_: Value, phis: list[Value]) -> list[Value]:
        dividend, quotient, remainder = phis[:size], phis[size : 2 * size], phis[2 * size :]
        top = builder.emit("shr", 64, dividend[-1], constant(63, 32))
        lost = builder.emit("shr", 64, remainder[-1], constant(63, 32))
        larger = doubled(remainder, top)
        fits = builder.emit(
            "or",
            1,
            builder.emit("ne", 1, lost, _ZERO),
            less(builder, right, larger, or_equal=True),
        )
        reduced = add(builder, larger, _complement(builder, right), constant(1, 64))
        bit = builder.emit("cast", 64, fits)
        return [*doubled(dividend, _ZERO), *doubled(quotient, bit), *select(builder, fits, reduced, larger)]

    phis = builder.loop(0, 64 * size, [*left, *[_ZERO] * (2 * size)], one_bit)
    by_zero = _equal(builder, right, (_ZERO,) * size)
    ones = (constant(mask(64), 64),) * size
    quotient = select(builder, by_zero, ones, tuple(phis[size : 2 * size]))
    return quotient, select(builder, by_zero, left, tuple(phis[2 * size :]))
