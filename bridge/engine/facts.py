"""What an observation of a lock means to its swap: seen, orphaned, final."""

from __future__ import annotations

from collections.abc import Callable

from bridge.chains.port import Claimed, Refunded, Spent
from bridge.protocol.events import (
    ClaimFinal,
    ClaimOrphaned,
    ClaimSeen,
    Event,
    LockFinal,
    LockOrphaned,
    RefundFinal,
    RefundOrphaned,
    RefundSeen,
    SpendOrphaned,
    SpendSeen,
)
from bridge.protocol.legs import refund_is_possible
from bridge.protocol.rules import may_have_consented
from bridge.protocol.types import LegRole, LockId, Swap
from bridge.store.records import Observation, ObservedKind

_Fact = Callable[[LegRole, LockId, str], Event]

_ORPHANED: dict[ObservedKind, _Fact] = {
    ObservedKind.LOCKED: LockOrphaned,
    ObservedKind.CLAIMED: ClaimOrphaned,
    ObservedKind.REFUNDED: RefundOrphaned,
    ObservedKind.SPENT: SpendOrphaned,
}
_FINAL: dict[ObservedKind, _Fact] = {
    ObservedKind.LOCKED: LockFinal,
    ObservedKind.CLAIMED: ClaimFinal,
    ObservedKind.REFUNDED: RefundFinal,
}


def orphaned(seen: Observation) -> Event:
    """Return what it means that the block of an observation left the chain, or that it is not so."""
    return _ORPHANED[seen.kind](seen.leg, seen.lock_id, seen.block.id)


def final(seen: Observation) -> list[Event]:
    """Return what it means that an observation is final: nothing for a spend that is not proved."""
    fact = _FINAL.get(seen.kind)
    return [] if fact is None else [fact(seen.leg, seen.lock_id, seen.block.id)]


def spend(swap: Swap, lock: Observation, event: Claimed | Refunded | Spent) -> tuple[ObservedKind, Event]:
    """Return what a reported spend of one of a swap's locks proves, if anything: a claim only with a preimage
    that opens the lock, a refund only where there can have been one."""
    role, lock_id, tx_id, block = lock.leg, event.lock_id, event.tx_id, event.block
    if isinstance(event, Claimed) and event.preimage.opens(swap.hashlock):
        return ObservedKind.CLAIMED, ClaimSeen(role, lock_id, tx_id, block, event.preimage)
    consented = may_have_consented(swap)
    if isinstance(event, Refunded) and refund_is_possible(
        swap.leg(role), lock_id, block, consented=consented
    ):
        return ObservedKind.REFUNDED, RefundSeen(role, lock_id, tx_id, block)
    return ObservedKind.SPENT, SpendSeen(role, lock_id, tx_id, block)
