"""The price is looked at again before the destination is locked.

A quote fixes the amounts; until the source is final the market moves on. If the destination has become worth
more than the quote's tolerance allows, the bridge does not lock, and the source is given back at once: who
only locks to see whether the price moves their way gains nothing by it. A move the other way changes nothing.
"""

from __future__ import annotations

from fractions import Fraction

from bridge.protocol.option import PPB
from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.types import PriceTerms

SIGNED_FACTOR = 2
"""A lock that is signed already is called off at twice the tolerance: taking it back costs a fee, and a price
that trembles about the limit must not do that."""


def loss_ppb(agreed: PriceTerms, rate: Fraction) -> int:
    """Return how much more the destination is worth at `rate` (whole destination coins for one of the
    source) than when it was quoted, ppb, rounded up; negative when it is worth less."""
    if rate <= 0:
        raise ValueError("a rate is positive")
    more = Fraction(agreed.numerator, agreed.denominator) / rate - 1
    return -(-more.numerator * PPB // more.denominator)


def check_price(agreed: PriceTerms, rate: Fraction, *, signed: bool = False) -> Refusal | None:
    """Return why the destination must not be locked at today's rate, None if it may. `signed`: its lock
    is.
    """
    loss = loss_ppb(agreed, rate)
    allowed = agreed.tolerance_ppb * (SIGNED_FACTOR if signed else 1)
    if loss <= allowed:
        return None
    return Refusal(
        RefusalCode.PRICE_MOVED,
        f"the destination is worth {_bps(loss)} basis points more than when it was quoted; "
        f"up to {_bps(allowed)} were agreed on",
        hint="your lock is given back at once; ask for a new quote",
        permanent=True,
    )


def _bps(ppb: int) -> str:
    return f"{ppb // 1_000 / 100:.2f}"
