"""Storing that a lock of ours was spent, and what proves how: a preimage, a refund, our own transaction."""

from __future__ import annotations

import structlog

from bridge.chains.port import Claimed, Refunded, Spent
from bridge.engine import facts
from bridge.engine.apply import apply_events
from bridge.protocol.events import SecretRevealed, SpendOrphaned, SpendSeen
from bridge.protocol.types import BlockRef, ChainId, LockId, Preimage, Purpose, Swap
from bridge.store import Transaction
from bridge.store.records import Observation, ObservedKind

log = structlog.get_logger("worker")

MAX_REASON = 200
"""Characters kept of a reason that a reader gives: it may come from a stranger."""
_SPENDS = (ObservedKind.CLAIMED, ObservedKind.REFUNDED, ObservedKind.SPENT)


def ingest_spend(
    tx: Transaction, chain: ChainId, event: Claimed | Refunded | Spent, *, refund_confirmed: bool = False
) -> bool:
    """Store a spend that was seen in a canonical block; returns whether that changed its swap.

    `refund_confirmed`: the chain, asked directly, calls the lock refunded; a refund once in doubt needs that.
    """
    lock = tx.observations.of_lock(chain, event.lock_id, ObservedKind.LOCKED)
    stored = tx.swaps.get(lock.swap_id) if lock else None
    if lock is None or stored is None:
        # A claim of a lock that is not ours may still reveal one of our secrets.
        return ingest_preimage(tx, event.preimage) if isinstance(event, Claimed) else False
    kind, happened = facts.spend(stored.swap, lock, _with_own_proof(tx, chain, stored.swap, event))
    doubted = tx.observations.of_lock(chain, event.lock_id, ObservedKind.SPENT) is not None
    if kind is ObservedKind.REFUNDED and doubted and not refund_confirmed:
        return False
    if kind is ObservedKind.SPENT:
        why = event.reason if isinstance(event, Spent) else f"reported as {type(event).__name__.lower()}"
        log.error("unproven_spend", chain=chain, swap=lock.swap_id, lock=event.lock_id, tx=event.tx_id,
                  reason=why[:MAX_REASON])  # fmt: skip
    withdrawn = () if kind is ObservedKind.SPENT else _withdraw_unproven(tx, lock, event.block)
    _observe(tx, lock, kind, event)
    changed = apply_events(tx, lock.swap_id, [*withdrawn, happened]).changed
    if changed:
        # It may have been settled while something else was believed.
        tx.observations.reopen(chain, kind, event.lock_id, event.block)
    return changed


def ingest_preimage(tx: Transaction, preimage: Preimage) -> bool:
    """Store a preimage that was published without claiming a lock of ours."""
    stored = tx.swaps.by_hashlock(preimage.hashlock())
    if stored is None:
        return False
    return apply_events(tx, stored.id, [SecretRevealed(preimage)]).changed


def spend_seen(tx: Transaction, chain: ChainId, lock_id: LockId) -> bool:
    """Tell whether the spend of a lock was seen, proved or not."""
    return any(tx.observations.of_lock(chain, lock_id, kind) for kind in _SPENDS)


# -- what a direct look has found ------------------------------------------------------------


def claimed_by_its_chain(tx: Transaction, chain: ChainId, lock_id: LockId) -> bool:
    """Store that the chain itself, asked directly, calls a lock claimed whose spend was not proved. With a
    known secret that is a proof: there is none left to find. Returns whether it changed the swap."""
    seen = tx.observations.of_lock(chain, lock_id, ObservedKind.SPENT)
    stored = tx.swaps.get(seen.swap_id) if seen else None
    preimage = tx.secrets.get(stored.swap.hashlock) if stored else None
    if seen is None or preimage is None:
        return False
    return ingest_spend(tx, chain, Claimed(seen.block, seen.tx_id, lock_id, preimage))


def stands_after_all(tx: Transaction, chain: ChainId, lock_id: LockId) -> bool:
    """Store that the chain itself, asked directly, says that a lock stands whose spend was not proved.
    Returns whether it changed the swap."""
    lock = tx.observations.of_lock(chain, lock_id, ObservedKind.LOCKED)
    return lock is not None and apply_events(tx, lock.swap_id, _withdraw_unproven(tx, lock)).changed


def doubt_refund(tx: Transaction, refund: Observation) -> bool:
    """Take back a refund that the chain, asked directly, calls something else: it proves nothing any more.
    Returns whether it changed the swap."""
    seen = tx.observations.of_lock(refund.chain, refund.lock_id, ObservedKind.REFUNDED)
    if seen is None or seen.id != refund.id:
        return False
    tx.observations.withdraw(seen.id)
    _observe(tx, seen, ObservedKind.SPENT, Spent(seen.block, seen.tx_id, seen.lock_id, ""))
    unproven = SpendSeen(seen.leg, seen.lock_id, seen.tx_id, seen.block)
    return apply_events(tx, seen.swap_id, [facts.orphaned(seen), unproven]).changed


# -- their parts -----------------------------------------------------------------------------


def _with_own_proof(
    tx: Transaction, chain: ChainId, swap: Swap, event: Claimed | Refunded | Spent
) -> Claimed | Refunded | Spent:
    """A spend that nobody can read is proved if we signed its transaction ourselves, and all that it does is
    to claim."""
    own = tx.transactions.by_tx_id(chain, event.tx_id) if isinstance(event, Spent) and event.tx_id else None
    intent = tx.intents.get(own.intent_id) if own and not own.cancels else None
    if intent is None or intent.purpose is not Purpose.CLAIM:
        return event
    preimage = tx.secrets.get(swap.hashlock)
    return event if preimage is None else Claimed(event.block, event.tx_id, event.lock_id, preimage)


def _withdraw_unproven(
    tx: Transaction, lock: Observation, block: BlockRef | None = None
) -> tuple[SpendOrphaned, ...]:
    """A lock is spent once: what is proved takes the place of what was not, wherever that was seen. `block`:
    of the proof, in which an unproven spend may stay; it leaves with its block."""
    reports = tx.observations.all_of_lock(lock.chain, lock.lock_id, ObservedKind.SPENT)
    wrong = [seen for seen in reports if seen.block != block]
    for seen in wrong:
        tx.observations.withdraw(seen.id)
    return tuple(SpendOrphaned(seen.leg, seen.lock_id, seen.block.id) for seen in wrong)


def _observe(
    tx: Transaction, lock: Observation, kind: ObservedKind, event: Claimed | Refunded | Spent
) -> None:
    tx.observations.add(
        lock.chain,
        kind,
        lock.swap_id,
        lock.leg,
        lock_id=event.lock_id,
        tx_id=event.tx_id,
        block=event.block,
        depth=lock.depth,
        needs_finalized=lock.needs_finalized,
    )
