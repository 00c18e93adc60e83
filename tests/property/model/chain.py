"""One chain of the model: blocks, a mempool, and what may be included. All values are immutable and hashable.

A block comes at most once a slot. Only blocks that hold something, and those that a reorg may still replace,
are kept: two histories that cannot be told apart any more are one state.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from bridge.protocol.types import BlockHeight, BlockRef, Purpose, UnixSeconds

NEVER = 1 << 30
"""Due never: miners may leave the transaction out for as long as they like."""


class Party(StrEnum):
    """Who sent a transaction."""

    BRIDGE = "bridge"
    USER = "user"
    STRANGER = "stranger"


class Tx(NamedTuple):
    """A transaction. `due`: the slot by which it must be included; `odd`: a claim that no reader understands
    at first."""

    kind: Purpose
    lock: str
    by: Party
    due: int = NEVER
    odd: bool = False

    def __str__(self) -> str:
        return f"{self.by.value}'s {'odd ' if self.odd else ''}{self.kind.value} of {self.lock}"


class Block(NamedTuple):
    """A block; `fork` counts the reorgs before it."""

    height: int
    fork: int
    time: int
    txs: tuple[Tx, ...] = ()

    @property
    def ref(self) -> BlockRef:
        return BlockRef(BlockHeight(self.height), f"{self.height}.{self.fork}", "", UnixSeconds(self.time))


class Chain(NamedTuple):
    """A chain with its mempool. `depth`: confirmations that make a block final."""

    depth: int
    blocks: tuple[Block, ...]
    mempool: frozenset[Tx] = frozenset()
    fork: int = 0

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    def find(self, lock: str, *kinds: Purpose) -> tuple[Tx, Block] | None:
        """Return the transaction of one of these kinds that concerns a lock, and its block."""
        for block in self.blocks:
            for tx in block.txs:
                if tx.lock == lock and tx.kind in kinds:
                    return tx, block
        return None

    def spend(self, lock: str) -> tuple[Tx, Block] | None:
        return self.find(lock, Purpose.CLAIM, Purpose.REFUND, Purpose.COOPERATIVE_REFUND)

    def is_final(self, block: Block) -> bool:
        return self.tip.height - block.height + 1 >= self.depth

    def outcome(self, lock: str) -> Purpose | None:
        """Return how a lock was finally spent, None if it was not, or not finally."""
        spend = self.spend(lock)
        return spend[0].kind if spend is not None and self.is_final(spend[1]) else None

    def has(self, tx: Tx) -> bool:
        """Tell whether the same transaction waits or is included."""
        same = [(t.kind, t.lock, t.by) for t in self.mempool]
        same += [(t.kind, t.lock, t.by) for block in self.blocks for t in block.txs]
        return (tx.kind, tx.lock, tx.by) in same

    def sent(self, tx: Tx) -> Chain:
        return self if self.has(tx) else self._replace(mempool=self.mempool | {tx})

    def blocks_at(self, time: int, slot: int, deadlines: dict[str, int]) -> Iterator[Chain]:
        """Return the chain with each block that a miner may make now, where `slot` is what `Tx.due` means."""
        empty = Block(self.tip.height + 1, self.fork, time)
        yield from self._filled(self._with_tip(empty), slot, deadlines, set())

    def _with_tip(self, block: Block) -> Chain:
        blocks = tuple(
            b for b in self.blocks if b.txs or block.height - b.height < self.depth - 1 or b.height == 0
        )
        return self._replace(blocks=(*blocks, block))

    def _filled(
        self, begun: Chain, slot: int, deadlines: dict[str, int], seen: set[Chain]
    ) -> Iterator[Chain]:
        if begun in seen:
            return
        seen.add(begun)
        includable = [tx for tx in begun.mempool if begun.allows(tx, deadlines)]
        if all(tx.due > slot for tx in includable):
            yield begun
        for tx in includable:
            tip = begun.tip._replace(txs=(*begun.tip.txs, tx._replace(due=NEVER)))
            fuller = begun._replace(blocks=(*begun.blocks[:-1], tip), mempool=begun.mempool - {tx})
            yield from self._filled(fuller, slot, deadlines, seen)

    def allows(self, tx: Tx, deadlines: dict[str, int]) -> bool:
        """Tell whether a transaction may stand next in the newest block."""
        if tx.kind in {Purpose.LOCK, Purpose.CANCEL}:
            # Both use the same sequence, so only one of them can ever be included.
            return self.find(tx.lock, Purpose.LOCK, Purpose.CANCEL) is None
        if self.find(tx.lock, Purpose.LOCK) is None or self.spend(tx.lock) is not None:
            return False
        late = self.tip.time >= deadlines[tx.lock]
        return tx.kind is Purpose.CLAIM or late == (tx.kind is Purpose.REFUND)

    def reorganised(self, depth: int, slot: int, deadlines: dict[str, int], forget: bool) -> Iterator[Chain]:
        """Return the chain with its last `depth` blocks replaced by as many others. `forget`: the users'
        transactions in them are lost, else all come back into the mempool, to be included by `slot`."""
        kept, removed = self.blocks[:-depth], self.blocks[-depth:]
        returned = [
            tx._replace(due=slot if tx.by is Party.BRIDGE or not forget else NEVER)
            for block in removed
            for tx in block.txs
            if tx.by is Party.BRIDGE or not forget
        ]
        chains = [self._replace(blocks=kept, mempool=self.mempool | set(returned), fork=self.fork + 1)]
        for block in removed:
            chains = [new for chain in chains for new in chain.blocks_at(block.time, slot - 1, deadlines)]
        yield from chains
