"""What happened on the chain since a ring of known blocks, as Blockfrost tells it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bridge.protocol.types import BlockRef
from relayers.cardano.blockfrost import Block, Blockfrost, TxOutputs
from relayers.cardano.htlc import Reader, credential
from relayers.port import HtlcEvent, Scan, Tip
from relayers.ring import newest_common

_KEPT_TRANSACTIONS = 2_000


class ChainMoved(Exception):
    """The chain changed while it was read: read again."""


class History:
    """Reads blocks and the HTLC events in them. Contents of transactions never change, so they are kept."""

    def __init__(self, blockfrost: Blockfrost, reader: Reader) -> None:
        self._blockfrost = blockfrost
        self._reader = reader
        self._outputs: dict[str, TxOutputs] = {}

    async def scan(self, known: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`. Raises `ChainMoved`."""
        head = await self._blockfrost.head()
        tip = Tip(head.ref, head.time)
        if not known:
            events = await self.events([head.ref])
            return Scan((), (head.ref,), tuple(events), tip)
        if known[-1].id == head.hash:
            return Scan((), (), (), tip)
        index, ancestor = await self._ancestor(known, head)
        if index is None:
            return Scan((), (), (), tip)
        following = await self._blockfrost.blocks_after(ancestor.id, max_blocks)
        if following is None:
            raise ChainMoved
        refs = _linked(following, ancestor)
        if refs and refs[-1].height == head.height and refs[-1].id != head.hash:
            raise ChainMoved
        # Blocks that came since the head was read are left for the next time.
        refs = [ref for ref in refs if ref.height <= head.height]
        events = await self.events(refs)
        return Scan(tuple(reversed(known[index + 1 :])), tuple(refs), tuple(events), tip)

    async def _ancestor(self, known: Sequence[BlockRef], head: Block) -> tuple[int | None, BlockRef]:
        """Return the newest known block that is still canonical (its index and itself)."""
        canonical = {head.height: head.hash}
        ring = list(known)
        for index in (0, *range(len(ring) - 1, 0, -1)):
            height = ring[index].height
            if height not in canonical and height <= head.height:
                block = await self._blockfrost.block(str(height))
                if block is None:
                    raise ChainMoved
                canonical[height] = block.hash
                if not ring[index].id:
                    ring[index] = block.ref
            elif not ring[index].id and height == head.height:
                ring[index] = head.ref
            matches = canonical.get(height) == ring[index].id
            if (index == 0 and not matches) or (index > 0 and matches):
                break
        found = newest_common(ring, canonical, head.ref)
        return found, ring[found or 0]

    async def events(self, refs: Sequence[BlockRef]) -> list[HtlcEvent]:
        """Return the HTLC events of consecutive blocks, in chain order. Raises `ChainMoved`."""
        if not refs:
            return []
        by_height = {ref.height: ref for ref in refs}
        touching = await self._blockfrost.transactions_at(credential(), refs[0].height, refs[-1].height)
        events: list[HtlcEvent] = []
        for tx in sorted(touching, key=lambda one: (one.block_height, one.tx_index)):
            ref = by_height.get(tx.block_height)
            place = await self._blockfrost.place(tx.tx_hash)
            if ref is None or place is None or place.block != ref.id:
                raise ChainMoved
            if not place.valid_contract:
                continue  # only its collateral was taken
            events += self._reader.events(*await self._content(tx.tx_hash), ref)
        head = await self._blockfrost.block(refs[-1].id)
        if head is None:
            raise ChainMoved
        return events

    async def lock_history(self, lock_id: str, digest: str) -> list[HtlcEvent]:
        """Return what ever happened to a lock, newest first as far as its lock; `digest` is its datum's hash.

        A datum that the chain has never seen answers at once; else the validator's transactions are read from
        the newest backwards.
        """
        if not await self._blockfrost.knows_datum(digest):
            return []
        found: list[HtlcEvent] = []
        nowhere = BlockRef(0, "", "", 0)
        async for page in self._blockfrost.newest_transactions_at(credential()):
            for tx in page:
                place = await self._blockfrost.place(tx.tx_hash)
                if place is None:
                    raise ChainMoved
                if not place.valid_contract:
                    continue
                events = self._reader.events(*await self._content(tx.tx_hash), nowhere)
                ours = [event for event in events if event.lock_id == lock_id]
                found += reversed(ours)
                if any(type(event).__name__ == "Locked" for event in ours):
                    return found
        return found

    async def _content(self, tx_id: str) -> tuple[TxOutputs, bytes | None]:
        outputs = self._outputs.get(tx_id)
        if outputs is None:
            outputs = await self._blockfrost.outputs(tx_id)
            if outputs is None:
                raise ChainMoved
            # Whether an output is spent by now is no part of what a transaction did.
            kept = [msgspec.structs.replace(one, consumed_by_tx=None) for one in outputs.outputs]
            outputs = msgspec.structs.replace(outputs, outputs=kept)
            if len(self._outputs) >= _KEPT_TRANSACTIONS:
                self._outputs.pop(next(iter(self._outputs)))
            self._outputs[tx_id] = outputs
        raw = None
        if self._reader.spends_lock(outputs):
            raw = await self._blockfrost.raw(tx_id)
            if raw is None:
                raise ChainMoved
        return outputs, raw


def _linked(blocks: Sequence[Block], ancestor: BlockRef) -> list[BlockRef]:
    parent = ancestor
    refs = []
    for block in blocks:
        if block.ref.parent != parent.id or block.height != parent.height + 1:
            raise ChainMoved
        parent = block.ref
        refs.append(parent)
    return refs
