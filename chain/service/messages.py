"""Values of the RPC, the same for node and client.

In JSON, ids, hashes and keys are lower-case hex, addresses "zion1…", amounts decimal strings in smallest
units (they exceed what JavaScript's numbers hold); heights, times and nonces of accounts are numbers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class TransactionPlace(StrEnum):
    """Where a transaction is."""

    UNKNOWN = "unknown"
    MEMPOOL = "mempool"
    INCLUDED = "included"


class FinalityView(msgspec.Struct, frozen=True):
    """From `amount` on, wait for `depth` confirmations (1 = in the head)."""

    amount: int
    depth: int


class NodeInfo(msgspec.Struct, frozen=True):
    """The node and its head. `median_time` is what deadlines are compared with, `chain_time` the clock.

    `problems`: what does not work now, one sentence each.
    """

    network: str
    chain_id: int
    genesis_id: str
    height: int
    best_id: str
    median_time: int
    chain_time: int
    work: str
    target: str
    issued: int
    locked: int
    mempool_size: int
    mining: bool
    hash_rate: float
    finality: tuple[FinalityView, ...]
    problems: tuple[str, ...] = ()


class PeerView(msgspec.Struct, frozen=True):
    """A connection to another node. `latency`: seconds, None until measured; `height`: as it said first."""

    address: str
    kind: str
    ready: bool
    agent: str
    height: int
    latency: float | None
    blocks_given: int


class NetworkView(msgspec.Struct, frozen=True):
    """The node's part in the network. `best_height` is that of the heaviest header, `blocks_left` what is
    between it and the head. `key` pins this node: KEY@host:port."""

    enabled: bool
    listening: tuple[str, ...] = ()
    key: str = ""
    peers: tuple[PeerView, ...] = ()
    height: int = 0
    best_height: int = 0
    blocks_left: int = 0
    known_addresses: int = 0


class TransactionView(msgspec.Struct, frozen=True):
    """A decoded transaction: `preimage` in claims, `lock_id` in all HTLC kinds. `raw` is body ‖ witness."""

    txid: str
    kind: str
    chain_id: int
    nonce: int
    amount: int
    fee: int
    sender: str | None
    recipient: str | None
    hash: str
    deadline: int
    lock_id: str | None
    preimage: str | None
    consented: bool
    public_key: str
    signature: str
    raw: str


class HeaderView(msgspec.Struct, frozen=True):
    """A header. `confirmations` is 0 off the main chain, 1 in the head."""

    id: str
    height: int
    previous: str
    merkle_root: str
    time: int
    target: str
    nonce: str
    version: int
    transactions: int
    confirmations: int
    main_chain: bool
    raw: str


class BlockView(msgspec.Struct, frozen=True):
    """A block with its decoded transactions, coinbase first. `median_time` is the clock after it."""

    header: HeaderView
    miner: str
    median_time: int
    transactions: tuple[TransactionView, ...]


class TransactionStatus(msgspec.Struct, frozen=True):
    """Where a transaction is, and its content when it is known."""

    txid: str
    status: TransactionPlace
    block_id: str | None = None
    height: int | None = None
    index: int | None = None
    confirmations: int = 0
    transaction: TransactionView | None = None


class AccountView(msgspec.Struct, frozen=True):
    """An account. `nonce` counts transactions in blocks, `pending_nonce` waiting ones too."""

    address: str
    balance: int
    nonce: int
    pending_nonce: int
    blocks_mined: int
    anchors_carried: int
    level: str
    per_mille: int


class LockView(msgspec.Struct, frozen=True):
    """A lock on the main chain: terms, state, and, once spent, who spent it and how.

    `pending_spend` is a waiting transaction that would spend it.
    """

    lock_id: str
    state: str
    sender: str
    recipient: str
    amount: int
    hashlock: str
    deadline: int
    lock_txid: str
    lock_height: int
    lock_block_id: str
    lock_confirmations: int
    spent_by: str | None
    spent_txid: str | None
    spent_height: int | None
    spent_block_id: str | None
    spent_confirmations: int
    preimage: str | None
    cooperative: bool
    pending_spend: str | None


class Submitted(msgspec.Struct, frozen=True):
    """The answer to a submission. `known`: it was waiting or in a block already, and nothing changed.

    `queued`: an earlier nonce of its sender is missing; until that comes it waits apart, for three hours.
    """

    txid: str
    known: bool
    replaced: tuple[str, ...] = ()
    queued: bool = False


class FeeView(msgspec.Struct, frozen=True):
    """Fees in smallest units: `minimum` gets a transaction accepted, `next_block` into the next block."""

    minimum: int
    next_block: int


class MempoolView(msgspec.Struct, frozen=True):
    """The waiting transactions, highest fee first, as many as asked for."""

    size: int
    transactions: tuple[TransactionView, ...]


class BlockTemplate(msgspec.Struct, frozen=True):
    """A block to mine: scan nonces over `header` for a work hash ≤ `target`, then submitBlock(`block` with
    the nonce at bytes 80–87)."""

    block: str
    header: str
    target: str
    height: int
    previous: str
    transactions: int


class BlockSubmitted(msgspec.Struct, frozen=True):
    """The answer to submitBlock. `best`: the block is now the head."""

    id: str
    known: bool
    best: bool


class BlockRefView(msgspec.Struct, frozen=True):
    """Id and height."""

    id: str
    height: int


class NewBlock(msgspec.Struct, frozen=True):
    """Pushed when the head changes; `orphaned` (newest first) is not empty after a reorg."""

    best: BlockRefView
    connected: tuple[BlockRefView, ...]
    orphaned: tuple[BlockRefView, ...]
    median_time: int
    common_height: int


class Mined(msgspec.Struct, frozen=True):
    """Blocks made by a dev command."""

    ids: tuple[str, ...]
    height: int


class ClockView(msgspec.Struct, frozen=True):
    """The dev clock after a change, and the blocks that were made to settle it."""

    chain_time: int
    median_time: int
    mined: tuple[str, ...]


class DevReorg(msgspec.Struct, frozen=True):
    """What dev_reorg did. `left_out`: transactions that no longer fitted beside those to be dropped."""

    fork_height: int
    orphaned: tuple[str, ...]
    connected: tuple[str, ...]
    dropped: tuple[str, ...]
    left_out: tuple[str, ...]


_AMOUNTS = frozenset(
    {"amount", "fee", "balance", "issued", "locked", "minimum", "next_block", "tree_size", "work"}
)


def to_wire(value: Any) -> Any:
    """Return a struct as JSON values, amounts as strings."""
    return _stringify(msgspec.to_builtins(value))


def from_wire(value: Any, kind: type[T]) -> T:
    """Read JSON values into a struct, amounts from strings. Raises `msgspec.ValidationError`."""
    return msgspec.convert(value, kind, strict=False)


def _stringify(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: str(item) if key in _AMOUNTS and isinstance(item, int) else _stringify(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_stringify(item) for item in value]
    return value
