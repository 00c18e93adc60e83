"""Plutus data by its meaning, in every encoding that the ledger takes.

The encodings: plutus-core, `PlutusCore.Data` (`decodeData`), and RFC 8949. A constructor is tag 121…127 for 0
to 6, tag 1280…1400 for 7 to 127, or tag 102 with the list [constructor, fields], which holds any number, the
small ones too. Lists and byte strings come with or without a known length, numbers also as "bignums".
"""

from __future__ import annotations

from relayers.cardano.cbor_items import Item, Kind

_GENERAL = 102
_LOW = range(121, 128)
_HIGH = range(1280, 1401)
_BIG_POSITIVE, _BIG_NEGATIVE = 2, 3


def constructor(item: Item) -> tuple[int, list[Item]] | None:
    """Return a constructor's number and fields; None for anything else."""
    if item.kind is not Kind.TAG:
        return None
    (held,) = item.items
    if item.number == _GENERAL:
        if held.kind is not Kind.ARRAY or len(held.items) != 2:
            return None
        number, held = integer(held.items[0]), held.items[1]
    elif item.number in _LOW:
        number = item.number - _LOW.start
    elif item.number in _HIGH:
        number = item.number - _HIGH.start + len(_LOW)
    else:
        return None
    if number is None or held.kind is not Kind.ARRAY:
        return None
    return number, held.items


def integer(item: Item) -> int | None:
    """Return a number; None for anything else."""
    if item.kind in {Kind.UNSIGNED, Kind.NEGATIVE}:
        return item.number
    if item.kind is Kind.TAG and item.items[0].kind is Kind.BYTES:
        size = int.from_bytes(item.items[0].content, "big")
        if item.number == _BIG_POSITIVE:
            return size
        if item.number == _BIG_NEGATIVE:
            return -1 - size
    return None


def byte_string(item: Item) -> bytes | None:
    """Return what a byte string holds, in one piece; None for anything else."""
    return item.content if item.kind is Kind.BYTES else None
