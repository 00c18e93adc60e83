"""What happens to the core, and what it wants done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NewType

from chain.network.codec import Block
from chain.network.ledger import BlockVerdict, TransactionVerdict
from chain.network.messages import Message
from chain.network.peer_address import PeerAddress

PeerId = NewType("PeerId", int)
"""A connection's number, given by the driver, never used twice."""


class Kind(Enum):
    """Why a connection exists."""

    INBOUND = "inbound"
    FULL = "full"
    BLOCKS_ONLY = "blocks_only"
    """Relays no transactions: links that nobody can map by watching transactions."""
    FEELER = "feeler"
    """Tries an address, then closes."""
    MANUAL = "manual"
    """Named by the operator; always kept."""


class Fault(StrEnum):
    """Why a peer was left. Those in `PROVEN` discourage its address for a day."""

    BAD_FRAME = "bad_frame"
    MALFORMED = "malformed_message"
    OUT_OF_PLACE = "message_out_of_place"
    BAD_HEADERS = "bad_headers"
    BAD_WORK = "bad_work"
    BAD_BLOCK = "bad_block"
    BAD_TRANSACTION = "bad_transaction"
    BAD_PRESYNC = "headers_differ_from_presync"
    UNASKED = "unasked_block"
    UNCONNECTED = "headers_do_not_connect"
    OVER_BUDGET = "over_budget"
    STALLING = "stalling"
    NO_HEADERS = "no_headers"
    BEHIND = "behind"
    SILENT = "silent"
    SLOW_READER = "slow_reader"
    NO_HELLO = "no_hello"
    OTHER_NETWORK = "other_network"
    OLD_PROTOCOL = "old_protocol"
    SELF = "self"
    DISCOURAGED = "discouraged"
    FULL = "full"
    EVICTED = "evicted"
    DONE = "done"


PROVEN = frozenset(
    {
        Fault.BAD_FRAME,
        Fault.MALFORMED,
        Fault.OUT_OF_PLACE,
        Fault.BAD_HEADERS,
        Fault.BAD_WORK,
        Fault.BAD_BLOCK,
        Fault.BAD_TRANSACTION,
        Fault.BAD_PRESYNC,
        Fault.UNASKED,
    }
)
"""Faults that no honest node can commit, however slow, new or badly connected it is."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection is open. `address` is where it goes, or comes from (its port means nothing then)."""

    peer: PeerId
    address: PeerAddress
    kind: Kind


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A connection could not be opened."""

    address: PeerAddress
    kind: Kind


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection is closed. `fault`: what the driver found, if it closed it."""

    peer: PeerId
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """A frame came, whole."""

    peer: PeerId
    type: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Drained:
    """What was sent to a peer has left, mostly: more can be served."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class BlockChecked:
    """The chain's answer to `CheckBlock`."""

    peer: PeerId
    block: Block
    verdict: BlockVerdict


@dataclass(frozen=True, slots=True)
class TransactionsChecked:
    """The mempool's answers to `CheckTransactions`, in order."""

    peer: PeerId
    raws: tuple[bytes, ...]
    verdicts: tuple[TransactionVerdict, ...]


@dataclass(frozen=True, slots=True)
class TipMoved:
    """The chain has a new head that did not come through this core: mined, or given by RPC."""


@dataclass(frozen=True, slots=True)
class OwnTransaction:
    """The mempool took a transaction that did not come from a peer."""

    raw: bytes
    fee: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; comes every `TICK_SECONDS`."""


Event = (
    Connected | DialFailed | Disconnected | Received | Drained | BlockChecked | TransactionsChecked | TipMoved
    | OwnTransaction | Tick
)  # fmt: skip

TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a peer."""

    peer: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class Drop:
    """Close a connection. The core has forgotten the peer already."""

    peer: PeerId
    fault: Fault


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection; `Connected` or `DialFailed` follows."""

    address: PeerAddress
    kind: Kind


@dataclass(frozen=True, slots=True)
class CheckBlock:
    """Ask the chain for a verdict on a block."""

    peer: PeerId
    block: Block


@dataclass(frozen=True, slots=True)
class CheckTransactions:
    """Ask the mempool for verdicts."""

    peer: PeerId
    raws: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AwaitDrain:
    """Say `Drained` when the peer's outgoing queue has room."""

    peer: PeerId


Effect = Send | Drop | Dial | CheckBlock | CheckTransactions | AwaitDrain
