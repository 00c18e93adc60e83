"""The built-in functions: conversions, rotations, bytes and words, `collapse`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

from kernels.zqal import typed
from kernels.zqal.checker import arithmetic
from kernels.zqal.diagnostics import FaultError, Place
from kernels.zqal.types import WIDTHS, Array, Bool, Bytes, Enum, Interval, Literal, Permille, Real, UInt

_Rule = Callable[[Place, typed.Expr, bool], typed.Expr]
MAX_ZEROS = 1 << 12


def names() -> tuple[str, ...]:
    """Return the names of all built-in functions."""
    return (*_ONE, "rotate_left", "rotate_right")


def call(place: Place, name: str, arguments: Sequence[typed.Expr], *, exact: bool) -> typed.Expr:
    """Check the call of a built-in function; `name` is one of `names`."""
    rotation = name in {"rotate_left", "rotate_right"}
    wanted = 2 if rotation else 1
    if len(arguments) != wanted:
        raise FaultError(place, f"{name} takes {wanted} argument{'s' * rotation}, not {len(arguments)}")
    if rotation:
        return _rotation(place, name, *arguments)
    return _ONE[name](place, arguments[0], exact)


def _rotation(place: Place, name: str, operand: typed.Expr, count: typed.Expr) -> typed.Expr:
    if not isinstance(operand.type, UInt):
        raise FaultError(
            operand.place, f"{name} needs a typed integer, found {operand.type}", "u32(x) types it"
        )
    count = arithmetic.settle(count)
    if not isinstance(count.type, UInt):
        raise FaultError(count.place, f"a rotation count is an integer, found {count.type}")
    kind = "rotl" if name == "rotate_left" else "rotr"
    return arithmetic.operation(place, kind, operand.type, operand.type.full, operand, count)


def _conversion(bits: int) -> _Rule:
    want = UInt(bits)

    def convert(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:
        match operand.type:
            case Real() | Literal():
                assert isinstance(operand.value, int | Fraction)
                whole = operand.value.numerator // operand.value.denominator  # exact, rounded down
                return arithmetic.coerce(arithmetic.literal(place, whole), want)
            case UInt():
                return _narrow(place, operand, want, exact)
            case Bytes(length):
                if length * 8 != bits:
                    raise FaultError(place, f"{want} reads {bits // 8} bytes, found {length}")
                return typed.FromBytes(place, want, want.full, None, None, operand, "little")
            case Bool() | Enum() | Permille():
                interval = Interval(0, {Bool: 1, Enum: 255, Permille: 65535}[type(operand.type)])
                if isinstance(operand.type, Enum):
                    numbers = [number for _, number in operand.type.variants]
                    interval = Interval(min(numbers), max(numbers))
                interval = operand.interval or interval
                if not interval.within(want.full):
                    raise FaultError(place, f"{want} cannot hold {arithmetic.shown(interval)}")
                return typed.Convert(place, want, interval, operand.value, operand.loops, operand)
            case _:
                raise FaultError(place, f"cannot make {want} of {operand.type}")

    return convert


def _narrow(place: Place, operand: typed.Expr, want: UInt, exact: bool) -> typed.Expr:
    interval = arithmetic.range_of(operand)
    value = operand.value
    if not interval.within(want.full):
        if exact:
            raise FaultError(
                place,
                f"{want}(…) may lose bits of {arithmetic.shown(interval)}",
                "@validator and @reward compute exactly: mask the operand, or bound it with an if",
            )
        interval = want.full
        if isinstance(value, int):
            value &= want.full.high
            interval = Interval(value, value)
    return typed.Convert(place, want, interval, value, operand.loops, operand)


def _big_endian(bits: int) -> _Rule:
    want = UInt(bits)

    def read(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:  # noqa: ARG001
        if operand.type != Bytes(bits // 8):
            raise FaultError(place, f"u{bits}_be reads bytes{bits // 8}, found {operand.type}")
        return typed.FromBytes(place, want, want.full, None, None, operand, "big")

    return read


def _bytes(order: str) -> _Rule:
    def write(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:  # noqa: ARG001
        match operand.type:
            case UInt(bits):
                length = bits // 8
            case Array(UInt(bits), count):
                length = bits // 8 * count
            case _:
                raise FaultError(
                    place, f"this needs a typed integer or an array of them, found {operand.type}"
                )
        return typed.ToBytes(place, Bytes(length), None, None, None, operand, order)

    return write


def _words(bits: int, order: str) -> _Rule:
    def read(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:  # noqa: ARG001
        if not isinstance(operand.type, Bytes) or operand.type.length % (bits // 8):
            raise FaultError(place, f"words of {bits} bits need whole words of bytes, found {operand.type}")
        want = Array(UInt(bits), operand.type.length * 8 // bits)
        return typed.FromBytes(place, want, None, None, None, operand, order)

    return read


def _zeros(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:  # noqa: ARG001
    if not isinstance(operand.value, int) or not 0 <= operand.value <= MAX_ZEROS:
        raise FaultError(place, f"zeros(n) needs a number from 0 to {MAX_ZEROS}, known while compiling")
    return arithmetic.known(place, Bytes(operand.value), bytes(operand.value))


def _collapse(place: Place, operand: typed.Expr, exact: bool) -> typed.Expr:  # noqa: ARG001
    match operand.type:
        case UInt():
            return replace(operand, place=place)
        case Array(UInt() as element, length) if length:
            return typed.Fold(place, element, element.full, None, None, operand, "xor")
        case _:
            raise FaultError(place, f"collapse joins registers, found {operand.type}")


_ONE: dict[str, _Rule] = {
    **{f"u{bits}": _conversion(bits) for bits in WIDTHS},
    **{f"u{bits}_be": _big_endian(bits) for bits in WIDTHS if bits > 8},
    "le_bytes": _bytes("little"),
    "be_bytes": _bytes("big"),
    **{f"words{bits}": _words(bits, "little") for bits in (32, 64)},
    **{f"be_words{bits}": _words(bits, "big") for bits in (32, 64)},
    "zeros": _zeros,
    "collapse": _collapse,
}
