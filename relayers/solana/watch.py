"""From blocks to HTLC events: which locks were made, claimed and refunded, and by which transactions.

All raise `blocks.ChainMovedError` when the chain changes while it is read: read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.endpoints.json_rpc import JsonRpc
from bridge.chains.port import HtlcEvent, Scan, Tip
from bridge.protocol.types import BlockRef
from relayers.solana import blocks, program, terms
from relayers.solana.cluster import Cluster
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
            events = await self._events([head])
            return Scan((), (head,), events, tip)
        recent_blocks = await blocks.anchored(self._rpc, recent_blocks, head)
        index = await blocks.common_ancestor(self._rpc, recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor, orphaned = recent_blocks[index], tuple(reversed(recent_blocks[index + 1 :]))
        headers = await blocks.read_headers(self._rpc, ancestor, max_blocks, head)
        return Scan(orphaned, tuple(headers), await self._events(headers), tip)

    async def _events(self, headers: Sequence[BlockRef]) -> tuple[HtlcEvent, ...]:
        """Return the program's events in these blocks, and make sure that they still stand afterwards."""
        if not headers:
            return ()
        by_slot = {blocks.slot_of(header): header for header in headers}
        first, last = min(by_slot), max(by_slot)
        entries = await self._index.between(last, first, last)
        tx_ids = [entry["signature"] for entry in entries]
        executed = await blocks.read_calls(self._rpc, self._program, tx_ids)
        if not executed:
            return ()
        if any(transaction.slot not in by_slot for transaction in executed):
            raise blocks.ChainMovedError
        again = await blocks.header_at(self._rpc, last)
        if again != by_slot[last]:
            raise blocks.ChainMovedError
        return tuple(
            event
            for transaction in executed
            for call in transaction.calls
            if (event := self._event(transaction, call, by_slot[transaction.slot])) is not None
        )

    def _event(self, executed: blocks.Executed, call: program.Call, block: BlockRef) -> HtlcEvent | None:
        if executed.succeeded:
            return terms.to_event(call, block, executed.tx_id, str(self._program), self._assets)
        return terms.shown_by(call, block, executed.tx_id)
