"""What must, may and must not be done with a swap: pure predicates over the swap alone.

Each rule reads the legs, never the public status. See docs/swap-protocol.md for the reasons in prose and
docs/decisions/0040-transition.md for the choices.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.protocol import timelocks
from bridge.protocol.effects import (
    CancelLock,
    Effect,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.legs import (
    CLAIMED,
    OPEN,
    REFUNDED,
    RESOLVED,
    SPENT_FINAL,
    UNLOCKED,
    UNPROVEN,
    admits,
    refund_is_possible,
    same_terms,
)
from bridge.protocol.payback import is_paid_back, may_pay_back, must_claim_payback, owes_payback
from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.types import (
    Abandonment,
    ChainId,
    Leg,
    LegRole,
    LegState,
    LockTerms,
    Preimage,
    StrayLock,
    Swap,
    UnixSeconds,
)


class SourceLockEvidence(msgspec.Struct, frozen=True):
    """What was read back of the source lock, apart from what the events said.

    `terms`: of the lock as it was seen in a canonical block, None if it was seen in none. `confirmations`: 1
    in the newest block. `finalized`: the chain itself calls its block final. `spent`: how it was spent, in a
    word, "" if it stands. `claimed`: with the preimage; if the swap knows, the bridge has been paid and owes
    the destination (`is_committed`).
    """

    terms: LockTerms | None
    confirmations: int = 0
    finalized: bool = False
    spent: str = ""
    claimed: bool = False


def source_time(swap: Swap) -> UnixSeconds | None:
    """Return the newest time heard of the source chain."""
    return swap.times.get(swap.source.terms.chain)


def destination_time(swap: Swap) -> UnixSeconds | None:
    """Return the newest time heard of the destination chain."""
    return swap.times.get(swap.destination.terms.chain)


def deadline_passed(swap: Swap, leg: Leg) -> bool:
    """Tell whether a leg may be refunded by its chain's newest time."""
    now = swap.times.get(leg.terms.chain)
    return now is not None and now >= leg.terms.deadline


def is_late(swap: Swap) -> bool:
    """Tell whether the source's lock was included after its window."""
    block = swap.source.lock_block
    return block is not None and block.time > swap.policy.lock_by


def is_expired(swap: Swap) -> bool:
    """Tell whether the window to lock is over so long that no lock within it can appear any more."""
    now = source_time(swap)
    return now is not None and now > timelocks.expiry_time(swap.policy)


def must_claim_source(swap: Swap) -> bool:
    """The secret is known, the source is unspent, and the destination was or may yet be taken.

    It never depends on deadlines passed, failures or operators. While the destination is open, a secret that
    the user only shared with us waits until the destination is claimed for them, at most until the source's
    time falls under the claim budget; so does one found when our own refund of the destination may be on its
    way, lest we take both legs. Never while the destination is safely ours: then the source goes back.

    A destination whose spend is unproven counts as taken. A source whose spend is unproven is tried all the
    same where it may be ours: the chain refuses it if it is spent.
    """
    source, destination = swap.source.state, swap.destination
    if not swap.secret_known or source not in OPEN | UNPROVEN:
        return False
    if destination.state in CLAIMED | UNPROVEN:
        return True
    if destination.state in {LegState.NONE, LegState.REFUND_FINAL}:
        return False
    if source in UNPROVEN and (destination.state is LegState.INTENT or not must_be_claimed(swap)):
        return False
    now = source_time(swap)
    if now is not None and now >= timelocks.latest_claim_start(swap.policy, swap.source.terms.deadline):
        return True
    if destination.state is LegState.REFUND_SEEN or swap.refund_begun:
        return False
    was_locked = destination.lock_id != ""
    return swap.secret_public and was_locked


def must_be_claimed(swap: Swap) -> bool:
    """Tell whether the source was spent, without proof, so early that only a claim can have spent it: nobody
    but the bridge can agree to a refund before the deadline, and it has not."""
    source = swap.source
    return (
        source.state in UNPROVEN
        and source.spend_block is not None
        and not refund_is_possible(
            source, source.lock_id, source.spend_block, consented=may_have_consented(swap)
        )
    )


def must_claim_destination(swap: Swap) -> bool:
    """The secret is known and the bridge is paid or can be: the user gets the destination, by our hand if not
    by theirs."""
    return (
        swap.secret_known
        and swap.destination.state in OPEN
        and swap.source.lock_final
        and (swap.source.state is LegState.FINAL or swap.source.state in CLAIMED)
    )


def must_refund_destination(swap: Swap) -> bool:
    """The destination is past its deadline, and no known secret earns the bridge the source for it.

    A source whose spend is unproven, but which only a claim can have spent, keeps the destination where it
    is: it is neither taken back nor given away before one is proved.
    """
    earned = swap.source.state in OPEN | CLAIMED or must_be_claimed(swap)
    paid = swap.secret_known and earned
    return swap.destination.state in OPEN and deadline_passed(swap, swap.destination) and not paid


def must_give_source_back(swap: Swap) -> bool:
    """The user's lock stands and the destination is safely ours or can never be locked (invariant 4)."""
    return swap.source.state in OPEN and _destination_is_ours(swap)


def _destination_is_ours(swap: Swap) -> bool:
    never_locked = swap.destination.state is LegState.NONE and swap.abandoned is not None
    return never_locked or swap.destination.state is LegState.REFUND_FINAL


def may_have_consented(swap: Swap) -> bool:
    """Tell whether the bridge may have agreed to a refund of the source before its deadline.

    Its consent is stored before it is given. But a database may have been put back to an earlier time, and
    know nothing of it. With the destination back for good, or never to be locked, consent was due or would
    be, and nothing can be lost by believing in it: a refund that the chain confirms then ends the swap. A
    swap that was called off only because its source is spent never came to that.
    """
    if swap.cooperative_refund or swap.destination.state is LegState.REFUND_FINAL:
        return True
    return _destination_is_ours(swap) and swap.abandoned is not Abandonment.SPENT


def is_committed(swap: Swap) -> bool:
    """The bridge has been paid or is about to be: the destination lock is owed to the user."""
    return swap.source.state in CLAIMED or (swap.source.state in OPEN and must_claim_source(swap))


def may_counterlock(swap: Swap, now: Mapping[ChainId, UnixSeconds] | None = None) -> Refusal | None:
    """Decide invariant 1: may the destination be locked now? To be asked when planning, signing and sending.

    `now` are newer chain times (Unix seconds) than the swap has heard of, if any. This function only knows
    what the events said: what was read back of the source lock is for `check_source_lock`.
    """
    source, destination = swap.source, swap.destination
    if destination.state not in UNLOCKED:
        return Refusal(RefusalCode.ALREADY_LOCKED, "the destination is locked already", permanent=True)
    if swap.abandoned is not None:
        return Refusal(
            RefusalCode.ABANDONED, f"the swap was abandoned: {swap.abandoned.value}", permanent=True
        )
    if not swap.accepted:
        return Refusal(RefusalCode.NOT_ACCEPTED, "the quote was not accepted")
    if source.state in REFUNDED:
        return Refusal(RefusalCode.SOURCE_SPENT, "the source went back to the user")
    if source.state in UNPROVEN:
        return Refusal(RefusalCode.SOURCE_SPENT, "the source was spent, and nobody can prove how")
    if not source.lock_final or source.state in UNLOCKED:
        return Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source lock is not final")
    if is_late(swap):
        return Refusal(
            RefusalCode.LOCK_LATE,
            f"the source was locked after {swap.policy.lock_by}, the end of its window",
            permanent=True,
        )
    return _check_timelocks(swap, now)


def check_source_lock(swap: Swap, evidence: SourceLockEvidence) -> Refusal | None:
    """Hold invariant 1 against what was read back of the source lock: why the destination may not be locked,
    although the events said that it may."""
    if evidence.terms != swap.source.terms:
        return Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source lock is not on its chain")
    if evidence.confirmations < swap.policy.source.finality_depth:
        return Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source lock is not deep enough")
    if swap.policy.source.needs_finalized and not evidence.finalized:
        return Refusal(RefusalCode.SOURCE_NOT_FINAL, "the source chain does not call the lock final yet")
    paid = evidence.claimed and swap.source.state in CLAIMED
    if evidence.spent and not paid:
        return Refusal(RefusalCode.SOURCE_SPENT, f"the source lock was {evidence.spent}")
    return None


def withdraws_counterlock(refusal: Refusal) -> bool:
    """Tell whether a destination lock that was planned or signed must now be kept from landing. Otherwise
    waiting may turn the refusal into a yes, and what was signed may stay."""
    return refusal.permanent or refusal.code in {RefusalCode.SOURCE_NOT_FINAL, RefusalCode.SOURCE_SPENT}


def _check_timelocks(swap: Swap, now: Mapping[ChainId, UnixSeconds] | None = None) -> Refusal | None:
    newest = dict(swap.times)
    for chain, time in (now or {}).items():
        newest[chain] = max(time, newest.get(chain, time))
    now_source = newest.get(swap.source.terms.chain)
    now_destination = newest.get(swap.destination.terms.chain)
    if now_source is None or now_destination is None:
        return Refusal(
            RefusalCode.CHAIN_TIME_UNKNOWN, "the time of a chain is unknown", hint="wait for its next block"
        )
    return timelocks.check_counterlock(
        swap.policy,
        source_deadline=swap.source.terms.deadline,
        destination_deadline=swap.destination.terms.deadline,
        now_source=now_source,
        now_destination=now_destination,
    )


def must_abandon(swap: Swap) -> Abandonment | None:
    """Return why the destination is never to be locked from now on, if there is such a reason."""
    source, destination = swap.source.state, swap.destination.state
    if swap.abandoned is not None or destination not in UNLOCKED:
        return None
    if source in CLAIMED and destination is LegState.NONE:
        # The bridge was paid. If it can never be allowed to lock, it pays the source's amount back.
        refusal = may_counterlock(swap)
        if refusal is not None and refusal.permanent:
            return Abandonment.LATE if is_late(swap) else Abandonment.TIMELOCK
        return None
    if is_committed(swap):
        return None
    if source in REFUNDED | UNPROVEN:
        return Abandonment.SPENT
    if source in OPEN and is_late(swap):
        return Abandonment.LATE
    if source in OPEN or destination is LegState.INTENT:
        refusal = _check_timelocks(swap)
        if refusal is not None and refusal.permanent:
            return Abandonment.TIMELOCK
    if source is LegState.NONE and destination is LegState.NONE and is_expired(swap):
        return Abandonment.EXPIRED
    return None


def may_share_secret(swap: Swap, preimage: Preimage) -> Refusal | None:
    """Decide whether the bridge takes a user's preimage to claim the destination for them.

    It is refused where the user would give the secret away and get nothing: before the destination lock is
    final, and once it went back to the bridge or a refund of ours may be on its way. Sharing the right
    preimage a second time is accepted.
    """
    if not preimage.opens(swap.hashlock):
        return Refusal(
            RefusalCode.WRONG_PREIMAGE,
            "the preimage does not open the hashlock of this swap",
            hint="look up the preimage in the recovery file of this swap",
            permanent=True,
        )
    return None if swap.secret_shared else too_early_or_late(swap)


def too_early_or_late(swap: Swap) -> Refusal | None:
    """Tell why a user who now gives the bridge the preimage would give it away and get nothing; None if it is
    time for it."""
    match swap.destination.state:
        case LegState.NONE | LegState.INTENT:
            return Refusal(
                RefusalCode.NO_DESTINATION_LOCK,
                "the destination is not locked",
                hint="keep the secret to yourself until the bridge's lock is final",
            )
        case LegState.SEEN:
            return Refusal(
                RefusalCode.DESTINATION_NOT_FINAL,
                "the destination lock is not final yet",
                hint="keep the secret to yourself and try again after more confirmations",
            )
        case LegState.REFUND_SEEN | LegState.REFUND_FINAL:
            return Refusal(
                RefusalCode.DESTINATION_REFUNDED,
                "the destination lock went back to the bridge",
                hint="keep the secret to yourself; the source is given back to you",
            )
        case LegState.CLAIM_SEEN | LegState.CLAIM_FINAL:
            return Refusal(RefusalCode.ALREADY_CLAIMED, "the destination was claimed already")
        case LegState.SPENT_UNKNOWN:
            return Refusal(
                RefusalCode.DESTINATION_UNCLEAR,
                "the destination lock was spent, and the bridge cannot prove how",
                hint="if you have claimed it, nothing is left to do; otherwise keep the secret to yourself",
            )
        case LegState.FINAL:
            if not swap.refund_begun:
                return None
            return Refusal(
                RefusalCode.DESTINATION_REFUNDED,
                "the deadline has passed and the bridge is refunding the destination",
                hint="keep the secret to yourself; the source is given back to you",
                permanent=True,
            )


def is_done(swap: Swap) -> bool:
    """Tell whether the legs need nothing more of the bridge: spent and final, or never to be funded."""
    source, destination = swap.source.state, swap.destination.state
    if owes_payback(swap):
        return is_paid_back(swap)
    if destination is LegState.NONE:
        return swap.abandoned is not None and source in {LegState.NONE, LegState.REFUND_FINAL}
    if destination is LegState.REFUND_FINAL:
        return source in RESOLVED
    return destination is LegState.CLAIM_FINAL and source in SPENT_FINAL


def second_lock_is_out(swap: Swap) -> bool:
    """Tell whether a second lock of ours with the destination's own terms is left on chain, or with others
    that we may have decided on in a database that is lost. Other stray locks keep no swap open: their makers
    decide about their terms, and the swap is not about them."""
    destination, left_open = swap.destination, swap.policy.counterlock

    def is_ours(terms: LockTerms) -> bool:
        return same_terms(destination.terms, terms) or (
            left_open is not None and admits(left_open, destination.terms, terms)
        )

    return any(stray.state not in RESOLVED and is_ours(stray.terms) for stray in destination.strays)


def is_own_mistake(swap: Swap, stray: StrayLock) -> bool:
    """Tell whether a stray lock is the user's attempt at the source's lock, which is to be given back."""
    return stray.give_back and stray.terms.sender == swap.source.terms.sender


def gives_back_a_mistake(swap: Swap) -> bool:
    """Tell whether the user is to get a lock with wrong terms back. It counts up to the source's own deadline
    at most: the lock's terms are its sender's choice, and must not keep the swap open."""
    return not deadline_passed(swap, swap.source) and any(
        is_own_mistake(swap, stray) and stray.state not in RESOLVED for stray in swap.source.strays
    )


def required_effects(swap: Swap) -> tuple[Effect, ...]:
    """Return all that must be done for the swap as it stands now.

    It depends on the swap alone, so it can be asked again after a restart, by another worker, or on a timer:
    the answer is the same until an event changes the swap. At most one effect of each kind per leg.
    """
    effects: list[Effect] = []
    if may_counterlock(swap) is None:
        effects.append(SendLock())
    if must_claim_source(swap):
        effects.append(SendClaim(LegRole.SOURCE))
    if must_claim_destination(swap):
        effects.append(SendClaim(LegRole.DESTINATION))
    refund = _refund(swap)
    if refund is not None:
        effects.append(refund)
    if swap.destination.state is LegState.INTENT and swap.abandoned is not None and not is_committed(swap):
        effects.append(CancelLock())
    give_back = _give_back(swap)
    if give_back is not None:
        effects.append(give_back)
    if may_pay_back(swap) is None:
        effects.append(SendLock(LegRole.PAYBACK))
    if must_claim_payback(swap):
        effects.append(SendClaim(LegRole.PAYBACK))
    if is_done(swap) or _needs_no_inventory(swap):
        effects.append(ReleaseInventory())
    return tuple(effects)


def _needs_no_inventory(swap: Swap) -> bool:
    """Tell whether the destination is never to be locked, or came back for good: what is still to be done for
    the user's lock must not hold inventory as long as they please."""
    if swap.destination.state is LegState.REFUND_FINAL or owes_payback(swap):
        return True
    never_locked = swap.abandoned is not None and swap.destination.state is LegState.NONE
    return never_locked and swap.source.state not in CLAIMED | UNPROVEN


def _refund(swap: Swap) -> Effect | None:
    """The destination, else a stray lock of ours: one at a time, each from its own deadline on."""
    if must_refund_destination(swap):
        return SendRefund(LegRole.DESTINATION)
    now = destination_time(swap)
    for stray in swap.destination.strays:
        if stray.state in OPEN and stray.give_back and now is not None and now >= stray.terms.deadline:
            return SendRefund(LegRole.DESTINATION, lock_id=stray.lock_id)
    return None


def _give_back(swap: Swap) -> Effect | None:
    """One lock at a time: the leg's own first, then the strays as they came. Before the deadline it takes our
    signature; from the deadline on a plain refund pays the user just as well."""
    if must_give_source_back(swap):
        if deadline_passed(swap, swap.source):
            return SendRefund(LegRole.SOURCE)
        return SendCooperativeRefund()
    now = source_time(swap)
    for stray in swap.source.strays:
        if stray.state in OPEN and stray.give_back:
            if now is not None and now >= stray.terms.deadline:
                return SendRefund(LegRole.SOURCE, lock_id=stray.lock_id)
            return SendCooperativeRefund(lock_id=stray.lock_id)
    return None
