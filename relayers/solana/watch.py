"""From blocks to HTLC events: which locks were made, claimed and refunded, and by which transactions.

All raise `blocks.ChainMovedError` when the chain changes while it is read: read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.chains.endpoints.json_rpc import MAX_BATCH, OneEndpoint
from bridge.chains.endpoints.kept import kept
from bridge.chains.port import HtlcEvent, Scan, SetAside, Spent, Tip
from bridge.chains.preimages import revealed
from bridge.protocol.types import BlockRef
from relayers.solana import blocks, terms, transactions
from relayers.solana.address_index import AddressIndex
from relayers.solana.cluster import Cluster
from relayers.solana.locks import SeenLocks
from relayers.solana.program import LockCall
from relayers.solana.settings import SolanaSettings

MOST_READ = 1_000
"""Transactions that one scan reads, but for those of a single block."""


def _readable(slots: Sequence[int], entries: Sequence[int]) -> int:
    """Return how many of these blocks hold at most `MOST_READ` entries together: 1 at least."""
    counted = Counter(entries)
    total = 0
    for number, slot in enumerate(slots):
        total += counted[slot]
        if total > MOST_READ and number:
            return number
    return len(slots)


class Watch:
    """Reads the blocks of a cluster and the calls of one HTLC program in them."""

    def __init__(self, cluster: Cluster, settings: SolanaSettings, seen: SeenLocks) -> None:
        self._cluster = cluster
        self._settings = settings
        self._seen = seen
        self._program = terms.address(settings.program)
        self._assets = settings.named

    async def tip(self, one: OneEndpoint) -> Tip:
        """Return the newest confirmed block and its time. Later answers must not be of before it."""
        head = await blocks.read_head(one, self._settings.index_lag)
        self._cluster.floor = max(self._cluster.floor, blocks.slot_of(head))
        return Tip(head, head.time)

    async def scan(self, one: OneEndpoint, recent_blocks: Sequence[BlockRef], max_blocks: int) -> Scan:
        """See `ChainPort.scan`."""
        tip = await self.tip(one)
        head = tip.block
        if recent_blocks and recent_blocks[-1].id == head.id:
            return Scan((), (), (), tip)
        if not recent_blocks:
            _, events, set_aside = await self._events(one, [head])
            return Scan((), (head,), events, tip, set_aside)
        recent_blocks = await blocks.anchored(one, recent_blocks, head)
        index = await blocks.common_ancestor(one, recent_blocks, head)
        if index is None:
            return Scan((), (), (), tip)
        ancestor, orphaned = recent_blocks[index], tuple(reversed(recent_blocks[index + 1 :]))
        headers = await blocks.read_headers(one, ancestor, max_blocks, head)
        read, events, set_aside = await self._events(one, headers)
        return Scan(orphaned, tuple(headers[:read]), events, tip, set_aside)

    async def _events(
        self, one: OneEndpoint, headers: Sequence[BlockRef]
    ) -> tuple[int, tuple[HtlcEvent, ...], tuple[SetAside, ...]]:
        """Return how many of these blocks were read, the program's events in them and what cannot be read in
        them, and make sure that they still stand afterwards.

        Anybody may name the program as often as they pay for: only so many blocks are read as hold about
        `MOST_READ` such transactions, and one at least.
        """
        if not headers:
            return 0, (), ()
        by_slot = {blocks.slot_of(header): header for header in headers}
        first, last = min(by_slot), max(by_slot)
        index: AddressIndex = one.memory.setdefault("index", AddressIndex(one, self._settings.program))
        entries = await index.between(last, first, last)
        if any(entry["slot"] not in by_slot for entry in entries):
            raise blocks.ChainMovedError
        read = _readable(sorted(by_slot), [entry["slot"] for entry in entries])
        upto = sorted(by_slot)[read - 1]
        executed = await self._read(one, [entry for entry in entries if entry["slot"] <= upto])
        if not executed:
            return read, (), ()
        if any(transaction.slot not in by_slot for transaction in executed):
            raise blocks.ChainMovedError
        again = await blocks.header_at(one, last)
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
        return read, tuple(events), tuple(set_aside)

    async def _read(
        self, one: OneEndpoint, entries: Sequence[Mapping[str, Any]]
    ) -> list[transactions.Executed]:
        """Read transactions, a batch at a time. What was read is kept until all of it was: an endpoint that
        limits requests is asked for the rest alone."""
        keys = [(entry["signature"], entry["slot"]) for entry in entries]
        with kept(one.memory, "executed", keys) as found:
            missing = [entry for key, entry in zip(keys, entries, strict=True) if key not in found]
            for start in range(0, len(missing), MAX_BATCH):
                part = missing[start : start + MAX_BATCH]
                for entry, executed in zip(
                    part, await transactions.read(one, self._program, part), strict=True
                ):
                    found[entry["signature"], entry["slot"]] = executed
        return [found[key] for key in keys]

    def _events_of(self, executed: transactions.Executed, block: BlockRef) -> Iterator[HtlcEvent]:
        """Yield what a transaction is known to have done, and what it shows."""
        if executed.succeeded:
            for call in executed.calls:
                note = self._seen.made if isinstance(call, LockCall) else self._seen.ended
                note(call.vault, executed.tx_id)
                yield terms.to_event(call, block, executed.tx_id, str(self._program), self._assets)
        yield from revealed(block, executed.tx_id, executed.strings)
        if not executed.hidden or not executed.succeeded:
            return
        # Only its program takes lamports from a vault, and only to spend it.
        ended = {call.vault for call in executed.calls if not isinstance(call, LockCall)}
        for vault in executed.emptied:
            if vault not in ended:
                yield Spent(block, executed.tx_id, terms.lock_id(vault), executed.hidden)
