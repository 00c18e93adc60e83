"""The public status of a swap, derived from its legs and from whether the secret is known.

No rule depends on it: it is what people read. ATTENTION lies over the progress when a person is needed and
stops nothing.
"""

from __future__ import annotations

from bridge.protocol.legs import CLAIMED, OPEN, REFUNDED, SPENT_FINAL, UNPROVEN
from bridge.protocol.payback import is_paid_back, owes_payback, payback_is_stuck
from bridge.protocol.rules import (
    deadline_passed,
    gives_back_a_mistake,
    is_expired,
    is_own_mistake,
    second_lock_is_out,
)
from bridge.protocol.types import Abandonment, LegState, Swap, SwapState

TERMINAL_STATES = frozenset({SwapState.COMPLETED, SwapState.REFUNDED, SwapState.EXPIRED_UNFUNDED})
"""Every funded leg is spent and final (invariant 5). A chain's event may still reopen a terminal swap."""

_NEVER_VALID = frozenset({Abandonment.LATE, Abandonment.EXPIRED})


def is_terminal(swap: Swap) -> bool:
    """Tell whether the swap has ended, as far as its chains have shown."""
    return swap.state in TERMINAL_STATES


def progress(swap: Swap) -> SwapState:
    """Return how far the swap is, whether or not a person should look at it."""
    match swap.destination.state:
        case LegState.CLAIM_SEEN | LegState.CLAIM_FINAL | LegState.SPENT_UNKNOWN:
            return _when_claimed(swap)
        case LegState.REFUND_SEEN | LegState.REFUND_FINAL:
            return _when_refunded(swap)
        case LegState.SEEN | LegState.FINAL:
            return _when_locked(swap)
        case LegState.INTENT:
            if swap.source.state in CLAIMED:
                return SwapState.CLAIMING
            return SwapState.COUNTERLOCKING if swap.abandoned is None else SwapState.REFUNDING
        case LegState.NONE:
            return _when_never_locked(swap)


def _when_claimed(swap: Swap) -> SwapState:
    both_final = swap.source.state is LegState.CLAIM_FINAL and swap.destination.state is LegState.CLAIM_FINAL
    return SwapState.COMPLETED if both_final and not second_lock_is_out(swap) else SwapState.CLAIMING


def _when_refunded(swap: Swap) -> SwapState:
    if swap.source.state in CLAIMED:
        return _when_owed(swap)
    ended = (
        swap.destination.state is LegState.REFUND_FINAL
        and swap.source.state in {LegState.NONE, LegState.REFUND_FINAL}
        and not second_lock_is_out(swap)
    )
    return SwapState.REFUNDED if ended else SwapState.REFUNDING


def _when_locked(swap: Swap) -> SwapState:
    if swap.secret_known or swap.source.state in CLAIMED:
        return SwapState.CLAIMING
    if deadline_passed(swap, swap.destination):
        return SwapState.REFUNDING
    if swap.destination.state is LegState.SEEN:
        return SwapState.COUNTERLOCKING
    return SwapState.AWAIT_CLAIM


def _when_owed(swap: Swap) -> SwapState:
    """The bridge was paid, and pays the source's amount back."""
    done = is_paid_back(swap) and owes_payback(swap)
    return SwapState.REFUNDED if done else SwapState.REFUNDING


def _when_never_locked(swap: Swap) -> SwapState:
    source = swap.source.state
    if source in CLAIMED:
        return SwapState.CLAIMING if swap.abandoned is None else _when_owed(swap)
    if source in REFUNDED:
        return SwapState.REFUNDED if source is LegState.REFUND_FINAL else SwapState.REFUNDING
    if source in UNPROVEN:
        return SwapState.REFUNDING
    if source in OPEN:
        if swap.abandoned is None:
            return SwapState.AWAIT_LOCK
        return SwapState.INVALID_LOCK if swap.abandoned in _NEVER_VALID else SwapState.REFUNDING
    if gives_back_a_mistake(swap):
        return SwapState.INVALID_LOCK
    if is_expired(swap):
        given_back = any(
            is_own_mistake(swap, stray) and stray.state in SPENT_FINAL for stray in swap.source.strays
        )
        return SwapState.REFUNDED if given_back else SwapState.EXPIRED_UNFUNDED
    return SwapState.AWAIT_LOCK if swap.accepted else SwapState.QUOTED


_LOOK = "nothing is given back until a claim or a refund is found; look at the lock on its chain"


def impasse(swap: Swap) -> str:
    """Return why the swap cannot end well by itself, or "": money is owed to one side, or may be."""
    source, destination = swap.source.state, swap.destination.state
    unproven = [leg.role.value for leg in swap.legs if leg.state in UNPROVEN]
    if unproven:
        return f"the {' and the '.join(unproven)} lock was spent, and nobody can prove how: {_LOOK}"
    if destination in CLAIMED and source in REFUNDED:
        return "both legs went to the user: the bridge lost this swap"
    if payback_is_stuck(swap):
        return (
            "the source was claimed though the user did not get the destination, and its amount cannot be "
            "paid back by itself: the user has to be paid by hand"
        )
    taken = destination in OPEN or destination in CLAIMED
    if source is LegState.NONE and taken and deadline_passed(swap, swap.source):
        return "the source lock left its chain and cannot return, while the destination is locked or claimed"
    return ""


def attention(swap: Swap) -> str:
    """Return why an operator should look at the swap, or "" if all is well."""
    reasons = [impasse(swap)]
    if not reasons[0] and swap.source.state is LegState.NONE and swap.destination.state in OPEN | CLAIMED:
        reasons.append(
            "the source lock left its chain after the destination was locked: waiting for its return"
        )
    source, destination = swap.source.state, swap.destination.state
    if source in CLAIMED and not reasons[0] and not is_paid_back(swap):
        if destination in REFUNDED or (destination is LegState.NONE and swap.abandoned is not None):
            reasons.append("the source was claimed without the destination: its amount is paid back")
        elif destination in {LegState.NONE, LegState.INTENT}:
            reasons.append("the source was claimed before the destination was locked: the lock is owed")
    if any(stray.state in CLAIMED for stray in swap.source.strays):
        reasons.append("a stray lock was claimed to the bridge: give its amount back by hand")
    if any(stray.state not in SPENT_FINAL and stray.lock_block for stray in swap.destination.strays):
        reasons.append("the bridge locked the destination a second time: find out how this could happen")
    if any(stray.state in CLAIMED for stray in swap.destination.strays):
        reasons.append("a second destination lock was claimed: the bridge lost its amount")
    if any(stray.state in UNPROVEN for leg in (swap.source, swap.destination) for stray in leg.strays):
        reasons.append("a stray lock was spent, and nobody can prove how: look at it on its chain")
    if any(stray.state in OPEN and not stray.give_back for stray in swap.source.strays):
        reasons.append(
            "a lock of another asset, or of very little, waits for its sender, or for an operator to give it "
            "back"
        )
    if public_state(swap) not in TERMINAL_STATES:
        reasons += [leg.trouble for leg in swap.legs]
    return "; ".join(reason for reason in reasons if reason)


def public_state(swap: Swap) -> SwapState:
    """Return the progress, or ATTENTION when the swap cannot end well without a person."""
    return SwapState.ATTENTION if impasse(swap) else progress(swap)
