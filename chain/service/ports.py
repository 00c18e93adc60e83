"""What the service needs of a node: the node is built above it and handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chain.consensus.chain import Chain, ChainChange
from chain.mempool.pool import Added, Mempool
from chain.rules.block import Block
from chain.rules.params import NetworkParams
from chain.rules.records import Transaction
from chain.rules.types import BlockId, KeyHash, TxId
from chain.service.messages import NetworkView, NewBlock, TransactionView
from chain.service.queries import Queries

Event = NewBlock | TransactionView
"""What a node pushes to its subscribers."""


class Clock(Protocol):
    """The node's clock."""

    def now(self) -> int:
        """Return the chain's time, Unix seconds."""


@dataclass(frozen=True)
class ReorgResult:
    """What a forced reorganisation did."""

    fork_height: int
    orphaned: tuple[BlockId, ...]
    connected: tuple[BlockId, ...]
    dropped: tuple[TxId, ...]
    left_out: tuple[TxId, ...]


class DevControls(Protocol):
    """The dev network's commands; all raise `DevError`. `chain.devnet.DevNet` implements them."""

    def advance_time(self, seconds: int, *, settle: bool) -> tuple[BlockId, ...]:
        """Move the clock forward; with `settle`, mine until the median time past has followed."""

    def mine(self, count: int) -> tuple[BlockId, ...]:
        """Make blocks now."""

    def fund(self, recipient: KeyHash, amount: int) -> TxId:
        """Send from the treasury; returns the transaction id."""

    def reorg(self, depth: int, drop: Sequence[TxId], *, readmit_dropped: bool) -> ReorgResult:
        """Replace the last `depth` blocks by a heavier branch without the transactions `drop`."""


class ServedNode(Protocol):
    """A node as the service sees it. `chain.node.Node` implements it."""

    chain: Chain
    mempool: Mempool
    queries: Queries
    params: NetworkParams
    miner: KeyHash
    mining: bool

    @property
    def clock(self) -> Clock:
        """The node's clock."""

    @property
    def dev(self) -> DevControls | None:
        """The dev commands; None outside the dev network."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not work now, one sentence each; empty when all is well."""

    @property
    def hash_rate(self) -> float:
        """Hashes per second of the node's own miner."""

    def peers(self) -> NetworkView:
        """Return the node's connections and how far it has synchronised."""

    def submit(self, tx: Transaction) -> Added:
        """Take a transaction. Raises `RuleBrokenError`."""

    def accept(self, block: Block) -> ChainChange:
        """Take a block. Raises `RuleBrokenError`."""

    def template(self, miner: KeyHash | None = None) -> Block:
        """Return an unmined block on the head."""

    def subscribe(self) -> asyncio.Queue[Event | None]:
        """Return a queue of events; None in it means that the reader was too slow and is cut off."""

    def unsubscribe(self, queue: asyncio.Queue[Event | None]) -> None:
        """Stop a subscription."""

    async def start(self) -> None:
        """Start mining, if asked to."""

    async def stop(self) -> None:
        """Stop mining and close the store."""
