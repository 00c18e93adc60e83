"""CBOR as it stands in the bytes (RFC 8949), read without recursion: every encoding, at any depth.

The ledger takes many encodings of one value: lists and strings of unknown length, numbers longer than they
need be, nesting as deep as a transaction is large. A reader that knows fewer of them than the ledger stops at
a stranger's transaction, or takes it for another one. Here nothing is interpreted beyond RFC 8949.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

from kernels.errors import RainbowError

_INDEFINITE = 31
_BREAK = 0xFF
_EMBEDDED = 24
"""Tag of a byte string that holds an item of its own (RFC 8949, 3.4.5.1): inline datums are such."""


class CborError(RainbowError):
    """Bytes that are not a CBOR item."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "this is not what the ledger has stored")


class Kind(IntEnum):
    """The major types of RFC 8949."""

    UNSIGNED = 0
    NEGATIVE = 1
    BYTES = 2
    TEXT = 3
    ARRAY = 4
    MAP = 5
    TAG = 6
    SIMPLE = 7


class Item:
    """One item: `raw[start:end]` of what it was read from.

    `number` is an integer's value, a tag's or a simple value's number. `content` is all that a string holds.
    `items` are what an array holds, a map's keys and values in turn, a tag's one item, or a string's chunks.
    """

    __slots__ = ("content", "end", "items", "kind", "number", "start")

    def __init__(self, kind: Kind, start: int, end: int, number: int = 0, content: bytes = b"") -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.number = number
        self.content = content
        self.items: list[Item] = []

    @property
    def entries(self) -> Iterator[tuple[Item, Item]]:
        """A map's keys with their values."""
        return zip(self.items[::2], self.items[1::2], strict=True)

    def __repr__(self) -> str:
        # What it holds may be a secret.
        return f"Item({self.kind.name}, {self.start}:{self.end})"


def read(raw: bytes, start: int = 0) -> Item:
    """Return the item that begins at `start`; it may end before the bytes do. Raises `CborError`."""
    position = start
    opened: list[tuple[Item, int | None]] = []
    """What is being read, outermost first, with the number of items that are still to come (None: until a
    break)."""
    while True:
        item, missing, position = _head(raw, position, opened)
        if missing == 0:
            closed: Item | None = item
        else:
            opened.append((item, missing))
            closed = None
        while closed is not None:
            if not opened:
                return closed
            holder, left = opened[-1]
            if closed is not holder:
                holder.items.append(closed)
                left = None if left is None else left - 1
                opened[-1] = holder, left
            if closed is holder or left == 0:
                opened.pop()
                holder.end = position
                closed = holder
            else:
                closed = None


def read_whole(raw: bytes) -> Item:
    """Return the one item that the bytes are. Raises `CborError`, also if anything follows it."""
    item = read(raw)
    if item.end != len(raw):
        raise CborError("something follows the item")
    return item


def inside_array(raw: bytes) -> int:
    """Return where the first item of the array begins that the bytes begin with. Raises `CborError`."""
    array, _, first = _head(raw, 0, [])
    if array.kind is not Kind.ARRAY:
        raise CborError("no array")
    return first


def strings(items: Iterable[Item]) -> Iterator[bytes]:
    """Yield what every string in some items holds, whole and by its chunks, also in items within strings."""
    waiting = list(items)[::-1]
    while waiting:
        item = waiting.pop()
        if item.kind in {Kind.BYTES, Kind.TEXT}:
            yield item.content
        embedded = _embedded(item)
        waiting += reversed(item.items) if embedded is None else [embedded]


def _embedded(item: Item) -> Item | None:
    """Return the item that a tagged string holds; None for any other item, and for a string of anything
    else."""
    if item.kind is not Kind.TAG or item.number != _EMBEDDED or item.items[0].kind is not Kind.BYTES:
        return None
    try:
        return read_whole(item.items[0].content)
    except CborError:
        return None


def _head(raw: bytes, at: int, opened: list[tuple[Item, int | None]]) -> tuple[Item, int | None, int]:
    """Read one item's head, with what a string of known length holds. Return it, how many items are to come
    in it, and where the next head begins. A break returns the item that it closes."""
    if at >= len(raw):
        raise CborError("it ends too early")
    first = raw[at]
    if first == _BREAK:
        return _break(opened, at)
    kind, short = Kind(first >> 5), first & 31
    holder = opened[-1][0] if opened else None
    in_string = holder is not None and holder.kind in {Kind.BYTES, Kind.TEXT}
    if in_string and (holder is None or kind is not holder.kind or short == _INDEFINITE):
        raise CborError("a string's chunk is not a string of its kind")
    if short == _INDEFINITE:
        if kind not in {Kind.BYTES, Kind.TEXT, Kind.ARRAY, Kind.MAP}:
            raise CborError("something that cannot have an unknown length has one")
        return Item(kind, at, at + 1), None, at + 1
    number, after = _argument(raw, at, short)
    if kind in {Kind.BYTES, Kind.TEXT}:
        end = after + number
        if end > len(raw):
            raise CborError("a string ends too early")
        return Item(kind, at, end, content=raw[after:end]), 0, end
    if kind is Kind.NEGATIVE:
        number = -1 - number
    missing = {Kind.ARRAY: number, Kind.MAP: 2 * number, Kind.TAG: 1}.get(kind, 0)
    return Item(kind, at, after, number if kind not in {Kind.ARRAY, Kind.MAP} else 0), missing, after


def _argument(raw: bytes, at: int, short: int) -> tuple[int, int]:
    """Return the number in a head and where it ends."""
    if short < 24:
        return short, at + 1
    if short > 27:
        raise CborError("a head of an unknown form")
    end = at + 1 + (1 << (short - 24))
    if end > len(raw):
        raise CborError("it ends too early")
    return int.from_bytes(raw[at + 1 : end], "big"), end


def _break(opened: list[tuple[Item, int | None]], at: int) -> tuple[Item, int | None, int]:
    if not opened or opened[-1][1] is not None:
        raise CborError("a break where nothing of unknown length is open")
    holder = opened[-1][0]
    if holder.kind is Kind.MAP and len(holder.items) % 2:
        raise CborError("a map's key has no value")
    if holder.kind in {Kind.BYTES, Kind.TEXT}:
        holder.content = b"".join(chunk.content for chunk in holder.items)
    return holder, 0, at + 1
