"""From blocks to HTLC events: which locks were made, claimed and refunded, and by which transactions.

All raise `blocks.ChainMovedError` when the chain changes while it is read: read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.chains.endpoints.json_rpc import JsonRpc
from bridge.chains.port import HtlcEvent, Scan, SetAside, Spent, Tip
from bridge.chains.preimages import revealed
from bridge.protocol.types import BlockRef
from relayers.solana import blocks, terms, transactions
from relayers.solana.cluster import Cluster
from relayers.solana.program import LockCall
from relayers.solana.settings import SolanaSettings


class Watch:
    """Reads the blocks of a cluster and the calls of one HTLC program in them."""

    def __init__(self, rpc: JsonRpc, cluster: Cluster, settings: SolanaSettings) -> None:
        self._rpc = rpc
        self._cluster = cluster
        self._settings = settings
        self._program = terms.address(settings.program)
        self._assets = settings.named
        self._index = blocks.AddressIndex(rpc, settings.program)

    async def tip(self) -> Tip:
        """Return the newest confirmed block and its time. Later answers must not be of before it."""
        head = await blocks.read_head(self._rpc, self._settings.index_lag)
        self._cluster.floor = max(self._cluster.floor, blocks.slot_of(head))
        return Tip(head, head.time)

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        tip = await self.tip()
        head = tip.block
        if recent_blocks and recent_blocks[-1].id == head.id:
            return Scan((), (), (), tip)
        if not recent_blocks:
            events, set_aside = await self._events([head])
            return Scan((), (head,), events, tip, set_aside)
        recent_blocks = await blocks.anchored(self._rpc, recent_blocks, head)
        index = await blocks.common_ancestor(self._rpc, recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor, orphaned = recent_blocks[index], tuple(reversed(recent_blocks[index + 1 :]))
        headers = await blocks.read_headers(self._rpc, ancestor, max_blocks, head)
        events, set_aside = await self._events(headers)
        return Scan(orphaned, tuple(headers), events, tip, set_aside)

    async def _events(
        self, headers: Sequence[BlockRef]
    ) -> tuple[tuple[HtlcEvent, ...], tuple[SetAside, ...]]:
        """Return the program's events in these blocks and what cannot be read in them, and make sure that
        they still stand afterwards."""
        if not headers:
            return (), ()
        by_slot = {blocks.slot_of(header): header for header in headers}
        first, last = min(by_slot), max(by_slot)
        entries = await self._index.all_between(last, first, last)
        executed = await transactions.read(self._rpc, self._program, entries)
        if not executed:
            return (), ()
        if any(transaction.slot not in by_slot for transaction in executed):
            raise blocks.ChainMovedError
        again = await blocks.header_at(self._rpc, last)
        if again != by_slot[last]:
            raise blocks.ChainMovedError
        events: list[HtlcEvent] = []
        set_aside: list[SetAside] = []
        for transaction in executed:
            block = by_slot[transaction.slot]
            events += self._events_of(transaction, block)
            if transaction.hidden:
                locks = tuple(terms.lock_id(key) for key in transaction.written or ())
                set_aside.append(SetAside(block, transaction.tx_id, transaction.hidden, locks))
        return tuple(events), tuple(set_aside)

    def _events_of(self, executed: transactions.Executed, block: BlockRef) -> Iterator[HtlcEvent]:
        """Yield what a transaction is known to have done, and what it shows."""
        if executed.succeeded:
            for call in executed.calls:
                yield terms.to_event(call, block, executed.tx_id, str(self._program), self._assets)
        yield from revealed(block, executed.tx_id, executed.strings)
        if not executed.hidden or not executed.succeeded:
            return
        # Only its program takes lamports from a vault, and only to spend it.
        ended = {call.vault for call in executed.calls if not isinstance(call, LockCall)}
        for vault in executed.emptied:
            if vault not in ended:
                yield Spent(block, executed.tx_id, terms.lock_id(vault), executed.hidden)
