"""Paying the source's amount back: what the bridge owes when it was paid and may not give the destination.

Anybody who knows the preimage can claim the source for the bridge, at any moment. While the destination may
be locked it is, and given to the user: that is the swap. Once it may not be locked any more (the lock came
too late, time is short, the attempt failed), or came back to the bridge, the quote is over, and the bridge
owes what it got: the source's amount. With the destination instead, users could choose late, at an old price.

It is paid as a lock with the hashlock whose preimage is public, which only the user can get, and claimed for
them at once. See docs/decisions/0124-paying-the-source-back.md.
"""

from __future__ import annotations

from bridge.protocol import timelocks
from bridge.protocol.legs import CLAIMED, OPEN, UNLOCKED
from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.types import LegRole, LegState, Swap, UnixSeconds

_RETURNED = frozenset({LegState.NONE, LegState.REFUND_FINAL})


def owes_payback(swap: Swap) -> bool:
    """Tell whether the source's amount is owed to the user: the bridge has it for good, and the destination,
    in whatever lock, is with the bridge for good or was never locked and never will be."""
    destination = swap.destination
    returned = destination.state is LegState.REFUND_FINAL or (
        destination.state is LegState.NONE and swap.abandoned is not None
    )
    strays_returned = all(stray.state in _RETURNED for stray in destination.strays)
    return swap.source.state is LegState.CLAIM_FINAL and returned and strays_returned


def is_paid_back(swap: Swap) -> bool:
    """Tell whether the user has the source's amount, for good."""
    return swap.payback is not None and swap.payback.state is LegState.CLAIM_FINAL


def may_pay_back(swap: Swap) -> Refusal | None:
    """Decide whether the lock that pays the source back may be made now. To be asked when planning, signing
    and sending."""
    leg = swap.leg(LegRole.PAYBACK)
    if leg.state not in UNLOCKED:
        return Refusal(RefusalCode.ALREADY_LOCKED, "the source is being paid back already", permanent=True)
    if not owes_payback(swap):
        return Refusal(RefusalCode.SOURCE_NOT_FINAL, "nothing is owed as things stand")
    if leg.trouble:
        return Refusal(RefusalCode.ABANDONED, leg.trouble, hint="`retry` the swap, or pay by hand")
    now = swap.times.get(leg.terms.chain)
    if now is None:
        return Refusal(RefusalCode.CHAIN_TIME_UNKNOWN, "the time of the source's chain is unknown")
    if now > latest_payback(swap):
        return Refusal(
            RefusalCode.TIMELOCK_TOO_SHORT, "it is too late to pay the source back", permanent=True
        )
    return None


def latest_payback(swap: Swap) -> UnixSeconds:
    """Return the last time of the source's chain at which paying back leaves the user time to claim."""
    deadline = swap.leg(LegRole.PAYBACK).terms.deadline
    return UnixSeconds(deadline - timelocks.user_time(swap.policy.source, swap.policy.user_window))


def must_claim_payback(swap: Swap) -> bool:
    """The lock stands and the preimage is public: the user gets it by our hand if not by theirs."""
    return swap.payback is not None and swap.secret_known and swap.payback.state in OPEN


def payback_is_stuck(swap: Swap) -> bool:
    """Tell whether what is owed can only be paid by hand."""
    if not owes_payback(swap):
        return False
    leg = swap.leg(LegRole.PAYBACK)
    if leg.state is LegState.NONE:
        refusal = may_pay_back(swap)
        return refusal is not None and (refusal.permanent or bool(leg.trouble))
    return leg.state not in OPEN | CLAIMED | {LegState.INTENT}
