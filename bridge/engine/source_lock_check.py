"""What the store knows of the source lock, read back before the destination is locked (invariant 1).

The relayer of the destination has no line to the source chain. What it may rely on is what the source's own
relayer wrote: the lock as it was observed, the ring's height, and when its RPC last answered.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.rules import may_counterlock
from bridge.protocol.types import BlockRef, ChainId, ChainTiming, LegRole, Swap
from bridge.store import Transaction
from bridge.store.records import ChainStatus, Observation, ObservedKind

STALE_MS = 60_000
"""A chain whose relayer has not heard of it for this long is not relied on."""


class Verdict(msgspec.Struct, frozen=True):
    """Why the lock may not be sent, or None. `hold`: waiting may help; otherwise take it back."""

    refusal: Refusal | None
    hold: bool = False


def confirmations(scanned: int, block: BlockRef) -> int:
    """Return the confirmations of a block when the ring has come to height `scanned`: 1 in the newest."""
    return scanned - block.height + 1


def is_final(status: ChainStatus, seen: Observation) -> bool:
    """Tell whether what was seen in a block is final: deep enough, and where the amount demands it in a block
    that the chain itself calls final."""
    if confirmations(status.scanned, seen.block) < seen.depth:
        return False
    if not seen.needs_finalized:
        return True
    return status.finalized is not None and seen.block.height <= status.finalized


def timing_of(swap: Swap, role: LegRole) -> ChainTiming:
    """Return the timing of a leg's chain under which the swap was sold."""
    return swap.policy.source if role is LegRole.SOURCE else swap.policy.destination


def moved_on(status: ChainStatus, now_ms: int) -> int:
    """Return a chain's time, Unix seconds, moved on by what has passed here since its tip was first seen:
    a halted chain comes back with a clock that has not stood still."""
    return status.time + max(0, now_ms - status.tip_ms) // 1000


def may_lock(tx: Transaction, swap: Swap) -> Verdict:
    """Decide, from the store alone, whether the destination may be locked at this moment."""
    refusal = may_counterlock(swap)
    if refusal is not None:
        withdrawn = refusal.code in {RefusalCode.SOURCE_NOT_FINAL, RefusalCode.SOURCE_SPENT}
        return Verdict(refusal, hold=not (refusal.permanent or withdrawn))
    unknown = RefusalCode.CHAIN_TIME_UNKNOWN
    times: dict[ChainId, int] = {}
    for chain in (swap.source.terms.chain, swap.destination.terms.chain):
        status = tx.chains.get(chain)
        if status is None or not status.healthy or tx.now_ms - status.seen_ms > STALE_MS:
            return Verdict(Refusal(unknown, f"{chain} cannot be relied on now"), hold=True)
        times[chain] = moved_on(status, tx.now_ms)
    return _check_source(tx, swap, times)


def _check_source(tx: Transaction, swap: Swap, times: Mapping[ChainId, int]) -> Verdict:
    source = swap.source
    chain = source.terms.chain
    lock = tx.observations.of_lock(chain, source.lock_id, ObservedKind.LOCKED)
    status = tx.chains.get(chain)
    if lock is None or lock.terms != source.terms or status is None:
        return Verdict(Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source lock is not on its chain"))
    if not is_final(status, lock):
        return Verdict(Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source lock is not final"))
    for kind in (ObservedKind.CLAIMED, ObservedKind.REFUNDED):
        if tx.observations.of_lock(chain, source.lock_id, kind) is not None:
            return Verdict(Refusal(RefusalCode.SOURCE_SPENT, f"the source lock was {kind.value}"))
    # Only the chains' own clocks can abandon a swap; an estimate of them can make it wait.
    return Verdict(may_counterlock(swap, times), hold=True)
