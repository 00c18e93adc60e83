"""What the store knows of the source lock, read back before the destination is locked (invariant 1).

The relayer of the destination has no connection to the source chain. It relies on what the source's own
relayer stored: the lock as it was observed, the height up to which blocks were scanned, and when its RPC last
answered. `bridge.protocol.rules` decides what follows from that.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.protocol.rules import SourceLockEvidence
from bridge.protocol.timelocks import joint_depth, patience
from bridge.protocol.types import (
    Amount,
    BlockHeight,
    BlockRef,
    ChainId,
    ChainTiming,
    LegRole,
    LockId,
    Swap,
    SwapId,
    UnixSeconds,
)
from bridge.store import Transaction
from bridge.store.records import ChainStatus, Observation, ObservedKind

STALE_MS = 60_000
"""A chain whose RPC last answered its relayer longer ago than this is not relied on."""


def confirmations(scanned: int, block: BlockRef) -> int:
    """Return the confirmations of a block when the scan has reached height `scanned`: 1 in the newest."""
    return scanned - block.height + 1


def is_final(status: ChainStatus, seen: Observation) -> bool:
    """Tell whether what was seen in a block is final: deep enough, and where the amount demands it in a block
    that the chain itself calls final."""
    if confirmations(status.scanned, seen.block) < seen.depth:
        return False
    return not seen.needs_finalized or is_called_final(status, seen)


def is_called_final(status: ChainStatus, seen: Observation) -> bool:
    """Tell whether the chain itself calls the block final in which something was seen."""
    finalized = status.tip.finalized if status.tip else None
    return finalized is not None and seen.block.height <= finalized


def timing_of(swap: Swap, role: LegRole) -> ChainTiming:
    """Return the timing of a leg's chain under which the swap was sold."""
    return swap.policy.destination if role is LegRole.DESTINATION else swap.policy.source


def moved_on(status: ChainStatus, now_ms: int) -> UnixSeconds:
    """Return a chain's time, Unix seconds, plus the time since its tip was first seen: when a halted chain
    resumes, its clock jumps ahead by as much."""
    return UnixSeconds(status.time + max(0, now_ms - status.tip_ms) // 1000)


Statuses = Mapping[ChainId, ChainStatus | None]
"""The chains of one swap as their relayers last saw them; None where no relayer has reported."""


def statuses_of(tx: Transaction, swap: Swap) -> Statuses:
    """Read what is stored of both chains of a swap."""
    chains = (swap.source.terms.chain, swap.destination.terms.chain)
    return {chain: tx.chains.get(chain) for chain in chains}


def unreliable_chain(statuses: Statuses, now_ms: int) -> ChainId | None:
    """Return a chain of the swap about which the store knows nothing recent, None if there is none."""
    for chain, status in statuses.items():
        if status is None or not status.healthy or status.is_ahead(now_ms):
            return chain
        if now_ms - status.seen_ms > STALE_MS:
            return chain
    return None


def shallow_together(tx: Transaction, swap: Swap, evidence: SourceLockEvidence) -> str:
    """Return why a source lock is not deep enough yet for all that one reorganisation would undo with it, ""
    if it is.

    A reorganisation that removes a lock with c confirmations removes every lock with c or fewer: as many
    swaps as were locked for them are lost at once, each of them deep enough for its own amount."""
    timing, terms = swap.policy.source, swap.source.terms
    lock = swap.source.lock_block
    if lock is None or not (timing.value_per_block or timing.depth_steps):
        return ""
    at_risk = tx.swaps.at_risk(terms.asset.key, swap.id)
    others = [amount for amount, height in at_risk if height >= lock.height]
    needed = joint_depth(timing, terms.amount, Amount(sum(others)))
    if evidence.confirmations >= needed:
        return ""
    return (
        f"one reorganisation would undo this lock and {len(others)} others: it has {evidence.confirmations} "
        f"confirmations, {needed} are waited for"
    )


def not_covered(tx: Transaction, swap: Swap, statuses: Statuses, kept: Mapping[str, Amount]) -> str:
    """Return why the inventory does not suffice for a swap whose quote held none, "" if it does: who was
    first is served first. What the chain itself says of the balance decides in the end."""
    asset = swap.destination.terms.asset.key
    covered = tx.reservations.covered(swap.id, asset)
    status = statuses[swap.destination.terms.chain]
    balance = status.balances.get(asset) if status is not None else None
    if covered is None or balance is None:
        return ""
    needed, before = covered
    if needed + before + kept.get(asset, 0) <= balance:
        return ""
    return f"the inventory of {asset} is promised to others"


def halted_chain(statuses: Statuses, swap: Swap, now_ms: int) -> ChainId | None:
    """Return a chain of the swap that seems to stand still, None if both make blocks. Nothing is locked
    then: while one of the clocks stands, the other one uses up the time that the deadlines keep between
    them."""
    for role in LegRole:
        timing, chain = timing_of(swap, role), swap.leg(role).terms.chain
        status = statuses[chain]
        if status is None or status.tip_age(now_ms) > patience(timing.block_interval, timing.inclusion_p99):
            return chain
    return None


def unread_chain(statuses: Statuses, chain: ChainId, now_ms: int) -> ChainId | None:
    """Return the chain if it is not known to have been read up to its tip just now, None if it was."""
    status = statuses[chain]
    if unreliable_chain({chain: status}, now_ms) is not None or status is None or status.tip is None:
        return chain
    return chain if status.scanned < status.tip.block.height else None


def estimated_times(statuses: Statuses, now_ms: int) -> Mapping[ChainId, UnixSeconds]:
    """Return the times that both chains may have reached by now, Unix seconds (see `moved_on`)."""
    return {chain: moved_on(status, now_ms) for chain, status in statuses.items() if status is not None}


def source_lock_evidence(tx: Transaction, swap: Swap, statuses: Statuses) -> SourceLockEvidence:
    """Return what the source's relayer stored of the source lock."""
    chain, lock_id = swap.source.terms.chain, swap.source.lock_id
    lock = tx.observations.of_lock(chain, lock_id, ObservedKind.LOCKED)
    status = statuses[chain]
    if lock is None or status is None:
        return SourceLockEvidence(None)
    spent = _spent(tx, chain, lock_id)
    return SourceLockEvidence(
        lock.terms,
        confirmations(status.scanned, lock.block),
        # What was told as final stays so while its block does: an endpoint may lose sight of `finalized`.
        finalized=lock.settled or is_called_final(status, lock),
        spent="" if spent is None else spent.value,
        claimed=spent is ObservedKind.CLAIMED,
    )


def _spent(tx: Transaction, chain: ChainId, lock_id: LockId) -> ObservedKind | None:
    """Return how a lock was spent, None if it stands. A refund or an unproven spend beside a claim is a
    contradiction, and refuses; an unproven spend in the block of the claim is that claim, seen before it was
    proved."""
    claim = tx.observations.of_lock(chain, lock_id, ObservedKind.CLAIMED)
    if tx.observations.of_lock(chain, lock_id, ObservedKind.REFUNDED) is not None:
        return ObservedKind.REFUNDED
    unproven = tx.observations.all_of_lock(chain, lock_id, ObservedKind.SPENT)
    if any(claim is None or seen.block != claim.block for seen in unproven):
        return ObservedKind.SPENT
    return None if claim is None else ObservedKind.CLAIMED


def lock_not_before(tx: Transaction, swap_id: SwapId, role: LegRole) -> BlockHeight | None:
    """Return a height of its chain at or below which our lock of a swap cannot be, None if that is not known:
    the first height heard of the destination's chain, for paying back that of the source's lock, each less
    what a reorg can undo."""
    stored = tx.swaps.get(swap_id)
    if stored is None:
        return None
    since, block = stored.swap.destination_since, stored.swap.source.lock_block
    if role is LegRole.PAYBACK:
        since = block.height if block else None
    if since is None:
        return None
    return BlockHeight(max(0, since - timing_of(stored.swap, role).finality_depth))
