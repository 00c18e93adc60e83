"""What each core operation means: the one table behind folding and the core interpreter.

Every operation is total. Shifts by the width or more give 0, rotations take their count modulo the width,
x / 0 is all ones and x % 0 is x as on RISC-V (no source program reaches those two; that the core has no
undefined case lets both branches of an `if` be computed). The oracle does not use this table: it has
definitions of its own, so that tests compare two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

BINARY = frozenset({"add", "sub", "mul", "div", "rem", "and", "or", "xor"})
SHIFTS = frozenset({"shl", "shr", "rotl"})
COMPARISONS = frozenset({"eq", "ne", "lt", "le"})
COMMUTATIVE = frozenset({"add", "mul", "and", "or", "xor", "eq", "ne"})

_Rule = Callable[[Sequence[int], int], int]

_RULES: dict[str, _Rule] = {
    "add": lambda a, _: a[0] + a[1],
    "sub": lambda a, _: a[0] - a[1],
    "mul": lambda a, _: a[0] * a[1],
    "div": lambda a, _: a[0] // a[1] if a[1] else -1,
    "rem": lambda a, _: a[0] % a[1] if a[1] else a[0],
    "and": lambda a, _: a[0] & a[1],
    "or": lambda a, _: a[0] | a[1],
    "xor": lambda a, _: a[0] ^ a[1],
    "not": lambda a, _: ~a[0],
    "shl": lambda a, bits: a[0] << a[1] if a[1] < bits else 0,
    "shr": lambda a, bits: a[0] >> a[1] if a[1] < bits else 0,
    "rotl": lambda a, bits: a[0] << a[1] % bits | a[0] >> (bits - a[1] % bits),
    "rotr": lambda a, bits: a[0] >> a[1] % bits | a[0] << (bits - a[1] % bits),
    "eq": lambda a, _: int(a[0] == a[1]),
    "ne": lambda a, _: int(a[0] != a[1]),
    "lt": lambda a, _: int(a[0] < a[1]),
    "le": lambda a, _: int(a[0] <= a[1]),
    "sel": lambda a, _: a[1] if a[0] else a[2],
    "cast": lambda a, _: a[0],
    "bswap": lambda a, bits: int.from_bytes(a[0].to_bytes(bits // 8, "little"), "big"),
}


def mask(bits: int) -> int:
    """Return the largest number of so many bits."""
    return (1 << bits) - 1


def evaluate(operation: str, bits: int, operands: Sequence[int]) -> int:
    """Return the value of an operation whose result has `bits` bits; operands lie in their own widths."""
    return _RULES[operation](operands, bits) & mask(bits)
