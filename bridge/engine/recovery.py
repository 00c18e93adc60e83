"""Swaps that this database lost, made again from their signed receipts and from what the chains show.

A lost swap does not become a swap at once: with half of its history it would do harm. If its source lock were
known and its destination lock were not, it would lock a second time, or give the source back. So both chains
are read again first, from the heights of its acceptance on. What they show is kept aside, and the swap is
stored together with all of it, in one transaction.

One case stays open: the source is locked and no destination lock of ours is on its chain. A transaction that
this database does not have may still bring one. Such a swap is HELD: nothing is locked and nothing given back
until the lock appears or the user has taken the source back.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import structlog

from bridge.chains.port import Claimed, HtlcEvent, Locked, Refunded, Revealed, Spent
from bridge.engine.apply import apply_events
from bridge.engine.ingest import Ingest
from bridge.engine.unknown_locks import pause
from bridge.protocol.acceptance import Acceptance, read_acceptance
from bridge.protocol.events import Accepted, ClaimSeen, Event, LockSeen, RefundSeen, SecretRevealed, SpendSeen
from bridge.protocol.legs import REFUNDED
from bridge.protocol.transition import transition
from bridge.protocol.types import (
    BlockHeight,
    BlockRef,
    ChainId,
    LegRole,
    LegState,
    Swap,
    SwapId,
    UnixSeconds,
    pays_back,
)
from bridge.store import ConflictError, DuplicateError, Store, Transaction
from bridge.store.records import Quote, QuoteState, SwapMeta
from bridge.store.repositories.recovery import Rescan, Restoration, RestorationState, RestoredEvent

log = structlog.get_logger("recovery")

MARGIN = 64
"""Blocks below the height of acceptance from which a chain is read again: its node may have been ahead."""

NODES_APART = 1
"""Blocks that the node of the lost database may have been ahead of ours."""

HELD = "the source is locked, and a lock of ours that this database does not know may still appear"


class Lost(msgspec.Struct, frozen=True):
    """An accepted swap, with its signed text. `origin` says where it was found: `journal` or `client`."""

    acceptance: Acceptance
    body: str
    signature: str
    origin: str
    client: str = ""


def begin_restoration(tx: Transaction, lost: Lost) -> bool:
    """Begin to restore a swap unless it is here already; returns whether that is news.

    Its chains are paused for new swaps: what else this database lost is not known. The caller has checked the
    signature.
    """
    acceptance = lost.acceptance
    known = (
        tx.swaps.get(acceptance.swap_id) is not None
        or tx.swaps.by_hashlock(acceptance.hashlock) is not None
        or tx.restorations.get(acceptance.swap_id) is not None
        or tx.restorations.by_hashlock(acceptance.hashlock) is not None
    )
    if known:
        return False
    chains = (acceptance.source.chain, acceptance.destination.chain)
    heights = {chain: BlockHeight(max(0, acceptance.heights.get(chain, 0) - MARGIN)) for chain in chains}
    restoration = Restoration(
        swap_id=acceptance.swap_id,
        hashlock=acceptance.hashlock.hex(),
        body=lost.body,
        signature=lost.signature,
        client=lost.client,
        origin=lost.origin,
        state=RestorationState.READING,
        detail="its chains are read again",
        created_ms=0,
        updated_ms=0,
    )
    try:
        tx.restorations.add(restoration, heights)
    except DuplicateError:
        return False
    log.critical(
        "swap_lost_by_database",
        swap=acceptance.swap_id,
        origin=lost.origin,
        hint="the database is older than its swaps: see docs/operations/restore.md",
    )
    for chain in chains:
        pause(tx, chain, f"the database lost swap {acceptance.swap_id}, which is being restored")
    return True


class Rereading:
    """What one chain shows again of lost swaps: collected until both chains were read, then made a swap."""

    def __init__(self, store: Store, chain: ChainId) -> None:
        self._store = store
        self.chain = chain

    def take(
        self,
        tx: Transaction,
        rescans: Sequence[Rescan],
        blocks: Sequence[BlockRef],
        events: Sequence[HtlcEvent],
    ) -> None:
        """Store what blocks that were read again hold for these rescans, and finish what can be finished.

        A rescan that another process has moved in the meantime is left alone. Without blocks the chain was
        read up to its newest stored block.
        """
        here = {rescan.swap_id: rescan for rescan in tx.restorations.rescans(self.chain)}
        rescans = [rescan for rescan in rescans if here.get(rescan.swap_id) == rescan]
        newest = synced_height(tx, self.chain)
        reached = blocks[-1] if blocks else None
        wanted = {rescan.swap_id: rescan.height for rescan in rescans}
        for event in events:
            self._take_event(tx, event, wanted)
        for rescan in rescans:
            moved = rescan
            if reached is not None and reached.height > rescan.height:
                moved = msgspec.structs.replace(rescan, height=reached.height, block_id=reached.id)
            caught_up = newest is not None and moved.height >= newest
            moved = msgspec.structs.replace(moved, caught_up=caught_up)
            if moved != rescan:
                tx.restorations.advance(moved)
            if caught_up:
                self._finish(tx, moved)

    def is_waiting(self, tx: Transaction, rescans: Sequence[Rescan]) -> bool:
        """Tell whether something is to be stored though there is nothing more to read."""
        newest = synced_height(tx, self.chain)
        for rescan in rescans:
            if newest is None or rescan.height < newest:
                continue
            restoration = tx.restorations.get(rescan.swap_id)
            over = restoration is not None and restoration.state is RestorationState.DONE
            if over or not rescan.caught_up:
                return True
        return False

    def _take_event(self, tx: Transaction, event: HtlcEvent, wanted: dict[SwapId, BlockHeight]) -> None:
        swap_id = self._owner(tx, event)
        if swap_id is None or swap_id not in wanted or event.block.height <= wanted[swap_id]:
            return
        restoration = tx.restorations.get(swap_id)
        if restoration is not None and restoration.state is RestorationState.DONE:
            if _is_canonical(tx, self.chain, event.block):
                Ingest(self._store, self.chain).ingest_event(tx, event)
            return
        keep = tx.restorations.keep_event
        chain, kind = self.chain, type(event).__name__
        match event:
            case Locked():
                keep(swap_id, kind, event.block, chain=chain, tx_id=event.tx_id,
                     lock_id=event.lock_id, terms=event.terms)  # fmt: skip
            case Refunded():
                keep(swap_id, kind, event.block, chain=chain, tx_id=event.tx_id, lock_id=event.lock_id)
            case Spent():
                keep(swap_id, kind, event.block, chain=chain, tx_id=event.tx_id,
                     lock_id=event.lock_id, reason=event.reason)  # fmt: skip
            case Claimed():
                tx.secrets.put(event.preimage)
                keep(swap_id, kind, event.block, chain=chain, tx_id=event.tx_id, lock_id=event.lock_id)
            case Revealed():
                tx.secrets.put(event.preimage)
                keep(swap_id, kind, event.block, chain=chain, tx_id=event.tx_id)

    def _owner(self, tx: Transaction, event: HtlcEvent) -> SwapId | None:
        """Return the lost swap that an event belongs to: by its hashlock, else by its lock."""
        if isinstance(event, Locked):
            found = tx.restorations.by_hashlock(event.terms.hashlock)
        elif isinstance(event, Claimed | Revealed):
            found = tx.restorations.by_hashlock(event.preimage.hashlock())
        else:
            return tx.restorations.owner_of_lock(self.chain, event.lock_id)
        return found.swap_id if found else None

    def _finish(self, tx: Transaction, rescan: Rescan) -> None:
        restoration = tx.restorations.get(rescan.swap_id)
        if restoration is None:
            return
        if restoration.state is RestorationState.DONE:
            tx.restorations.advance(msgspec.structs.replace(rescan, done=True))
            return
        if all(_is_complete(tx, restoration, each) for each in tx.restorations.rescans_of(rescan.swap_id)):
            finish_restoration(tx, self._store, restoration)


def _is_complete(tx: Transaction, restoration: Restoration, rescan: Rescan) -> bool:
    """Tell whether a chain was read up to where it was when the swap was accepted, and up to its tip."""
    accepted = read_acceptance(restoration.body).heights.get(rescan.chain, BlockHeight(0))
    last = BlockRef(rescan.height, rescan.block_id, "", UnixSeconds(0))
    stands = not rescan.block_id or _is_canonical(tx, rescan.chain, last)
    return rescan.caught_up and stands and rescan.height >= accepted


def synced_height(tx: Transaction, chain: ChainId) -> BlockHeight | None:
    """Return the height of the newest stored block if it is the chain's tip, as far as its relayer knows."""
    status, newest = tx.chains.get(chain), tx.blocks.last(chain)
    if status is None or status.tip is None or newest is None or not status.healthy:
        return None
    return newest.height if newest.height >= status.tip.block.height else None


def finish_restoration(tx: Transaction, store: Store, restoration: Restoration) -> bool:
    """Store the swap with all that its chains showed, unless it has to be held; returns whether it is one."""
    acceptance = read_acceptance(restoration.body)
    events = _history(tx, acceptance)
    swap = _rebuilt(tx, acceptance, events)
    if _may_have_locked(tx, swap):
        if restoration.state is not RestorationState.HELD:
            tx.restorations.move(restoration.swap_id, RestorationState.HELD, HELD)
            log.critical("restoration_held", swap=restoration.swap_id, reason=HELD)
        return False
    _store_swap(tx, acceptance, restoration, swap)
    for seen in events:
        again = _as_chain_event(tx, acceptance, seen)
        if again is not None:
            Ingest(store, seen.chain).ingest_event(tx, again)
    apply_events(tx, swap.id)
    tx.restorations.move(swap.id, RestorationState.DONE, "restored")
    tx.unknown_locks.resolve(acceptance.hashlock, f"restored as swap {swap.id}")
    log.warning("swap_restored", swap=swap.id, state=swap.state, events=len(events))
    return True


def _may_have_locked(tx: Transaction, swap: Swap) -> bool:
    """Tell whether a destination lock may be on its way that this database does not know: not before the
    source lock was deep enough, and not once the source went back."""
    source, block = swap.source, swap.source.lock_block
    if swap.destination.lock_id or source.state in REFUNDED:
        return False
    if source.state is LegState.NONE:
        return False
    status = tx.chains.get(source.terms.chain)
    if source.state is not LegState.SEEN or block is None or status is None or status.tip is None:
        return True
    confirmations = status.tip.block.height - block.height + 1
    return confirmations + NODES_APART >= swap.policy.source.finality_depth


def _history(tx: Transaction, acceptance: Acceptance) -> list[RestoredEvent]:
    """Return what the chains showed and still show, the destination's first: with the destination lock known
    nothing is ever given back too early."""
    seen = [
        event
        for event in tx.restorations.events_of(acceptance.swap_id)
        if _is_canonical(tx, event.chain, event.block)
    ]
    first = acceptance.destination.chain
    return sorted(seen, key=lambda event: event.chain != first)


def _rebuilt(tx: Transaction, acceptance: Acceptance, events: Sequence[RestoredEvent]) -> Swap:
    """Fold the history into the swap. Without any clock: nothing is called off for being late to arrive
    here."""
    swap = acceptance.swap()
    for seen in events:
        event = _as_swap_event(tx, acceptance, seen)
        if event is not None:
            swap = transition(swap, event).swap
    return swap


def _role(acceptance: Acceptance, seen: RestoredEvent) -> LegRole:
    source = acceptance.source
    if seen.chain != source.chain:
        return LegRole.DESTINATION
    return LegRole.PAYBACK if seen.terms is not None and pays_back(source, seen.terms) else LegRole.SOURCE


def _as_swap_event(tx: Transaction, acceptance: Acceptance, seen: RestoredEvent) -> Event | None:
    role = _role(acceptance, seen)
    match seen.kind:
        case Locked.__name__ if seen.terms is not None:
            return LockSeen(role, seen.lock_id, seen.terms, seen.tx_id, seen.block)
        case Refunded.__name__:
            return RefundSeen(role, seen.lock_id, seen.tx_id, seen.block)
        case Spent.__name__:
            return SpendSeen(role, seen.lock_id, seen.tx_id, seen.block)
    preimage = tx.secrets.get(acceptance.hashlock)
    if preimage is None:
        return None
    if seen.kind == Claimed.__name__:
        return ClaimSeen(role, seen.lock_id, seen.tx_id, seen.block, preimage)
    return SecretRevealed(preimage) if seen.kind == Revealed.__name__ else None


def _as_chain_event(tx: Transaction, acceptance: Acceptance, seen: RestoredEvent) -> HtlcEvent | None:
    match seen.kind:
        case Locked.__name__ if seen.terms is not None:
            return Locked(seen.block, seen.tx_id, seen.lock_id, seen.terms)
        case Refunded.__name__:
            return Refunded(seen.block, seen.tx_id, seen.lock_id)
        case Spent.__name__:
            return Spent(seen.block, seen.tx_id, seen.lock_id, seen.reason)
    preimage = tx.secrets.get(acceptance.hashlock)
    if preimage is None:
        return None
    if seen.kind == Claimed.__name__:
        return Claimed(seen.block, seen.tx_id, seen.lock_id, preimage)
    return Revealed(seen.block, seen.tx_id, preimage)


def _store_swap(tx: Transaction, acceptance: Acceptance, restoration: Restoration, swap: Swap) -> None:
    quote_id: str | None = acceptance.quote.id
    _store_quote(tx, acceptance, restoration.client)
    meta = SwapMeta(quote_id, restoration.client, acceptance.refund_address, acceptance.recipient)
    try:
        tx.swaps.add(swap, meta)
    except DuplicateError:
        # The quote was taken by another swap since: this one is the same without it.
        tx.swaps.add(swap, msgspec.structs.replace(meta, quote_id=None))
    tx.events.append(swap, Accepted())
    if tx.acceptances.get(swap.id) is None:
        tx.acceptances.add(swap.id, restoration.body, restoration.signature)
    fee = acceptance.quote.lock_fee
    if fee is not None and restoration.client:
        tx.credits.hold(swap.id, restoration.client, fee.value)
    if not swap.destination.lock_id:
        destination = acceptance.destination
        tx.reservations.hold(destination.asset.key, acceptance.quote.most, acceptance.quote.id, None)
        tx.reservations.assign(acceptance.quote.id, swap.id)


def _store_quote(tx: Transaction, acceptance: Acceptance, client: str) -> None:
    """Store the quote as taken: what it says of the claim (`gasless`) is read from there."""
    body = acceptance.quote
    if tx.quotes.get(body.id) is None:
        tx.quotes.add(
            Quote(
                id=body.id,
                client=client,
                source_asset=body.source.key,
                destination_asset=body.destination.key,
                source_amount=body.price.source,
                destination_amount=body.price.destination,
                body=msgspec.json.encode(body).decode(),
                created_ms=body.created * 1000,
                expires_ms=body.expires * 1000,
                state=QuoteState.TAKEN,
            )
        )
        return
    try:
        tx.quotes.take(body.id)
    except ConflictError:
        return  # it has expired here; the swap was accepted all the same


def _is_canonical(tx: Transaction, chain: ChainId, block: BlockRef) -> bool:
    """Tell whether a block is on the chain as far as is known here: among the recent blocks, or below all of
    them."""
    oldest = tx.blocks.first(chain)
    below = oldest is not None and block.height < oldest.height
    return below or tx.blocks.contains(chain, block)
