"""Folding what a chain shows into a leg: which lock it follows, and how far that lock has come.

Nothing here decides anything. Each function returns the leg it was given when the fact is not news, so that a
repeated event changes nothing (invariant 7).
"""

from __future__ import annotations

from typing import TypeVar

from msgspec.structs import replace

from bridge.protocol.events import (
    ClaimFinal,
    ClaimOrphaned,
    ClaimSeen,
    LockFinal,
    LockOrphaned,
    LockSeen,
    RefundFinal,
    RefundOrphaned,
    RefundSeen,
    SpendOrphaned,
    SpendSeen,
)
from bridge.protocol.types import (
    BlockRef,
    CounterlockRange,
    Leg,
    LegRole,
    LegState,
    LockId,
    LockTerms,
    StrayLock,
    TxId,
)

ChainFact = (
    LockFinal
    | LockOrphaned
    | ClaimSeen
    | ClaimFinal
    | ClaimOrphaned
    | RefundSeen
    | RefundFinal
    | RefundOrphaned
    | SpendSeen
    | SpendOrphaned
)
"""What can happen to a lock once it was seen."""

UNLOCKED = frozenset({LegState.NONE, LegState.INTENT})
OPEN = frozenset({LegState.SEEN, LegState.FINAL})
"""On chain and unspent."""
CLAIMED = frozenset({LegState.CLAIM_SEEN, LegState.CLAIM_FINAL})
REFUNDED = frozenset({LegState.REFUND_SEEN, LegState.REFUND_FINAL})
UNPROVEN = frozenset({LegState.SPENT_UNKNOWN})
"""Spent, by whom and how nobody can prove."""
SPENT = CLAIMED | REFUNDED | UNPROVEN
SPENT_FINAL = frozenset({LegState.CLAIM_FINAL, LegState.REFUND_FINAL})
RESOLVED = frozenset({LegState.NONE, LegState.CLAIM_FINAL, LegState.REFUND_FINAL})
"""Nothing of this lock is left on chain that could still move."""

MAX_STRAYS = 4
"""How many stray locks a swap keeps track of; more are left to their sender's own refund, so that nobody can
grow a swap without bound or make the bridge pay for refunds without end."""

MAX_STRAYS_OF_OTHERS = 2
"""How many of them may be of others than the user: strangers cannot take the user's places."""

DUST_SHARE = 16
"""A stray lock of less than this part of the leg's amount is dust. The leg's amount is known to be worth its
fees many times over; dust may be worth less than it costs to give back."""

Followed = TypeVar("Followed", Leg, StrayLock)


def same_terms(expected: LockTerms, found: LockTerms) -> bool:
    """Tell whether two locks have exactly the same terms.

    An asset is known by its chain and contract; its symbol and decimals are only a name for people.
    """
    return (
        found.chain == expected.chain
        and found.contract == expected.contract
        and found.sender == expected.sender
        and found.recipient == expected.recipient
        and same_asset(expected, found)
        and found.amount == expected.amount
        and found.hashlock == expected.hashlock
        and found.deadline == expected.deadline
        and found.lane == expected.lane
    )


def admits(left_open: CounterlockRange, expected: LockTerms, found: LockTerms) -> bool:
    """Tell whether a lock is one that the range allows: everything but its amount and its deadline is as
    expected."""
    return (
        left_open.minimum <= found.amount <= left_open.maximum
        and found.deadline <= left_open.latest
        and same_terms(replace(expected, amount=found.amount, deadline=found.deadline), found)
    )


def same_asset(expected: LockTerms, found: LockTerms) -> bool:
    """Tell whether two locks hold the same asset."""
    return found.asset.chain == expected.asset.chain and found.asset.contract == expected.asset.contract


def is_dust(expected: LockTerms, found: LockTerms) -> bool:
    """Tell whether a lock is too small to be given back at the bridge's expense."""
    return found.amount * DUST_SHARE < expected.amount


def lock_seen(leg: Leg, event: LockSeen, *, over: bool = False) -> Leg:
    """Fold the sight of a lock: the leg follows it if its terms are the expected ones and it follows no
    other lock; otherwise it is kept as a stray, or ignored if it is none of our business. `over`: the legs
    need nothing more of the bridge, so a stranger's lock is none of its business either.
    """
    for index, stray in enumerate(leg.strays):
        if stray.lock_id == event.lock_id:
            return _with_stray(leg, index, _seen_again(stray, event))
    if same_terms(leg.terms, event.terms):
        if leg.state in UNLOCKED:
            return replace(
                leg,
                state=LegState.SEEN,
                lock_id=event.lock_id,
                lock_tx=event.tx_id,
                lock_block=event.block,
                lock_final=False,
                spend_tx="",
                spend_block=None,
            )
        if leg.lock_id == event.lock_id:
            return _seen_again(leg, event)
    if _is_ours(leg, event.terms) and _is_kept(leg, event.terms, over):
        stray = StrayLock(
            lock_id=event.lock_id,
            terms=event.terms,
            lock_tx=event.tx_id,
            lock_block=event.block,
            # A token that the swap is not about may be hostile, and dust costs more than it is worth:
            # returning them is an operator's decision.
            give_back=same_asset(leg.terms, event.terms) and not is_dust(leg.terms, event.terms),
        )
        return replace(leg, strays=(*leg.strays, stray))
    return leg


def _is_kept(leg: Leg, terms: LockTerms, over: bool) -> bool:
    """Tell whether there is a place for a stray lock. The user's own always has a better claim to one: what
    is not worth giving back, or comes when all is over, is kept only if it is the user's."""
    if len(leg.strays) >= MAX_STRAYS:
        return False
    if terms.sender == leg.terms.sender:
        return True
    worth_it = same_asset(leg.terms, terms) and not is_dust(leg.terms, terms)
    others = sum(stray.terms.sender != leg.terms.sender for stray in leg.strays)
    return worth_it and not over and others < MAX_STRAYS_OF_OTHERS


def refund_is_possible(leg: Leg, lock_id: LockId, block: BlockRef, *, consented: bool) -> bool:
    """Tell whether a refund in `block` can have happened at all: from the deadline on, or with the consent of
    the recipient. `consented`: the bridge has agreed to give the leg's own source lock back.

    Nobody but the bridge can agree to an early refund of a source lock. A destination lock is the bridge's
    own: it never asks its user for an early refund, so one that is reported before the deadline is not
    believed. The block's time is at or after the clock that its chain compared with the deadline, on every
    family: a real refund is never doubted (docs/decisions/0047-refunds-before-the-deadline.md).
    """
    for stray in leg.strays:
        if stray.lock_id == lock_id:
            agreed = leg.role is LegRole.SOURCE and stray.give_back
            return agreed or block.time >= stray.terms.deadline
    return (leg.role is LegRole.SOURCE and consented) or block.time >= leg.terms.deadline


def apply_fact(leg: Leg, fact: ChainFact, *, consented: bool = False) -> Leg:
    """Fold a fact about one lock; facts about locks that the leg does not know are ignored. `consented`: see
    `refund_is_possible`."""
    if isinstance(fact, RefundSeen) and not refund_is_possible(
        leg, fact.lock_id, fact.block, consented=consented
    ):
        fact = SpendSeen(fact.leg, fact.lock_id, fact.tx_id, fact.block)
    for index, stray in enumerate(leg.strays):
        if stray.lock_id == fact.lock_id:
            return _with_stray(leg, index, _apply(stray, fact))
    if leg.lock_id and leg.lock_id == fact.lock_id:
        followed = _apply(leg, fact)
        if followed is leg:
            return leg
        if leg.role is not LegRole.SOURCE and followed.state is LegState.NONE:
            # Our transaction left the chain but not the world: it may be included again.
            followed = replace(followed, state=LegState.INTENT)
        if followed.trouble and followed.state in CLAIMED | REFUNDED:
            followed = replace(followed, trouble="")
        return followed
    return leg


def _is_ours(leg: Leg, terms: LockTerms) -> bool:
    """A stray concerns us if it is in our contract and we could give it back, or it holds our own money."""
    expected = leg.terms
    if leg.role is LegRole.PAYBACK:
        return False
    if leg.role is LegRole.SOURCE:
        party = terms.recipient == expected.recipient
    else:
        party = terms.sender == expected.sender
    return (
        party
        and terms.chain == expected.chain
        and terms.contract == expected.contract
        and terms.hashlock == expected.hashlock
        and terms.amount > 0
    )


def _with_stray(leg: Leg, index: int, stray: StrayLock) -> Leg:
    if stray is leg.strays[index]:
        return leg
    return replace(leg, strays=(*leg.strays[:index], stray, *leg.strays[index + 1 :]))


def _is_newer(recorded: BlockRef | None, block: BlockRef) -> bool:
    """Without word of a reorg, only a higher block is news: anything else is a replay of what was removed."""
    return recorded is None or block.height > recorded.height


def _is_about(recorded: BlockRef | None, block_id: str) -> bool:
    return not block_id or (recorded is not None and recorded.id == block_id)


def _seen_again(lock: Followed, event: LockSeen) -> Followed:
    """The same lock, included again. A lock that was spent is not followed a second time."""
    if lock.state in SPENT:
        return lock
    if lock.state in OPEN and not _is_newer(lock.lock_block, event.block):
        return lock
    return replace(lock, state=LegState.SEEN, lock_tx=event.tx_id, lock_block=event.block, lock_final=False)


def _apply(lock: Followed, fact: ChainFact) -> Followed:
    match fact:
        case LockFinal():
            if lock.state in UNLOCKED or lock.lock_final or not _is_about(lock.lock_block, fact.block_id):
                return lock
            state = LegState.FINAL if lock.state is LegState.SEEN else lock.state
            return replace(lock, state=state, lock_final=True)
        case LockOrphaned():
            if lock.state in UNLOCKED or not _is_about(lock.lock_block, fact.block_id):
                return lock
            return replace(
                lock,
                state=LegState.NONE,
                lock_block=None,
                lock_final=False,
                spend_tx="",
                spend_block=None,
            )
        case ClaimSeen():
            return _spent(lock, LegState.CLAIM_SEEN, fact.tx_id, fact.block)
        case RefundSeen():
            return _spent(lock, LegState.REFUND_SEEN, fact.tx_id, fact.block)
        case SpendSeen():
            if lock.state in CLAIMED:  # what is proved is not taken back by what is not
                return lock
            return _spent(lock, LegState.SPENT_UNKNOWN, fact.tx_id, fact.block)
        case ClaimFinal():
            return _spend_final(lock, LegState.CLAIM_SEEN, LegState.CLAIM_FINAL, fact.block_id)
        case RefundFinal():
            return _spend_final(lock, LegState.REFUND_SEEN, LegState.REFUND_FINAL, fact.block_id)
        case ClaimOrphaned():
            return _unspent(lock, CLAIMED, fact.block_id)
        case RefundOrphaned():
            # Also of a refund that was not believed.
            return _unspent(lock, REFUNDED | UNPROVEN, fact.block_id)
        case SpendOrphaned():
            return _unspent(lock, UNPROVEN, fact.block_id)


def _spent(lock: Followed, state: LegState, tx_id: TxId, block: BlockRef) -> Followed:
    """A spend was seen. It may replace another one that is not final (then the other was orphaned), and the
    proof of one takes the place of an unproven one: a refund's in the same block or a higher one, a claim's
    anywhere, since its preimage proves itself."""
    if lock.state in UNLOCKED or lock.state in SPENT_FINAL:
        return lock
    if lock.state is LegState.SPENT_UNKNOWN and state is LegState.CLAIM_SEEN:
        return replace(lock, state=state, spend_tx=tx_id, spend_block=block)
    if not _is_newer(lock.spend_block, block) and not _proves(lock, state, block):
        return lock
    return replace(lock, state=state, spend_tx=tx_id, spend_block=block)


def _proves(lock: Followed, state: LegState, block: BlockRef) -> bool:
    """Tell whether a refund that was seen in `block` is the one that nobody could prove before."""
    return (
        lock.state is LegState.SPENT_UNKNOWN
        and state is LegState.REFUND_SEEN
        and lock.spend_block is not None
        and block.id == lock.spend_block.id
    )


def _spend_final(lock: Followed, seen: LegState, final: LegState, block_id: str) -> Followed:
    if lock.state is not seen or not _is_about(lock.spend_block, block_id):
        return lock
    return replace(lock, state=final, lock_final=True)


def _unspent(lock: Followed, states: frozenset[LegState], block_id: str) -> Followed:
    if lock.state not in states or not _is_about(lock.spend_block, block_id):
        return lock
    state = LegState.FINAL if lock.lock_final else LegState.SEEN
    return replace(lock, state=state, spend_tx="", spend_block=None)
