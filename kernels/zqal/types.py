"""The types of ZQAL, and intervals: what the compiler knows about a number before it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

WIDTHS = (8, 16, 32, 64, 128, 256)


class Interval(NamedTuple):
    """All whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def within(self, other: Interval) -> bool:
        """Tell whether every number of this interval lies in the other."""
        return other.low <= self.low and self.high <= other.high

    def joined(self, other: Interval) -> Interval:
        """Return the smallest interval that holds both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class UInt:
    """An unsigned integer of 8 to 256 bits."""

    bits: int

    def __str__(self) -> str:
        return f"u{self.bits}"

    @property
    def full(self) -> Interval:
        """All values of the type."""
        return Interval(0, (1 << self.bits) - 1)


@dataclass(frozen=True)
class Bool:
    """`true` or `false`; 1 or 0 inside the compiler."""

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class Bytes:
    """A byte string of a fixed length; compared as a big-endian number."""

    length: int

    def __str__(self) -> str:
        return "hash32" if self.length == 32 else f"bytes{self.length}"


@dataclass(frozen=True)
class Array:
    """A fixed number of elements of one type: a value, copied when assigned."""

    element: Type
    length: int

    def __str__(self) -> str:
        return f"[{self.element}; {self.length}]"


@dataclass(frozen=True)
class Enum:
    """One of some names, each with a number below 256."""

    name: str
    variants: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return self.name

    def number(self, variant: str) -> int | None:
        """Return the number of a variant, or None."""
        return dict(self.variants).get(variant)


@dataclass(frozen=True)
class Struct:
    """Named fields in a fixed order: a value, copied when assigned."""

    name: str
    fields: tuple[tuple[str, Type], ...]

    def __str__(self) -> str:
        return self.name

    def position(self, field: str) -> int | None:
        """Return the index of a field, or None."""
        return next((i for i, (name, _) in enumerate(self.fields) if name == field), None)


@dataclass(frozen=True)
class Permille:
    """A multiplier in whole thousandths, 0 … 65,535 of them."""

    def __str__(self) -> str:
        return "permille"


@dataclass(frozen=True)
class Real:
    """An exact rational number that exists while compiling only."""

    def __str__(self) -> str:
        return "real"


@dataclass(frozen=True)
class Literal:
    """A whole number without a type yet: it takes the type of its surroundings."""

    def __str__(self) -> str:
        return "a number"


@dataclass(frozen=True)
class Void:
    """No value."""

    def __str__(self) -> str:
        return "nothing"


@dataclass(frozen=True)
class Unknown:
    """The type of what was refused already: nothing more is said about it."""

    def __str__(self) -> str:
        return "unknown"


Type = UInt | Bool | Bytes | Array | Enum | Struct | Permille | Real | Literal | Void | Unknown

PERMILLE_BITS = 16
ENUM_BITS = 8

BUILT_IN: dict[str, Type] = {
    **{f"u{bits}": UInt(bits) for bits in WIDTHS},
    "bool": Bool(),
    "hash32": Bytes(32),
    "permille": Permille(),
    "real": Real(),
}
"""The named types; ``bytes80`` and its like are read by number."""


def storage_bits(type_: Type) -> int:
    """Return the bits of a scalar type when it is a machine word."""
    match type_:
        case UInt(bits):
            return bits
        case Bool():
            return 1
        case Enum():
            return ENUM_BITS
        case Permille():
            return PERMILLE_BITS
        case _:
            raise AssertionError(f"{type_} is not a scalar")


def size_in_words(type_: Type) -> int:
    """Return how many 64-bit words a value takes at the border of a compiled function."""
    match type_:
        case Array(element, length):
            return size_in_words(element) * length
        case Struct(_, fields):
            return sum(size_in_words(field) for _, field in fields)
        case Bytes(length):
            return -(-length // 8)
        case _:
            return -(-storage_bits(type_) // 64)
