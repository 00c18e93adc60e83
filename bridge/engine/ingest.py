"""From a chain's scan to swap events: what was included, what a reorg removed, what has become final.

Everything that one scan brings is stored in one transaction, the recent blocks included: after a crash the
same scan is made again, and what it brings a second time changes nothing. A scan may bring thousands of
events of other people: they are told from ours with one query for all locks and one for all preimages. What
cannot be stored of one event is set aside like what cannot be read, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import msgspec
import structlog

from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, Revealed, Scan, SetAside, Spent
from bridge.engine import facts, spends
from bridge.engine.apply import apply_events, hold_swaps, retrying
from bridge.engine.source_lock_check import is_final, timing_of
from bridge.engine.unknown_locks import names_our_account, note_unknown_lock
from bridge.protocol.events import LockSeen
from bridge.protocol.types import (
    BlockRef,
    ChainId,
    LegRole,
    LockId,
    LockTerms,
    Swap,
    SwapId,
    TxId,
    pays_back,
)
from bridge.store import Store, StoreError, Transaction
from bridge.store.records import ChainStatus, Observation, ObservedKind

log = structlog.get_logger("worker")

RING_SIZE = 1024
"""Blocks remembered per chain: a deeper reorg cannot be followed."""
MAX_ITEM_CHARACTERS = 200
"""Kept of an item's id and of the reason why it was not read: both may come from a stranger."""
MAX_ITEM_LOCKS = 64
"""Locks kept that one item names; of an item that names more, any lock is suspected."""


class IngestResult(msgspec.Struct, frozen=True):
    """What a scan brought, in counts. `caught_up`: the tip is taken in. `stale`: another worker was faster,
    and nothing was stored. `doubts`: items newly set aside and spends of ours that are not proved."""

    blocks: int = 0
    orphaned: int = 0
    news: int = 0
    caught_up: bool = False
    stale: bool = False
    doubts: int = 0


class _Owners(msgspec.Struct, frozen=True):
    """The swaps of ours that the events of a scan concern."""

    of_hashlock: dict[bytes, SwapId]
    of_lock: dict[LockId, SwapId]

    def swaps(self) -> set[SwapId]:
        return {*self.of_hashlock.values(), *self.of_lock.values()}

    def has(self, event: HtlcEvent) -> bool:
        match event:
            case Refunded() | Spent():
                return event.lock_id in self.of_lock
            case Claimed():
                return event.lock_id in self.of_lock or _hashlock(event) in self.of_hashlock
            case _:
                return _hashlock(event) in self.of_hashlock


class FinalityCandidate(msgspec.Struct, frozen=True):
    """A lock, or the refund of one, that is deep enough to be final, and that is to be read back from its
    chain first."""

    observation: Observation
    terms: LockTerms


class Ingest:
    """Stores the scans of one chain."""

    def __init__(self, store: Store, chain: ChainId, software: str = "") -> None:
        """`software`: the version of this program, which is noted with what it cannot read."""
        self._store = store
        self.chain = chain
        self._software = software
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

        `scanned`, `set_aside` and `healthy` of the status are set here. Raises `StoreError`.
        """
        try:
            return retrying(self._store, lambda tx: self._ingest(tx, scan, recent_blocks, status))
        except StoreError:
            raise
        except Exception as error:
            # Something of one event cannot be stored, which showed only when all were: find out of which.
            log.error("events_stored_singly", chain=self.chain, kind=type(error).__name__)
            return retrying(
                self._store, lambda tx: self._ingest(tx, scan, recent_blocks, status, singly=True)
            )

    def _ingest(
        self,
        tx: Transaction,
        scan: Scan,
        recent_blocks: Sequence[BlockRef],
        status: ChainStatus,
        *,
        singly: bool = False,
    ) -> IngestResult:
        tx.lock(f"ring:{self.chain}")
        last = tx.blocks.last(self.chain)
        if (last.id if last else "") != (recent_blocks[-1].id if recent_blocks else ""):
            return IngestResult(stale=True)
        tx.blocks.remove(self.chain, scan.orphaned)
        tx.set_aside.orphan(self.chain, scan.orphaned)
        tx.blocks.append(self.chain, scan.blocks)
        tx.blocks.trim(self.chain, RING_SIZE)
        newest = tx.blocks.last(self.chain)
        scanned = newest.height if newest else 0
        self._height = scanned
        caught_up = newest is not None and newest.id == scan.tip.block.id

        news = doubts = 0
        orphaned = tx.observations.orphan(self.chain, scan.orphaned)
        owners = self._owners(tx, scan.events)
        status = msgspec.structs.replace(status, scanned=scanned, healthy=True, detail="")
        due = self._final(tx, status)
        self._hold(tx, scan.events, owners, {seen.swap_id for seen in (*orphaned, *due)})
        for gone in orphaned:
            news += apply_events(tx, gone.swap_id, [facts.orphaned(gone)]).changed
        # The new time and height first: what follows may depend on them.
        tx.chains.put(status)
        changed, unproven, failed = self._ingest_events(tx, scan.events, owners, singly=singly)
        news += changed
        doubts += unproven
        for item in (*scan.set_aside, *failed):
            doubts += self._set_aside(tx, item)
        open_items = tx.set_aside.count(self.chain)
        if open_items != status.set_aside:
            status = msgspec.structs.replace(status, set_aside=open_items)
            tx.chains.put(status)
        news += self._settle(tx, status)
        return IngestResult(len(scan.blocks), len(scan.orphaned), news, caught_up, stale=False, doubts=doubts)

    def ingest_missed(self, events: Sequence[HtlcEvent], refunded: LockId = LockId("")) -> int:
        """Store events of canonical blocks that an earlier scan did not report; returns how many were new.
        `refunded`: a lock that the chain, asked directly, calls refunded.

        Blocks below the remembered ones are as deep as blocks can be: they were read as the ancestors of
        remembered ones.
        """

        def job(tx: Transaction) -> int:
            oldest = tx.blocks.oldest(self.chain)
            fresh = [
                event
                for event in events
                if event.block.height < oldest or tx.blocks.contains(self.chain, event.block)
            ]
            owners = self._owners(tx, fresh)
            self._hold(tx, fresh, owners)
            changed, _, failed = self._ingest_events(tx, fresh, owners, refunded, singly=True)
            for item in failed:
                self._set_aside(tx, item)
            return changed

        return retrying(self._store, job)

    # -- events ------------------------------------------------------------------------------

    def _owners(self, tx: Transaction, events: Sequence[HtlcEvent]) -> _Owners:
        """Tell which events concern which swaps of ours, with one query for all locks and one for all
        preimages."""
        hashlocks = {_hashlock(event) for event in events if not isinstance(event, Refunded | Spent)}
        of_hashlock = tx.swaps.by_hashlocks(hashlocks)
        spent = [event.lock_id for event in events if isinstance(event, Claimed | Refunded | Spent)]
        seen_before = tx.observations.of_locks(self.chain, spent)
        of_lock = {lock_id: seen.swap_id for lock_id, seen in seen_before.items()}
        for event in events:
            if isinstance(event, Locked) and _hashlock(event) in of_hashlock:
                of_lock[event.lock_id] = of_hashlock[_hashlock(event)]
        return _Owners(of_hashlock, of_lock)

    def _hold(
        self,
        tx: Transaction,
        events: Sequence[HtlcEvent],
        owners: _Owners,
        more: AbstractSet[SwapId] = frozenset(),
    ) -> None:
        """Read at once all that storing these events needs to know of our swaps, and of `more` swaps."""
        claims = {_hashlock(event) for event in events if isinstance(event, Claimed | Revealed)}
        hold_swaps(tx, owners.swaps() | more, claims & owners.of_hashlock.keys())
        tx.observations.remember(self.chain, owners.of_lock)

    def _ingest_events(
        self,
        tx: Transaction,
        events: Sequence[HtlcEvent],
        owners: _Owners,
        refunded: LockId = LockId(""),
        *,
        singly: bool = False,
    ) -> tuple[int, int, list[SetAside]]:
        """Store what concerns our swaps; returns how many events were news, how many were reports of spends
        of ours that are not proved, and what could not be stored.

        What is wrong with one event is set aside. What is wrong with the database now is not: `StoreError`
        leaves, and the same scan is made again. `singly`: send each event to the database by itself, to see
        which it refuses.
        """
        status = tx.chains.get(self.chain)
        news, unproven, failed = 0, 0, list[SetAside]()
        for event in events:
            if not (owners.has(event) or (isinstance(event, Locked) and names_our_account(event, status))):
                continue
            try:
                with tx.attempt():
                    news += self._ingest_event(tx, event, refunded)
                    unproven += isinstance(event, Spent)
                    if singly:
                        tx.flush()
            except StoreError:
                raise
            except Exception as error:
                if tx.is_broken:
                    raise
                # Its message might quote a secret, so only its kind is kept.
                kind = type(error).__name__
                log.critical("event_not_stored", chain=self.chain, tx=event.tx_id, kind=kind)
                failed.append(SetAside(event.block, event.tx_id, f"it could not be stored ({kind})"))
        return news, unproven, failed

    def ingest_event(self, tx: Transaction, event: HtlcEvent) -> bool:
        """Store one event of a canonical block; returns whether it was news."""
        return self._ingest_event(tx, event, LockId(""))

    def _ingest_event(self, tx: Transaction, event: HtlcEvent, refunded: LockId) -> bool:
        match event:
            case Locked():
                return self._ingest_lock(tx, event)
            case Claimed() | Refunded() | Spent():
                confirmed = event.lock_id == refunded
                return spends.ingest_spend(tx, self.chain, event, refund_confirmed=confirmed)
            case Revealed():
                return spends.ingest_preimage(tx, event.preimage)

    def _ingest_lock(self, tx: Transaction, event: Locked) -> bool:
        stored = tx.swaps.by_hashlock(event.terms.hashlock)
        role = _role(stored.swap, self.chain, event.terms) if stored else None
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

    # -- what a direct look has found ------------------------------------------------------------

    def ingest_unproven(self, lock_id: LockId, block: BlockRef, reason: str) -> bool:
        """Store that the chain itself calls a lock spent of which no scan has shown the spend. `block`: the
        newest block scanned. Returns whether it changed a swap."""

        def job(tx: Transaction) -> bool:
            if spends.spend_seen(tx, self.chain, lock_id) or not tx.blocks.contains(self.chain, block):
                return False
            return spends.ingest_spend(tx, self.chain, Spent(block, TxId(""), lock_id, reason))

        return retrying(self._store, job)

    def ingest_claimed(self, lock_id: LockId) -> bool:
        """See `spends.claimed_by_its_chain`."""
        return retrying(self._store, lambda tx: spends.claimed_by_its_chain(tx, self.chain, lock_id))

    def ingest_standing(self, lock_id: LockId) -> bool:
        """See `spends.stands_after_all`."""
        return retrying(self._store, lambda tx: spends.stands_after_all(tx, self.chain, lock_id))

    def doubt(self, candidate: FinalityCandidate) -> bool:
        """See `spends.doubt_refund`."""
        return retrying(self._store, lambda tx: spends.doubt_refund(tx, candidate.observation))

    # -- what could not be read --------------------------------------------------------------

    def _set_aside(self, tx: Transaction, item: SetAside) -> bool:
        if len(item.lock_ids) > MAX_ITEM_LOCKS:
            item = msgspec.structs.replace(item, lock_ids=())
        kept = msgspec.structs.replace(
            item, item=item.item[:MAX_ITEM_CHARACTERS], reason=item.reason[:MAX_ITEM_CHARACTERS]
        )
        return tx.set_aside.add(self.chain, kept, self._software)

    def unread_blocks(self) -> list[BlockRef]:
        """Return the blocks, oldest first, with items that another version of this program could not read and
        this one has not tried."""
        with self._store.reading() as tx:
            items = tx.set_aside.open(self.chain, not_by=self._software)
        return list(dict.fromkeys(item.block for item in items))

    def ingest_read_again(self, block: BlockRef, scan: Scan) -> int:
        """Store what a scan of that one block brought now; returns how many events were new. What could still
        not be read stays set aside."""
        if block not in scan.blocks:
            return 0
        news = self.ingest_missed([event for event in scan.events if event.block == block])
        unread = {item.item[:MAX_ITEM_CHARACTERS]: item for item in scan.set_aside if item.block == block}

        def job(tx: Transaction) -> None:
            for item in tx.set_aside.open(self.chain):
                if item.block == block and item.item not in unread:
                    tx.set_aside.resolve(item.id)
            for again in unread.values():
                self._set_aside(tx, again)

        retrying(self._store, job)
        return news

    # -- finality ----------------------------------------------------------------------------

    def finality_candidates(self) -> list[FinalityCandidate]:
        """Return the locks that are deep enough to be final once their chain confirms that they are there,
        and the refunds once it confirms that they were refunded."""
        found: list[FinalityCandidate] = []
        with self._store.reading() as tx:
            status = tx.chains.get(self.chain)
            if status is None:
                return []
            for seen in tx.observations.unsettled(self.chain):
                if seen.kind not in _CONFIRMED or not is_final(status, seen):
                    continue
                terms = seen.terms
                if terms is None:
                    lock = tx.observations.of_lock(self.chain, seen.lock_id, ObservedKind.LOCKED)
                    terms = lock.terms if lock else None
                if terms is not None:
                    found.append(FinalityCandidate(seen, terms))
        return found

    def lock_height(self, lock_id: LockId) -> int:
        """Return the height of a lock's block, 0 if it is none of ours."""
        with self._store.reading() as tx:
            lock = tx.observations.of_lock(self.chain, lock_id, ObservedKind.LOCKED)
        return lock.block.height if lock else 0

    def is_spent(self, lock_id: LockId) -> bool:
        """Tell whether the spend of a lock was seen, proved or not."""
        with self._store.reading() as tx:
            return spends.spend_seen(tx, self.chain, lock_id)

    def confirm(self, candidates: Sequence[FinalityCandidate]) -> int:
        """Tell the swaps that these locks and refunds are final, if they are still canonical; returns how
        many changed."""
        ids = {candidate.observation.id for candidate in candidates}

        def job(tx: Transaction) -> int:
            return self._settle(tx, tx.chains.get(self.chain), confirmed=ids)

        return retrying(self._store, job)

    def _final(
        self, tx: Transaction, status: ChainStatus, confirmed: Iterable[int] = ()
    ) -> list[Observation]:
        """Return what is deep enough: what has to be confirmed only if it is among `confirmed`."""
        return [
            seen
            for seen in tx.observations.unsettled(self.chain)
            if (seen.kind not in _CONFIRMED or seen.id in confirmed) and is_final(status, seen)
        ]

    def _settle(self, tx: Transaction, status: ChainStatus | None, *, confirmed: Iterable[int] = ()) -> int:
        """Settle what is final, see `_final`; returns how many swaps changed."""
        news = 0
        if status is None:
            return news
        due = self._final(tx, status, confirmed)
        hold_swaps(tx, {seen.swap_id for seen in due})
        for seen in due:
            news += apply_events(tx, seen.swap_id, facts.final(seen)).changed
            tx.observations.settle(seen.id)
        return news


_CONFIRMED = frozenset({ObservedKind.LOCKED, ObservedKind.REFUNDED})
"""What the chain is asked about directly before it counts as final: a counter-lock follows from the one,
giving the other leg back from the other."""


def _hashlock(event: Locked | Claimed | Revealed) -> bytes:
    return event.terms.hashlock if isinstance(event, Locked) else event.preimage.hashlock()


def _role(swap: Swap, chain: ChainId, found: LockTerms) -> LegRole | None:
    source = swap.source.terms
    if source.chain == chain:
        return LegRole.PAYBACK if pays_back(source, found) else LegRole.SOURCE
    return LegRole.DESTINATION if swap.destination.terms.chain == chain else None
