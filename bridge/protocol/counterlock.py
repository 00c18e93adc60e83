"""What a quote leaves open of the destination's lock, and how it is decided just before the lock is signed.

T_dest in a quote is planned for the slowest user. One that locks at once would keep a free choice for as
long. So the bridge chooses T_dest as it locks, never later than quoted, and the amount follows the price up
and down, within the range that the user accepted with the signed quote. What was decided stays: it is stored
before anything is signed, and a second decision would make a second lock possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from msgspec.structs import replace

from bridge.protocol.legs import UNLOCKED, admits
from bridge.protocol.recheck import check_price
from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.rules import may_counterlock
from bridge.protocol.timelocks import time_to_decide
from bridge.protocol.types import (
    Amount,
    ChainId,
    LockTerms,
    PriceTerms,
    Swap,
    UnixSeconds,
)


def is_open(swap: Swap) -> bool:
    """Tell whether the destination's amount and deadline are still to be decided."""
    return swap.policy.counterlock is not None and not swap.terms_fixed and swap.destination.state in UNLOCKED


def decide(
    swap: Swap, rate: Fraction, now: Mapping[ChainId, UnixSeconds] | None = None
) -> LockTerms | Refusal:
    """Return the terms with which the destination is to be locked at today's rate (whole destination coins
    for one of the source), or why it must not be.

    `now` are newer chain times than the swap has heard of, if any. A fixed amount is held to the quote's
    price within its tolerance; one that floats follows the rate, rounded down. Only for swaps that are open,
    see `is_open`.
    """
    left_open, agreed = swap.policy.counterlock, swap.policy.price
    if left_open is None or agreed is None or rate <= 0:
        raise ValueError("nothing is open, or there is no price")
    amount = left_open.quoted
    if left_open.minimum == left_open.maximum:
        refusal = check_price(agreed, rate)
        if refusal is not None:
            return refusal
    else:
        exact = amount * rate * agreed.denominator / agreed.numerator
        amount = Amount(exact.numerator // exact.denominator)
        if not left_open.minimum <= amount <= left_open.maximum:
            return Refusal(
                RefusalCode.PRICE_MOVED,
                f"at today's price the bridge would lock {amount} {swap.destination.terms.asset.key} "
                f"(smallest units); from {left_open.minimum} to {left_open.maximum} were agreed on",
                hint="your lock is given back at once; ask for a new quote",
                permanent=True,
            )
    chain = swap.destination.terms.chain
    newest = max(swap.times.get(chain, UnixSeconds(0)), (now or {}).get(chain, UnixSeconds(0)))
    policy = swap.policy
    planned = newest + time_to_decide(policy.destination, policy.user_window, left_open.slack)
    return replace(
        swap.destination.terms, amount=amount, deadline=UnixSeconds(min(left_open.latest, planned))
    )


def with_terms(swap: Swap, amount: Amount, deadline: UnixSeconds) -> Swap:
    """Return the swap with what was decided; the swap itself if that is not allowed, or not any more."""
    left_open = swap.policy.counterlock
    if left_open is None or not is_open(swap) or may_counterlock(swap) is not None:
        return swap
    terms = replace(swap.destination.terms, amount=amount, deadline=deadline)
    if not admits(left_open, swap.destination.terms, terms):
        return swap
    return _fixed(swap, terms)


def adopted(swap: Swap, found: LockTerms) -> Swap:
    """Return the swap with the terms of a lock of ours that its chain shows and that the range allows.

    Only a database that is older than the lock does not know them: what was decided is stored first.
    """
    left_open = swap.policy.counterlock
    if left_open is None or not is_open(swap) or not admits(left_open, swap.destination.terms, found):
        return swap
    return _fixed(swap, replace(swap.destination.terms, amount=found.amount, deadline=found.deadline))


def agreed_price(swap: Swap) -> PriceTerms | None:
    """Return the price to which the destination's lock is held: the quote's, or that at which its amount was
    decided."""
    left_open, agreed = swap.policy.counterlock, swap.policy.price
    if agreed is None or left_open is None or not swap.terms_fixed:
        return agreed
    return replace(
        agreed,
        numerator=agreed.numerator * swap.destination.terms.amount,
        denominator=agreed.denominator * left_open.quoted,
    )


def _fixed(swap: Swap, terms: LockTerms) -> Swap:
    return replace(swap, destination=replace(swap.destination, terms=terms), terms_fixed=True)
