"""What happened on the chain since a ring of known blocks."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.chains.port import HtlcEvent, Locked, Revealed, Scan, SetAside, Tip
from bridge.protocol.types import BlockHeight, BlockRef, LockId
from relayers.cardano.chain_view import ChainMovedError, ChainView, HtlcTx
from relayers.cardano.htlc import Reader
from relayers.cardano.lock_index import LockIndex


class History:
    """Reads blocks and the HTLC events in them."""

    def __init__(self, view: ChainView, reader: Reader, index: LockIndex) -> None:
        self._view = view
        self._reader = reader
        self._index = index

    async def scan(self, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. Raises `ChainMovedError`."""
        head = await self._view.head()
        tip = Tip(head, head.time)
        if not recent_blocks:
            events, set_aside = await self._events([head])
            return Scan((), (head,), events, tip, set_aside)
        if recent_blocks[-1].id == head.id:
            return Scan((), (), (), tip)
        index, ancestor = await self._view.newest_known(recent_blocks, head)
        if index is None or ancestor is None:
            return Scan((), (), (), tip)
        refs = await self._view.blocks_after(ancestor, max_blocks)
        _check_links(refs, ancestor)
        if refs and refs[-1].height == head.height and refs[-1].id != head.id:
            raise ChainMovedError
        # Blocks that came since the head was read are left for the next time.
        refs = [ref for ref in refs if ref.height <= head.height]
        events, set_aside = await self._events(refs)
        orphaned = tuple(reversed(recent_blocks[index + 1 :]))
        return Scan(orphaned, tuple(refs), events, tip, set_aside)

    async def _events(self, refs: Sequence[BlockRef]) -> tuple[tuple[HtlcEvent, ...], tuple[SetAside, ...]]:
        txs = await self._view.activity(refs) if refs else []
        for tx in txs:
            for output in tx.made:
                self._index.remember(output)
        events = tuple(event for tx in txs for event in self._reader.events(tx))
        return events, tuple(item for tx in txs for item in self._reader.set_aside(tx))

    async def lock_history(self, lock_id: LockId, digest: str, since: BlockHeight | None) -> list[HtlcEvent]:
        """Return what ever happened to a lock, newest first as far as its lock; `digest` is the hash of its
        datum as we write it, `since` a height below which it cannot have been made.
        Raises `ChainMovedError`, `TooMuchToReadError`."""
        found: list[HtlcEvent] = []
        async for tx in self._view.past_activity(
            lambda output: self._reader.lock_id(output) == lock_id, digest, since
        ):
            ours = self.of_lock(tx, lock_id)
            found += reversed(ours)
            if any(isinstance(event, Locked) for event in ours):
                for output in tx.made:
                    self._index.remember(output)
                break
        return found

    def of_lock(self, tx: HtlcTx, lock_id: LockId) -> list[HtlcEvent]:
        """Return what a transaction did to a lock."""
        return [
            event
            for event in self._reader.events(tx)
            if not isinstance(event, Revealed) and event.lock_id == lock_id
        ]


def _check_links(refs: Sequence[BlockRef], ancestor: BlockRef) -> None:
    parent = ancestor
    for ref in refs:
        if ref.parent != parent.id or ref.height != parent.height + 1:
            raise ChainMovedError
        parent = ref
