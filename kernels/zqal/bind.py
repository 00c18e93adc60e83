"""Values at the border of compiled code: Python values to 64-bit words and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kernels.errors import KernelInputError
from kernels.zqal import oracle, typed
from kernels.zqal.types import Array, Bytes, Struct, Type, Void, size_in_words, storage_bits

Words = Callable[[Sequence[int]], Sequence[int]]
"""Compiled code: words in, words out."""


def to_words(value: Any, type_: Type) -> Iterator[int]:
    """Return the little-endian 64-bit words of a value that fits its type."""
    match type_:
        case Array(element, _):
            for item in value:
                yield from to_words(item, element)
        case Struct(_, fields):
            for item, (_, part) in zip(value, fields, strict=True):
                yield from to_words(item, part)
        case Bytes(length):
            padded = value + bytes(-length % 8)
            yield from (int.from_bytes(padded[i : i + 8], "little") for i in range(0, length, 8))
        case _:
            for position in range(size_in_words(type_)):
                yield value >> 64 * position & (1 << 64) - 1


def from_words(words: Iterator[int], type_: Type) -> Any:
    """Return the value whose words come next."""
    match type_:
        case Array(element, length):
            return [from_words(words, element) for _ in range(length)]
        case Struct(_, fields):
            return [from_words(words, part) for _, part in fields]
        case Bytes(length):
            return b"".join(next(words).to_bytes(8, "little") for _ in range(-(-length // 8)))[:length]
        case _:
            value = 0
            for position in range(size_in_words(type_)):
                value |= next(words) << 64 * position
            return value & (1 << storage_bits(type_)) - 1


def call(function: typed.Function, code: Words, arguments: Sequence[Any]) -> Any:
    """Call compiled code like the oracle: checked arguments, lists passed by reference changed in place.

    Raises KernelInputError for arguments of another number, type or size.
    """
    if len(arguments) != len(function.parameters):
        raise KernelInputError(f"{function.name} takes {len(function.parameters)} arguments")
    words: list[int] = []
    for (slot, _), argument in zip(function.parameters, arguments, strict=True):
        if not oracle.fits(argument, slot.type):
            raise KernelInputError(f"{slot.name} of {function.name} is not a {slot.type}")
        words += to_words(argument, slot.type)
    results = iter(code(words))
    result = None if isinstance(function.result, Void) else from_words(results, function.result)
    for (slot, by_reference), argument in zip(function.parameters, arguments, strict=True):
        if by_reference and isinstance(argument, list):
            argument[:] = from_words(results, slot.type)
    return result
