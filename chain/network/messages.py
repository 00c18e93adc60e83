"""The messages between nodes, as values. docs/zion-p2p-protocol.md describes each one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import msgspec

from chain.network.codec import (
    MAX_TRANSACTIONS,
    WIRE_BLOCK_BYTES,
    WIRE_HEADER_BYTES,
    WIRE_TRANSACTION_BYTES,
    Block,
    Header,
    WtxId,
)
from chain.network.peer_address import PeerAddress
from chain.rules.types import BlockId

MAX_LOCATOR = 32
MAX_HEADERS = 2_000
MAX_GET_BLOCKS = 16
MAX_ADDRESSES = 1_000
MAX_INVENTORY = 1_000
MAX_GET_TRANSACTIONS = 100
MAX_NOT_FOUND = 100
MAX_PREFILLED = 64
SHORT_ID_BYTES = 6
COMPACT_KEY_BYTES = 16
ADDRESS_ENTRY_BYTES = 47


_NO_STOP = BlockId(bytes(32))


class Type(IntEnum):
    """Numbers of the messages. 20 … 23 are kept for snapshots."""

    HELLO = 1
    READY = 2
    PING = 3
    PONG = 4
    GET_ADDRESSES = 5
    ADDRESSES = 6
    GET_HEADERS = 7
    HEADERS = 8
    GET_BLOCKS = 9
    BLOCK = 10
    NOT_FOUND = 11
    SEND_COMPACT = 12
    COMPACT_BLOCK = 13
    GET_BLOCK_TRANSACTIONS = 14
    BLOCK_TRANSACTIONS = 15
    INVENTORY = 16
    GET_TRANSACTIONS = 17
    TRANSACTIONS = 18
    FEE_FILTER = 19
    BYE = 24


CAPS: dict[int, int] = {
    Type.HELLO: 512,
    Type.READY: 0,
    Type.PING: 8,
    Type.PONG: 8,
    Type.GET_ADDRESSES: 0,
    Type.ADDRESSES: 2 + MAX_ADDRESSES * ADDRESS_ENTRY_BYTES,
    Type.GET_HEADERS: 1 + 32 * (MAX_LOCATOR + 1),
    Type.HEADERS: 2 + MAX_HEADERS * WIRE_HEADER_BYTES,
    Type.GET_BLOCKS: 1 + 32 * MAX_GET_BLOCKS,
    Type.BLOCK: WIRE_BLOCK_BYTES,
    Type.NOT_FOUND: 3 + 32 * MAX_NOT_FOUND,
    Type.SEND_COMPACT: 1,
    Type.COMPACT_BLOCK: WIRE_HEADER_BYTES
    + COMPACT_KEY_BYTES
    + 4
    + SHORT_ID_BYTES * MAX_TRANSACTIONS
    + MAX_PREFILLED * (2 + WIRE_TRANSACTION_BYTES),
    Type.GET_BLOCK_TRANSACTIONS: 34 + 2 * MAX_TRANSACTIONS,
    Type.BLOCK_TRANSACTIONS: 34 + WIRE_TRANSACTION_BYTES * MAX_TRANSACTIONS,
    Type.INVENTORY: 2 + 32 * MAX_INVENTORY,
    Type.GET_TRANSACTIONS: 2 + 32 * MAX_GET_TRANSACTIONS,
    Type.TRANSACTIONS: 1 + WIRE_TRANSACTION_BYTES * MAX_GET_TRANSACTIONS,
    Type.FEE_FILTER: 8,
    Type.BYE: 65,
}
"""Most payload bytes of each type: a longer frame ends the connection before it is buffered."""


class Hello(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The first message of each side. `time`: Unix seconds; `work`: 32 bytes, big-endian; `port`: or 0."""

    protocol: int
    genesis: bytes
    services: int
    nonce: int
    height: int
    work: bytes
    time: int
    agent: str
    port: int
    relay: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The hello was accepted."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a `Pong` with the same nonce."""

    nonce: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a `Ping`."""

    nonce: int


@dataclass(frozen=True, slots=True)
class GetAddresses:
    """Asks for addresses of other nodes; answered once."""


@dataclass(frozen=True, slots=True)
class AddressEntry:
    """A node's address, when it was last seen (Unix seconds) and what it offers."""

    time: int
    services: int
    address: PeerAddress


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of nodes."""

    entries: tuple[AddressEntry, ...]


@dataclass(frozen=True, slots=True)
class GetHeaders:
    """Asks for headers after the first known id of `locator`, up to `stop` (zeros: as many as fit)."""

    locator: tuple[BlockId, ...]
    stop: BlockId = _NO_STOP


@dataclass(frozen=True, slots=True)
class Headers:
    """Headers in a row, oldest first: an answer, or an announcement of at most 8."""

    headers: tuple[Header, ...]


@dataclass(frozen=True, slots=True)
class GetBlocks:
    """Asks for blocks; they come in this order."""

    ids: tuple[BlockId, ...]


@dataclass(frozen=True, slots=True)
class BlockMessage:
    """A whole block, only when asked for."""

    block: Block


@dataclass(frozen=True, slots=True)
class NotFound:
    """What was asked for and is not here: `kind` is the type that asked."""

    kind: int
    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SendCompact:
    """Whether new blocks may come as `CompactBlock` without being asked for."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class CompactBlock:
    """A new block as short ids; `prefilled` are (index, raw transaction), rising, the coinbase among them."""

    header: Header
    key: bytes
    short_ids: tuple[bytes, ...]
    prefilled: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class GetBlockTransactions:
    """Asks for transactions of a compact block by rising index."""

    block_id: BlockId
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BlockTransactions:
    """Exactly the transactions asked for."""

    block_id: BlockId
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Transactions that the sender has."""

    wtxids: tuple[WtxId, ...]


@dataclass(frozen=True, slots=True)
class GetTransactions:
    """Asks for announced transactions."""

    wtxids: tuple[WtxId, ...]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Transactions, body ‖ witness each, only when asked for."""

    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class FeeFilter:
    """The least fee (smallest units) of transactions worth announcing to the sender."""

    fee: int


@dataclass(frozen=True, slots=True)
class Bye:
    """Why the sender closes: logged, never acted on."""

    code: int
    text: str


Message = (
    Hello | Ready | Ping | Pong | GetAddresses | Addresses | GetHeaders | Headers | GetBlocks | BlockMessage
    | NotFound | SendCompact | CompactBlock | GetBlockTransactions | BlockTransactions | Inventory
    | GetTransactions | Transactions | FeeFilter | Bye
)  # fmt: skip
