"""Values in all the encodings that RFC 8949 and the ledger have for them, chosen by a seeded hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tagged:
    number: int
    value: Any


@dataclass(frozen=True)
class Pairs:
    """A map with its keys in this order, twice if they stand here twice."""

    entries: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Constr:
    """A constructor of Plutus data."""

    number: int
    fields: tuple[Any, ...]


@dataclass(frozen=True)
class Written:
    """Something that is encoded already."""

    raw: bytes


ALL_FORMS = ("heads", "arrays", "maps", "pairs")


class Writer:
    """Encodes values; `oddness` is the chance that a part is not written in the shortest way, `forms` which
    other ways there are: longer "heads", and of unknown length "arrays", "maps" and the general constructor's
    "pairs"."""

    def __init__(self, rng: random.Random, oddness: float, forms: Sequence[str] = ALL_FORMS) -> None:
        self._rng = rng
        self._oddness = oddness
        self._forms = forms

    def odd(self) -> bool:
        return self._rng.random() < self._oddness

    def head(self, kind: int, number: int, *, longer: bool = True) -> bytes:
        sizes = [size for size in (0, 1, 2, 4, 8) if number < (24 if size == 0 else 256**size)]
        size = self._rng.choice(sizes) if longer and "heads" in self._forms and self.odd() else sizes[0]
        if size == 0:
            return bytes([kind << 5 | number])
        return bytes([kind << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[size]]) + number.to_bytes(size, "big")

    def data(self, value: Any) -> bytes:
        """Plutus data: lists, maps, numbers and strings in their other forms too."""
        match value:
            case Written(raw):
                return raw
            case Constr(number, fields):
                listed = self.array([self.data(field) for field in fields])
                if number <= 6 and not self.odd():
                    return self.head(6, 121 + number) + listed
                if 7 <= number < 128 and not self.odd():
                    return self.head(6, 1273 + number) + listed
                whole = [self.head(0, number), listed]
                if "pairs" in self._forms:
                    return self.head(6, 102) + self.array(whole)
                return self.head(6, 102) + self.head(4, 2) + b"".join(whole)
            case bool():
                raise TypeError("Plutus data has no truth values")
            case int():
                return self.integer(value)
            case bytes():
                return self.byte_string(value)
            case list():
                return self.array([self.data(item) for item in value])
            case Pairs(entries):
                return self.pairs([(self.data(key), self.data(item)) for key, item in entries])
        raise TypeError(type(value).__name__)

    def plain(self, value: Any) -> bytes:
        """Anything else of a transaction: strings in one piece."""
        match value:
            case Written(raw):
                return raw
            case bool():
                return b"\xf5" if value else b"\xf4"
            case None:
                return b"\xf6"
            case int():
                return self.head(0, value) if value >= 0 else self.head(1, -1 - value)
            case bytes():
                return self.head(2, len(value)) + value
            case str():
                return self.head(3, len(value.encode())) + value.encode()
            case list() | tuple():
                return self.array([self.plain(item) for item in value])
            case Pairs(entries):
                return self.pairs([(self.plain(key), self.plain(item)) for key, item in entries])
            case Tagged(number, held):
                return self.head(6, number) + self.plain(held)
        raise TypeError(type(value).__name__)

    def array(self, items: Sequence[bytes]) -> bytes:
        if "arrays" in self._forms and self.odd():
            return b"\x9f" + b"".join(items) + b"\xff"
        return self.head(4, len(items)) + b"".join(items)

    def pairs(self, items: Sequence[tuple[bytes, bytes]]) -> bytes:
        body = b"".join(key + value for key, value in items)
        if "maps" in self._forms and self.odd():
            return b"\xbf" + body + b"\xff"
        return self.head(5, len(items)) + body

    def integer(self, value: int) -> bytes:
        size = -1 - value if value < 0 else value
        if size >= 2**64 or self.odd():
            zeros = bytes(self._rng.choice((0, 0, 1, 7))) if self.odd() else b""
            raw = zeros + size.to_bytes((size.bit_length() + 7) // 8, "big")
            return self.head(6, 3 if value < 0 else 2, longer=False) + self.byte_string(raw)
        return self.head(1 if value < 0 else 0, size)

    def byte_string(self, value: bytes) -> bytes:
        if len(value) <= 64 and not self.odd():
            return self.head(2, len(value)) + value
        parts = []
        left = value
        while left:
            size = self._rng.randint(0 if self.odd() else 1, 64)
            parts.append(self.head(2, len(left[:size])) + left[:size])
            left = left[size:]
        return b"\x5f" + b"".join(parts) + b"\xff"


def deep(levels: int, opening: bytes, innermost: bytes) -> bytes:
    """Return something nested `levels` deep."""
    return opening * levels + innermost
