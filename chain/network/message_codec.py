"""The bytes of messages, and what a decoder refuses.

Every decoder is total: it returns a message or raises `MalformedMessageError`, whatever the bytes are. Counts
are checked against the frame's length, never trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import msgspec

from chain.network.codec import (
    MAX_TRANSACTIONS,
    WIRE_HEADER_BYTES,
    WIRE_TRANSACTION_BYTES,
    Block,
    Header,
    WtxId,
)
from chain.network.errors import MalformedMessageError
from chain.network.messages import (
    ADDRESS_ENTRY_BYTES,
    CAPS,
    COMPACT_KEY_BYTES,
    MAX_ADDRESSES,
    MAX_GET_BLOCKS,
    MAX_GET_TRANSACTIONS,
    MAX_HEADERS,
    MAX_INVENTORY,
    MAX_LOCATOR,
    MAX_NOT_FOUND,
    MAX_PREFILLED,
    SHORT_ID_BYTES,
    AddressEntry,
    Addresses,
    BlockMessage,
    BlockTransactions,
    Bye,
    CompactBlock,
    FeeFilter,
    GetAddresses,
    GetBlocks,
    GetBlockTransactions,
    GetHeaders,
    GetTransactions,
    Headers,
    Hello,
    Inventory,
    Message,
    NotFound,
    Ping,
    Pong,
    Ready,
    SendCompact,
    Transactions,
    Type,
)
from chain.network.peer_address import ADDRESS_BYTES, Net, PeerAddress
from chain.rules.errors import RuleBrokenError
from chain.rules.params import MAX_AMOUNT
from chain.rules.types import BlockId

_ADDRESS = struct.Struct("<IQB32sH")


class Cursor:
    """Reads a payload from the front; every read checks what is left."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises `MalformedMessageError`."""
        end = self._at + size
        if end > len(self._data):
            raise MalformedMessageError("the message is cut off")
        piece, self._at = self._data[self._at : end], end
        return piece

    def uint(self, size: int) -> int:
        """Return the next little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def count(self, size: int, most: int) -> int:
        """Return a count. Raises `MalformedMessageError` above `most`."""
        found = self.uint(size)
        if found > most:
            raise MalformedMessageError(f"a count of {found}, at most {most} are allowed")
        return found

    def rows(self, count: int, width: int) -> list[bytes]:
        """Return `count` pieces of `width` bytes."""
        data = self.take(count * width)
        return [data[i : i + width] for i in range(0, len(data), width)]

    def end(self) -> None:
        """Raise `MalformedMessageError` if bytes are left."""
        if self._at != len(self._data):
            raise MalformedMessageError("bytes are left at the end of the message")


_HELLO = msgspec.msgpack.Decoder(Hello)
_U64 = 2**64


def _hello(data: bytes) -> Hello:
    try:
        hello = _HELLO.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MalformedMessageError(f"a hello that cannot be read: {error}") from None
    numbers = (
        (hello.protocol, 2**16),
        (hello.services, _U64),
        (hello.nonce, _U64),
        (hello.height, 2**32),
        (hello.time, _U64),
        (hello.port, 2**16),
    )
    if any(not 0 <= value < limit for value, limit in numbers):
        raise MalformedMessageError("a number in a hello is out of range")
    if len(hello.genesis) != 32 or len(hello.work) != 32 or len(hello.agent.encode()) > 64:
        raise MalformedMessageError("a field of a hello has the wrong length")
    return hello


def _addresses(data: bytes) -> Addresses:
    cursor = Cursor(data)
    entries = []
    for row in cursor.rows(cursor.count(2, MAX_ADDRESSES), _ADDRESS.size):
        time, services, net, raw, port = _ADDRESS.unpack(row)
        if net not in set(Net):
            continue  # a kind of network that this version does not know
        width = ADDRESS_BYTES[Net(net)]
        if any(raw[width:]):
            raise MalformedMessageError("an address has bytes beyond its length")
        entries.append(AddressEntry(time, services, PeerAddress(Net(net), raw[:width], port)))
    cursor.end()
    return Addresses(tuple(entries))


def _get_headers(data: bytes) -> GetHeaders:
    cursor = Cursor(data)
    ids = cursor.rows(cursor.count(1, MAX_LOCATOR), 32)
    stop = BlockId(cursor.take(32))
    cursor.end()
    return GetHeaders(tuple(BlockId(row) for row in ids), stop)


def _headers(data: bytes) -> Headers:
    cursor = Cursor(data)
    rows = cursor.rows(cursor.count(2, MAX_HEADERS), WIRE_HEADER_BYTES)
    cursor.end()
    return Headers(tuple(Header.decode(row) for row in rows))


def _ids(data: bytes, size: int, most: int) -> tuple[bytes, ...]:
    cursor = Cursor(data)
    rows = cursor.rows(cursor.count(size, most), 32)
    cursor.end()
    if len(set(rows)) != len(rows) or not rows:
        raise MalformedMessageError("a list of ids is empty or names one twice")
    return tuple(rows)


def _block(data: bytes) -> BlockMessage:
    try:
        return BlockMessage(Block.decode(data))
    except RuleBrokenError as error:
        raise MalformedMessageError(f"a block that cannot be read: {error}") from None


def _not_found(data: bytes) -> NotFound:
    if not data:
        raise MalformedMessageError("the message is cut off")
    return NotFound(data[0], _ids(data[1:], 2, MAX_NOT_FOUND))


def _send_compact(data: bytes) -> SendCompact:
    if data not in (b"\x00", b"\x01"):
        raise MalformedMessageError("a mode of compact blocks that does not exist")
    return SendCompact(data == b"\x01")


def _compact(data: bytes) -> CompactBlock:
    cursor = Cursor(data)
    header = Header.decode(cursor.take(WIRE_HEADER_BYTES))
    key = cursor.take(COMPACT_KEY_BYTES)
    short_ids = cursor.rows(cursor.count(2, MAX_TRANSACTIONS), SHORT_ID_BYTES)
    prefilled: list[tuple[int, bytes]] = []
    count = cursor.count(2, MAX_PREFILLED)
    total = len(short_ids) + count
    for _ in range(count):
        index = cursor.uint(2)
        if index >= total or (prefilled and index <= prefilled[-1][0]):
            raise MalformedMessageError("prefilled transactions are not in order, or beyond the block")
        prefilled.append((index, cursor.take(WIRE_TRANSACTION_BYTES)))
    cursor.end()
    if total > MAX_TRANSACTIONS or not prefilled or prefilled[0][0] != 0:
        raise MalformedMessageError("a compact block has its coinbase prefilled, and fits a block")
    return CompactBlock(header, key, tuple(short_ids), tuple(prefilled))


def _get_block_transactions(data: bytes) -> GetBlockTransactions:
    cursor = Cursor(data)
    block_id = BlockId(cursor.take(32))
    rows = cursor.rows(cursor.count(2, MAX_TRANSACTIONS), 2)
    cursor.end()
    indexes = tuple(int.from_bytes(row, "little") for row in rows)
    if not indexes or any(a >= b for a, b in pairwise(indexes)):
        raise MalformedMessageError("indexes rise, and there is at least one")
    if indexes[-1] >= MAX_TRANSACTIONS:
        raise MalformedMessageError("an index is beyond every block")
    return GetBlockTransactions(block_id, indexes)


def _block_transactions(data: bytes) -> BlockTransactions:
    cursor = Cursor(data)
    block_id = BlockId(cursor.take(32))
    raws = cursor.rows(cursor.count(2, MAX_TRANSACTIONS), WIRE_TRANSACTION_BYTES)
    cursor.end()
    return BlockTransactions(block_id, tuple(raws))


def _transactions(data: bytes) -> Transactions:
    cursor = Cursor(data)
    raws = cursor.rows(cursor.count(1, MAX_GET_TRANSACTIONS), WIRE_TRANSACTION_BYTES)
    cursor.end()
    return Transactions(tuple(raws))


def _u64(data: bytes) -> int:
    if len(data) != 8:
        raise MalformedMessageError("eight bytes are expected")
    return int.from_bytes(data, "little")


def _fee_filter(data: bytes) -> FeeFilter:
    fee = _u64(data)
    if fee > MAX_AMOUNT:
        raise MalformedMessageError("a fee above all amounts")
    return FeeFilter(fee)


def _bye(data: bytes) -> Bye:
    if not data:
        raise MalformedMessageError("the message is cut off")
    return Bye(data[0], data[1:].decode("utf-8", "replace"))


def _nothing(message: Ready | GetAddresses) -> Callable[[bytes], Message]:
    def decode_empty(data: bytes) -> Message:
        if data:
            raise MalformedMessageError("a message without content has some")
        return message

    return decode_empty


_DECODERS: dict[int, Callable[[bytes], Message]] = {
    Type.HELLO: _hello,
    Type.READY: _nothing(Ready()),
    Type.PING: lambda data: Ping(_u64(data)),
    Type.PONG: lambda data: Pong(_u64(data)),
    Type.GET_ADDRESSES: _nothing(GetAddresses()),
    Type.ADDRESSES: _addresses,
    Type.GET_HEADERS: _get_headers,
    Type.HEADERS: _headers,
    Type.GET_BLOCKS: lambda data: GetBlocks(tuple(map(BlockId, _ids(data, 1, MAX_GET_BLOCKS)))),
    Type.BLOCK: _block,
    Type.NOT_FOUND: _not_found,
    Type.SEND_COMPACT: _send_compact,
    Type.COMPACT_BLOCK: _compact,
    Type.GET_BLOCK_TRANSACTIONS: _get_block_transactions,
    Type.BLOCK_TRANSACTIONS: _block_transactions,
    Type.INVENTORY: lambda data: Inventory(tuple(map(WtxId, _ids(data, 2, MAX_INVENTORY)))),
    Type.GET_TRANSACTIONS: lambda data: GetTransactions(
        tuple(map(WtxId, _ids(data, 2, MAX_GET_TRANSACTIONS)))
    ),
    Type.TRANSACTIONS: _transactions,
    Type.FEE_FILTER: _fee_filter,
    Type.BYE: _bye,
}


def decode_message(frame_type: int, payload: bytes) -> Message | None:
    """Read a message; None for a type that this version does not know. Raises `MalformedMessageError`."""
    decoder = _DECODERS.get(frame_type)
    if decoder is None:
        return None
    if len(payload) > CAPS[frame_type]:
        raise MalformedMessageError("the message is longer than its type allows")
    return decoder(payload)


def _u(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def _list(size: int, rows: tuple[bytes, ...]) -> bytes:
    return _u(len(rows), size) + b"".join(rows)


def encode_message(message: Message) -> tuple[Type, bytes]:
    """Return a message's type and payload."""
    match message:
        case Hello():
            return Type.HELLO, msgspec.msgpack.encode(message)
        case Ready():
            return Type.READY, b""
        case Ping(nonce):
            return Type.PING, _u(nonce, 8)
        case Pong(nonce):
            return Type.PONG, _u(nonce, 8)
        case GetAddresses():
            return Type.GET_ADDRESSES, b""
        case Addresses(entries):
            rows = [
                _ADDRESS.pack(e.time, e.services, e.address.net, e.address.raw, e.address.port)
                for e in entries
            ]
            return Type.ADDRESSES, _list(2, tuple(rows))
        case GetHeaders(locator, stop):
            return Type.GET_HEADERS, _list(1, locator) + stop
        case Headers(headers):
            return Type.HEADERS, _list(2, tuple(header.encode() for header in headers))
        case GetBlocks(ids):
            return Type.GET_BLOCKS, _list(1, ids)
        case BlockMessage(block):
            return Type.BLOCK, block.encode()
        case NotFound(kind, missing):
            return Type.NOT_FOUND, _u(kind, 1) + _list(2, missing)
        case SendCompact(enabled):
            return Type.SEND_COMPACT, bytes([enabled])
        case CompactBlock(header, key, short_ids, prefilled):
            filled = tuple(_u(index, 2) + raw for index, raw in prefilled)
            return Type.COMPACT_BLOCK, header.encode() + key + _list(2, short_ids) + _list(2, filled)
        case GetBlockTransactions(block_id, indexes):
            return Type.GET_BLOCK_TRANSACTIONS, block_id + _list(2, tuple(_u(index, 2) for index in indexes))
        case BlockTransactions(block_id, raws):
            return Type.BLOCK_TRANSACTIONS, block_id + _list(2, raws)
        case Inventory(wtxids):
            return Type.INVENTORY, _list(2, wtxids)
        case GetTransactions(wtxids):
            return Type.GET_TRANSACTIONS, _list(2, wtxids)
        case Transactions(raws):
            return Type.TRANSACTIONS, _list(1, raws)
        case FeeFilter(fee):
            return Type.FEE_FILTER, _u(fee, 8)
        case Bye(code, text):
            return Type.BYE, bytes([code]) + text.encode()[:64]


assert _ADDRESS.size == ADDRESS_ENTRY_BYTES  # noqa: S101
