"""Byte strings in the core: little-endian 64-bit words, zeros behind the last byte."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.zqal.core import Builder, Value, constant
from kernels.zqal.semantics import mask


@dataclass(frozen=True)
class Words:
    """So many bytes in ⌈length / 8⌉ words."""

    length: int
    words: tuple[Value, ...]


def constant_words(data: bytes) -> Words:
    """Return a byte string known while compiling."""
    padded = data + bytes(-len(data) % 8)
    starts = range(0, len(padded), 8)
    return Words(len(data), tuple(constant(int.from_bytes(padded[i : i + 8], "little"), 64) for i in starts))


def word_at(builder: Builder, data: Words, start: int) -> Value:
    """Return the 64 bits from a byte on; zeros behind the end."""
    number, offset = divmod(start, 8)

    def word(index: int) -> Value:
        return data.words[index] if index < len(data.words) else constant(0, 64)

    if not offset:
        return word(number)
    low = builder.emit("shr", 64, word(number), constant(8 * offset, 32))
    high = builder.emit("shl", 64, word(number + 1), constant(64 - 8 * offset, 32))
    return builder.emit("or", 64, low, high)


def part(builder: Builder, data: Words, start: int, length: int) -> Words:
    """Return `length` bytes from `start` on."""
    words = [word_at(builder, data, start + 8 * i) for i in range(-(-length // 8))]
    if length % 8 and start + length < data.length:
        words[-1] = builder.emit("and", 64, words[-1], constant(mask(8 * (length % 8)), 64))
    return Words(length, tuple(words))


def join(builder: Builder, left: Words, right: Words) -> Words:
    """Return two byte strings, one behind the other."""
    length = left.length + right.length
    if left.length % 8 == 0:
        return Words(length, left.words + right.words)
    shift = 8 * (left.length % 8)
    words = list(left.words)
    for word in right.words:
        low = builder.emit("shl", 64, word, constant(shift, 32))
        words[-1] = builder.emit("or", 64, words[-1], low)
        words.append(builder.emit("shr", 64, word, constant(64 - shift, 32)))
    return Words(length, tuple(words[: -(-length // 8)]))


def with_byte(builder: Builder, data: Words, position: int, byte: Value) -> Words:
    """Return a byte string with another byte at a position."""
    number, offset = divmod(position, 8)
    hole = builder.emit("and", 64, data.words[number], constant(~(255 << 8 * offset), 64))
    moved = builder.emit("shl", 64, builder.emit("cast", 64, byte), constant(8 * offset, 32))
    words = list(data.words)
    words[number] = builder.emit("or", 64, hole, moved)
    return Words(data.length, tuple(words))


def number(builder: Builder, data: Words, start: int, bits: int, order: str) -> Value:
    """Return the number of so many bits from a byte on."""
    if bits <= 64:
        word = builder.emit("cast", bits, word_at(builder, data, start))
        return builder.emit("bswap", bits, word) if order == "big" and bits > 8 else word
    limbs = [word_at(builder, data, start + 8 * i) for i in range(bits // 64)]
    if order == "big":
        limbs = [builder.emit("bswap", 64, limb) for limb in reversed(limbs)]
    total = builder.emit("cast", bits, limbs[0])
    for position, limb in enumerate(limbs[1:], 1):
        moved = builder.emit("shl", bits, builder.emit("cast", bits, limb), constant(64 * position, 32))
        total = builder.emit("or", bits, total, moved)
    return total


def of_number(builder: Builder, value: Value, order: str) -> Words:
    """Return the bytes of a number."""
    length = value.bits // 8
    if value.bits <= 64:
        if order == "big" and value.bits > 8:
            value = builder.emit("bswap", value.bits, value)
        return Words(length, (builder.emit("cast", 64, value),))
    limbs = []
    for position in range(value.bits // 64):
        moved = builder.emit("shr", value.bits, value, constant(64 * position, 32))
        limbs.append(builder.emit("cast", 64, moved))
    if order == "big":
        limbs = [builder.emit("bswap", 64, limb) for limb in reversed(limbs)]
    return Words(length, tuple(limbs))


def compared(builder: Builder, name: str, left: Words, right: Words) -> Value:
    """Return whether two byte strings of one length are eq, ne, lt or le as big-endian numbers."""
    equals = [builder.emit("eq", 1, a, b) for a, b in zip(left.words, right.words, strict=True)]
    if name in {"eq", "ne"}:
        result = constant(1, 1)
        for equal in equals:
            result = builder.emit("and", 1, result, equal)
        return result if name == "eq" else builder.emit("not", 1, result)
    result = constant(int(name == "le"), 1)
    for a, b, equal in reversed(list(zip(left.words, right.words, equals, strict=True))):
        below = builder.emit("lt", 1, builder.emit("bswap", 64, a), builder.emit("bswap", 64, b))
        result = builder.emit("sel", 1, equal, result, below)
    return result
