"""Operators: their types, the intervals of their results, and when a value is known while compiling.

Each function takes checked operands and returns a checked expression, or raises FaultError.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from kernels.zqal import typed
from kernels.zqal.diagnostics import FaultError, Place
from kernels.zqal.semantics import evaluate, mask
from kernels.zqal.types import Array, Bool, Bytes, Enum, Interval, Literal, Permille, Real, Struct, Type, UInt

MAX_LITERAL_BITS = 1024
"""Numbers that exist while compiling have at most so many bits."""
_NAMES = {"+": "add", "-": "sub", "*": "mul", "/": "div", "%": "rem", "&": "and", "|": "or", "^": "xor"}
_FAR = 1 << 16


def known(place: Place, type_: Type, value: typed.Value, table: str = "") -> typed.Known:
    """Return a value known while compiling."""
    interval = Interval(value, value) if isinstance(value, int) else None
    return typed.Known(place, type_, interval, value, frozenset(), table)


def loops_of(*operands: typed.Expr) -> frozenset[typed.Loop] | None:
    """Return the loops that fix all operands, or None when one is known at run time only."""
    found: frozenset[typed.Loop] = frozenset()
    for operand in operands:
        if operand.loops is None:
            return None
        found |= operand.loops
    return found


def range_of(expr: typed.Expr) -> Interval:
    """Return the interval of a number."""
    if expr.interval is not None:
        return expr.interval
    assert isinstance(expr.type, UInt)
    return expr.type.full


def coerce(expr: typed.Expr, want: Type, *, exact: bool = False) -> typed.Expr:
    """Return the expression as a value of the wanted type, or say why it cannot be one."""
    found = expr.type
    if found == want:
        return expr
    match found, want:
        case Literal(), UInt():
            assert isinstance(expr.value, int)
            if not 0 <= expr.value <= want.full.high:
                raise FaultError(expr.place, f"{expr.value} does not fit {want}", _wider(expr.value))
            return known(expr.place, want, expr.value)
        case Literal(), Real():
            assert isinstance(expr.value, int)
            return known(expr.place, want, Fraction(expr.value))
        case ((Literal() | Real()), Permille()):
            return _thousandths(expr)
        case UInt(), UInt():
            interval = range_of(expr)
            if interval.within(want.full):
                return typed.Convert(expr.place, want, interval, expr.value, expr.loops, expr)
            cut = f"a wider type than {want} is needed" if exact else f"write {want}(…) to keep the low bits"
            raise FaultError(expr.place, f"{found} ({shown(interval)}) may not fit {want}", cut)
        case Array(), Array(element, length) if isinstance(expr, typed.Gather) and found.length == length:
            items = tuple(coerce(item, element, exact=exact) for item in expr.items)
            return gather(expr.place, want, items)
        case UInt(bits), Bytes(length):
            help_ = "le_bytes(x) makes bytes of a number"
            if bits < 8 * length and length == 32:
                help_ = (
                    f"{bits} bits are not a hash: hash every register, for example "
                    "keccak256(seed ++ le_bytes(state))"
                )
            raise FaultError(expr.place, f"expected {want}, found {found}", help_)
        case Bytes(), UInt(bits):
            raise FaultError(
                expr.place, f"expected {want}, found {found}", f"{want}(b[0:{bits // 8}]) reads a number"
            )
        case _:
            raise FaultError(expr.place, f"expected {want}, found {found}")


def _thousandths(expr: typed.Expr) -> typed.Expr:
    assert isinstance(expr.value, int | Fraction)
    scaled = Fraction(expr.value) * 1000
    if scaled.denominator != 1:
        raise FaultError(
            expr.place,
            f"{float(expr.value)} is not a whole number of thousandths",
            "a multiplier has at most three decimals",
        )
    if not 0 <= scaled <= mask(16):
        raise FaultError(expr.place, "a multiplier lies between 0 and 65.535")
    return known(expr.place, Permille(), int(scaled))


def _wider(value: int) -> str:
    bits = next((bits for bits in (8, 16, 32, 64, 128, 256) if 0 <= value <= mask(bits)), None)
    return (
        f"u{bits} is the smallest type that holds it" if bits else "numbers have no sign and at most 256 bits"
    )


def shown(interval: Interval) -> str:
    """Return an interval for a message; large powers of two as such."""
    return f"{_short(interval.low)}..{_short(interval.high)}"


def _short(number: int) -> str:
    if abs(number) < 1 << 20:
        return str(number)
    exponent = (abs(number) + 1).bit_length() - 1
    if abs(number) + 1 == 1 << exponent:
        return f"{'-' if number < 0 else ''}(2^{exponent} - 1)"
    return f"{number:#x}" if abs(number) >> 63 else str(number)


def gather(place: Place, type_: Type, items: tuple[typed.Expr, ...]) -> typed.Gather:
    """Return an array or struct made of checked parts."""
    values = tuple(item.value for item in items if item.value is not None)
    value = values if len(values) == len(items) else None
    return typed.Gather(place, type_, None, value, loops_of(*items), items)


def settle(expr: typed.Expr, want: Type | None = None) -> typed.Expr:
    """Give a number without a type one: the wanted one, else u32."""
    if isinstance(expr.type, Literal):
        return coerce(expr, want if isinstance(want, UInt) else UInt(32))
    if isinstance(expr.type, Array) and isinstance(expr.type.element, Literal):
        return coerce(expr, Array(UInt(32), expr.type.length))
    return expr


def integers(left: typed.Expr, right: typed.Expr) -> tuple[typed.Expr, typed.Expr]:
    """Bring two integers to the wider of their types; two numbers without a type stay so."""
    for operand in (left, right):
        if not isinstance(operand.type, UInt | Literal):
            raise FaultError(
                operand.place, f"this needs integers, found {operand.type}", _number_help(operand)
            )
    wide = max((t.bits for t in (left.type, right.type) if isinstance(t, UInt)), default=0)
    if not wide:
        return left, right
    return coerce(left, UInt(wide)), coerce(right, UInt(wide))


def _number_help(operand: typed.Expr) -> str:
    match operand.type:
        case Permille() | Enum() | Bool():
            return "u32(x) is its number"
        case Bytes(length) if length in {1, 2, 4, 8, 16, 32}:
            return f"u{8 * length}(x) reads it in little-endian order, u{8 * length}_be(x) in big-endian"
        case _:
            return ""


def arithmetic(place: Place, sign: str, left: typed.Expr, right: typed.Expr, *, exact: bool) -> typed.Expr:
    """Check ``+ - * / %``: they wrap in a kernel and are proved not to in exact code."""
    if isinstance(left.type, Real) or isinstance(right.type, Real):
        return _real(place, sign, coerce(left, Real()), coerce(right, Real()))
    left, right = integers(left, right)
    interval = _result_range(sign, left, right)
    if isinstance(left.type, Literal):
        assert isinstance(left.value, int)
        assert isinstance(right.value, int)
        return literal(place, interval.low)
    assert isinstance(left.type, UInt)
    full = left.type.full
    if not interval.within(full):
        if exact:
            raise FaultError(
                place,
                f"{sign} may leave {left.type}: the result lies in {shown(interval)}",
                "@validator and @reward compute exactly: widen the operands, or bound them with an if",
            )
        interval = full
    return operation(place, _NAMES[sign], left.type, interval, left, right)


def literal(place: Place, value: int) -> typed.Known:
    """Return a number without a type; its size while compiling is bounded."""
    if value.bit_length() > MAX_LITERAL_BITS:
        raise FaultError(place, f"this number has more than {MAX_LITERAL_BITS} bits")
    return known(place, Literal(), value)


def _real(place: Place, sign: str, left: typed.Expr, right: typed.Expr) -> typed.Expr:
    if not isinstance(left.value, Fraction) or not isinstance(right.value, Fraction):
        raise FaultError(place, "real numbers exist while compiling only")
    if sign == "%" or (sign == "/" and not right.value):
        raise FaultError(place, f"{sign} of real numbers is not defined here")
    a, b = left.value, right.value
    value = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[sign]()
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_LITERAL_BITS:
        raise FaultError(place, f"this number needs more than {MAX_LITERAL_BITS} bits")
    return known(place, Real(), value)


def _result_range(sign: str, left: typed.Expr, right: typed.Expr) -> Interval:
    a, b = range_of(left), range_of(right)
    if sign in "/%" and b.low <= 0:
        raise FaultError(right.place, "the divisor may be 0", "guard it: if d >= 1 { … } else { … }")
    match sign:
        case "+":
            return Interval(a.low + b.low, a.high + b.high)
        case "-":
            return Interval(a.low - b.high, a.high - b.low)
        case "*":
            corners = [x * y for x in a for y in b]
            return Interval(min(corners), max(corners))
        case "/":
            return Interval(a.low // b.high, a.high // b.low)
        case _:
            if a.low == a.high and b.low == b.high:
                return Interval(a.low % b.low, a.low % b.low)
            return a if a.high < b.low else Interval(0, min(a.high, b.high - 1))


def operation(
    place: Place, name: str, type_: Type, interval: Interval | None, *operands: typed.Expr
) -> typed.Operation:
    """Return an operation; its value is known when all operands' are."""
    values = [operand.value for operand in operands if isinstance(operand.value, int)]
    value = None
    if len(values) == len(operands):
        value = evaluate(name, type_.bits if isinstance(type_, UInt) else 1, values)
        interval = Interval(value, value)
    return typed.Operation(place, type_, interval, value, loops_of(*operands), name, operands)


def bitwise(place: Place, sign: str, left: typed.Expr, right: typed.Expr) -> typed.Expr:
    """Check ``& | ^`` on integers or on truth values."""
    name = _NAMES[sign]
    if isinstance(left.type, Bool) and isinstance(right.type, Bool):
        return operation(place, name, left.type, None, left, right)
    left, right = integers(left, right)
    a, b = range_of(left), range_of(right)
    if isinstance(left.type, Literal):
        if a.low < 0 or b.low < 0:
            raise FaultError(place, f"{sign} of a negative number")
        return literal(place, evaluate(name, MAX_LITERAL_BITS, [a.low, b.low]))
    if sign == "&":
        interval = Interval(0, min(a.high, b.high))
    else:
        interval = Interval(0, mask(max(a.high.bit_length(), b.high.bit_length())))
    return operation(place, name, left.type, interval, left, right)


def shift(place: Place, sign: str, left: typed.Expr, right: typed.Expr) -> typed.Expr:
    """Check ``<< >>``; the count may have any integer type, and by the width or more the result is 0."""
    if not isinstance(right.type, UInt | Literal):
        raise FaultError(right.place, f"a shift count is an integer, found {right.type}")
    if isinstance(left.type, Literal) and isinstance(right.value, int):
        assert isinstance(left.value, int)
        if not 0 <= right.value <= MAX_LITERAL_BITS:
            raise FaultError(right.place, f"a shift by {right.value}")
        return literal(place, left.value << right.value if sign == "<<" else left.value >> right.value)
    left, right = settle(left), settle(right)
    if not isinstance(left.type, UInt):
        raise FaultError(left.place, f"this needs integers, found {left.type}", _number_help(left))
    a, b = range_of(left), range_of(right)
    if sign == ">>":
        interval = Interval(a.low >> min(b.high, _FAR), a.high >> min(b.low, _FAR))
    else:
        highest = a.high << min(b.high, 2 * left.type.bits)
        interval = Interval(0, highest) if highest <= left.type.full.high else left.type.full
    return operation(place, "shl" if sign == "<<" else "shr", left.type, interval, left, right)


def comparison(place: Place, sign: str, left: typed.Expr, right: typed.Expr) -> typed.Expr:
    """Check ``== != < <= > >=``; ``>`` and ``>=`` become ``<`` and ``<=`` with the operands exchanged."""
    if sign in {">", ">="}:
        left, right, sign = right, left, {">": "<", ">=": "<="}[sign]
    name = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le"}[sign]
    if isinstance(left.type, Bytes):
        if left.type != right.type:
            raise FaultError(place, f"cannot compare {left.type} with {right.type}")
        return typed.CompareBytes(place, Bool(), None, None, None, name, left, right)
    if isinstance(left.type, Array | Struct) or isinstance(right.type, Array | Struct):
        raise FaultError(
            place, f"cannot compare {left.type} with {right.type}", "compare le_bytes(…) of both"
        )
    if isinstance(left.type, Enum | Bool | Permille) or isinstance(right.type, Enum | Bool | Permille):
        if isinstance(left.type, Permille):
            right = coerce(right, left.type)
        elif isinstance(right.type, Permille):
            left = coerce(left, right.type)
        if left.type != right.type:
            raise FaultError(place, f"cannot compare {left.type} with {right.type}")
        return operation(place, name, Bool(), None, left, right)
    if isinstance(left.type, Real) or isinstance(right.type, Real):
        raise FaultError(place, "real numbers exist while compiling only", "compare u64(…) of both")
    left, right = integers(left, right)
    if isinstance(left.type, Literal):
        left, right = coerce(left, UInt(256)), coerce(right, UInt(256))
    return operation(place, name, Bool(), None, left, right)


def complement(place: Place, operand: typed.Expr, want: Type | None) -> typed.Expr:
    """Check ``~``."""
    operand = settle(operand, want)
    if not isinstance(operand.type, UInt):
        raise FaultError(operand.place, f"~ needs an integer, found {operand.type}", "!x negates a bool")
    interval = range_of(operand)
    full = operand.type.full.high
    return operation(place, "not", operand.type, Interval(full - interval.high, full - interval.low), operand)


def narrowed(expr: typed.Expr, interval: Interval) -> typed.Expr:
    """Return the expression with what else is known about its value."""
    return replace(expr, interval=interval)
