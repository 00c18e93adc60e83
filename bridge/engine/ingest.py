"""From a chain's scan to swap events: what was included, what a reorg removed, what has become final.

Everything that one scan brings is stored in one transaction, the recent blocks included: after a crash the
same scan is made again, and what it brings a second time changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, Revealed, Scan, Spent
from bridge.engine.apply import apply_events, retrying
from bridge.engine.source_lock_check import is_final, timing_of
from bridge.engine.unknown_locks import note_unknown_lock
from bridge.protocol.events import (
    ClaimFinal,
    ClaimOrphaned,
    ClaimSeen,
    Event,
    LockFinal,
    LockOrphaned,
    LockSeen,
    RefundFinal,
    RefundOrphaned,
    RefundSeen,
    SecretRevealed,
)
from bridge.protocol.types import BlockRef, ChainId, LegRole, LockId, LockTerms, Preimage, Swap
from bridge.store import Store, Transaction
from bridge.store.records import ChainStatus, Observation, ObservedKind

RING_SIZE = 1024
"""Blocks remembered per chain: a deeper reorg cannot be followed."""


class IngestResult(msgspec.Struct, frozen=True):
    """What a scan brought, in counts. `caught_up`: the tip is taken in. `stale`: another worker was faster,
    and nothing was stored."""

    blocks: int = 0
    orphaned: int = 0
    news: int = 0
    caught_up: bool = False
    stale: bool = False


class FinalityCandidate(msgspec.Struct, frozen=True):
    """A lock that is deep enough to be final, and that is to be read back from its chain first."""

    observation: Observation
    terms: LockTerms


class Ingest:
    """Stores the scans of one chain."""

    def __init__(self, store: Store, chain: ChainId) -> None:
        self._store = store
        self.chain = chain
        self._height = 0

    def recent_blocks(self) -> list[BlockRef]:
        """Return the canonical blocks remembered, to scan from; oldest first."""
        with self._store.reading() as tx:
            return tx.blocks.ring(self.chain)

    def height(self) -> int:
        """Return the height up to which this process has stored events."""
        return self._height

    def ingest(self, scan: Scan, recent_blocks: Sequence[BlockRef], status: ChainStatus) -> IngestResult:
        """Store what a scan that was made from `recent_blocks` brought, with the chain's new status.

        `scanned` and `healthy` of the status are set here. Raises `StoreError`.
        """
        return retrying(self._store, lambda tx: self._ingest(tx, scan, recent_blocks, status))

    def _ingest(
        self, tx: Transaction, scan: Scan, recent_blocks: Sequence[BlockRef], status: ChainStatus
    ) -> IngestResult:
        tx.lock(f"ring:{self.chain}")
        last = tx.blocks.last(self.chain)
        if (last.id if last else "") != (recent_blocks[-1].id if recent_blocks else ""):
            return IngestResult(stale=True)
        tx.blocks.remove(self.chain, scan.orphaned)
        tx.blocks.append(self.chain, scan.blocks)
        tx.blocks.trim(self.chain, RING_SIZE)
        newest = tx.blocks.last(self.chain)
        scanned = newest.height if newest else 0
        self._height = scanned
        caught_up = newest is not None and newest.id == scan.tip.block.id
        status = msgspec.structs.replace(status, scanned=scanned, healthy=True, detail="")
        tx.chains.put(status)

        news = 0
        for gone in tx.observations.orphan(self.chain, scan.orphaned):
            news += apply_events(tx, gone.swap_id, [_orphaned(gone)]).changed
        for event in scan.events:
            news += self._ingest_event(tx, event)
        news += self._settle(tx, status, spends_only=True)
        return IngestResult(len(scan.blocks), len(scan.orphaned), news, caught_up)

    def ingest_missed(self, events: Sequence[HtlcEvent]) -> int:
        """Store events of canonical blocks that an earlier scan did not report; returns how many were new."""

        def job(tx: Transaction) -> int:
            fresh = [event for event in events if tx.blocks.contains(self.chain, event.block)]
            return sum(self._ingest_event(tx, event) for event in fresh)

        return retrying(self._store, job)

    def ingest_event(self, tx: Transaction, event: HtlcEvent) -> bool:
        """Store one event of a canonical block; returns whether it was news."""
        return self._ingest_event(tx, event)

    def _ingest_event(self, tx: Transaction, event: HtlcEvent) -> bool:
        match event:
            case Locked():
                return self._ingest_lock(tx, event)
            case Claimed() | Refunded():
                return self._ingest_spend(tx, event)
            case Spent():
                return False
            case Revealed():
                return self._ingest_preimage(tx, event.preimage)

    def _ingest_lock(self, tx: Transaction, event: Locked) -> bool:
        stored = tx.swaps.by_hashlock(event.terms.hashlock)
        role = _role(stored.swap, self.chain) if stored else None
        if stored is None or role is None:
            return note_unknown_lock(tx, event, tx.chains.get(self.chain))
        seen = LockSeen(role, event.lock_id, event.terms, event.tx_id, event.block)
        after = apply_events(tx, stored.id, [seen])
        leg = after.swap.leg(role)
        if event.lock_id not in {leg.lock_id, *(stray.lock_id for stray in leg.strays)}:
            return False  # somebody else's lock with the same hashlock
        timing = timing_of(after.swap, role)
        tx.observations.add(
            self.chain,
            ObservedKind.LOCKED,
            stored.id,
            role,
            lock_id=event.lock_id,
            tx_id=event.tx_id,
            block=event.block,
            depth=timing.finality_depth,
            needs_finalized=timing.needs_finalized,
            terms=event.terms,
        )
        return after.changed

    def _ingest_spend(self, tx: Transaction, event: Claimed | Refunded) -> bool:
        lock = tx.observations.of_lock(self.chain, event.lock_id, ObservedKind.LOCKED)
        if lock is None:
            # A claim of a lock that is not ours may still reveal one of our secrets.
            return self._ingest_preimage(tx, event.preimage) if isinstance(event, Claimed) else False
        kind, happened = _spend(lock, event)
        tx.observations.add(
            self.chain,
            kind,
            lock.swap_id,
            lock.leg,
            lock_id=event.lock_id,
            tx_id=event.tx_id,
            block=event.block,
            depth=lock.depth,
            needs_finalized=lock.needs_finalized,
        )
        return apply_events(tx, lock.swap_id, [happened]).changed

    def _ingest_preimage(self, tx: Transaction, preimage: Preimage) -> bool:
        """Store a preimage that was published without claiming a lock of ours."""
        stored = tx.swaps.by_hashlock(preimage.hashlock())
        if stored is None:
            return False
        return apply_events(tx, stored.id, [SecretRevealed(preimage)]).changed

    # -- finality ----------------------------------------------------------------------------

    def finality_candidates(self) -> list[FinalityCandidate]:
        """Return the locks that are deep enough to be final once their chain confirms that they are there."""
        with self._store.reading() as tx:
            status = tx.chains.get(self.chain)
            if status is None:
                return []
            return [
                FinalityCandidate(seen, seen.terms)
                for seen in tx.observations.unsettled(self.chain)
                if seen.terms is not None and seen.kind is ObservedKind.LOCKED and is_final(status, seen)
            ]

    def confirm(self, candidates: Sequence[FinalityCandidate]) -> int:
        """Tell the swaps that these locks are final, if they are still canonical; returns how many
        changed."""
        ids = {candidate.observation.id for candidate in candidates}

        def job(tx: Transaction) -> int:
            return self._settle(tx, tx.chains.get(self.chain), locks=ids)

        return retrying(self._store, job)

    def _settle(
        self,
        tx: Transaction,
        status: ChainStatus | None,
        *,
        locks: set[int] | None = None,
        spends_only: bool = False,
    ) -> int:
        news = 0
        if status is None:
            return news
        for seen in tx.observations.unsettled(self.chain):
            is_lock = seen.kind is ObservedKind.LOCKED
            if is_lock and (spends_only or seen.id not in (locks or ())):
                continue
            if is_final(status, seen):
                news += apply_events(tx, seen.swap_id, [_final(seen)]).changed
                tx.observations.settle(seen.id)
        return news


def _role(swap: Swap, chain: ChainId) -> LegRole | None:
    if swap.source.terms.chain == chain:
        return LegRole.SOURCE
    return LegRole.DESTINATION if swap.destination.terms.chain == chain else None


def _spend(lock: Observation, event: Claimed | Refunded) -> tuple[ObservedKind, Event]:
    if isinstance(event, Claimed):
        claim = ClaimSeen(lock.leg, event.lock_id, event.tx_id, event.block, event.preimage)
        return ObservedKind.CLAIMED, claim
    return ObservedKind.REFUNDED, RefundSeen(lock.leg, event.lock_id, event.tx_id, event.block)


_Fact = Callable[[LegRole, LockId, str], Event]

_ORPHANED: dict[ObservedKind, _Fact] = {
    ObservedKind.LOCKED: LockOrphaned,
    ObservedKind.CLAIMED: ClaimOrphaned,
    ObservedKind.REFUNDED: RefundOrphaned,
}
_FINAL: dict[ObservedKind, _Fact] = {
    ObservedKind.LOCKED: LockFinal,
    ObservedKind.CLAIMED: ClaimFinal,
    ObservedKind.REFUNDED: RefundFinal,
}


def _orphaned(seen: Observation) -> Event:
    return _ORPHANED[seen.kind](seen.leg, seen.lock_id, seen.block.id)


def _final(seen: Observation) -> Event:
    return _FINAL[seen.kind](seen.leg, seen.lock_id, seen.block.id)
