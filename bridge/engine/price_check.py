"""Looks at the price again before the destination is locked: reads what the desk agreed on, and lets
`bridge.protocol.recheck` decide.

The relayer asks no feed: it reads the prices that the API keeps in the database. One that is too old or has
to wait makes the lock wait, too; if it waits for too long, the deadlines call the swap off.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from bridge.protocol.counterlock import agreed_price, decide, is_open
from bridge.protocol.events import PriceChecked
from bridge.protocol.recheck import check_price, loss_ppb
from bridge.protocol.refusals import Refusal
from bridge.protocol.types import ChainId, PriceSeen, Swap, UnixSeconds
from bridge.store import Transaction, UnreadableRowError
from bridge.store.records import MarketPrice

_DIGITS = 12
"""Significant digits of the prices that the event log shows."""


class PriceVerdict(msgspec.Struct, frozen=True):
    """What follows from today's prices: `hold` is why it cannot be decided now, `refusal` why the swap is
    called off; both "" for a yes. `event` is what goes into the swap's log, None if nothing was looked at.
    `decides`: it fixes the terms of the destination's lock, and is to be stored before anything is signed."""

    hold: str = ""
    refusal: str = ""
    event: PriceChecked | None = None
    decides: bool = False


def judge_price(
    tx: Transaction, swap: Swap, now: Mapping[ChainId, UnixSeconds], *, signed: bool
) -> PriceVerdict:
    """Return whether the destination may be locked at today's prices, and with which terms if they are still
    open. `now`: the times that the chains may have reached; `signed`: a lock is signed already."""
    agreed = agreed_price(swap)
    if agreed is None:  # sold by a version that did not look again
        return PriceVerdict()
    prices: list[MarketPrice] = []
    for asset in (swap.source.terms.asset, swap.destination.terms.asset):
        try:
            price = tx.market.price(asset.key)
        except UnreadableRowError as error:
            return PriceVerdict(hold=str(error))
        if price is None:
            return PriceVerdict(hold=f"there is no price for {asset.key} yet: does the API run?")
        trouble = price.trouble(tx.now_ms // 1000)
        if trouble:
            return PriceVerdict(hold=trouble)
        prices.append(price)
    source, destination = (Fraction(price.numerator, price.denominator) for price in prices)
    rate = source / destination
    decided = decide(swap, rate, now) if is_open(swap) else check_price(agreed, rate, signed=signed)
    seen = PriceSeen(
        source=_decimal(source),
        destination=_decimal(destination),
        at=min(price.at for price in prices),
        loss_ppb=loss_ppb(agreed, rate),
        sources=tuple(dict.fromkeys(name for price in prices for name in price.sources)),
    )
    if isinstance(decided, Refusal):
        return PriceVerdict(refusal=decided.message, event=PriceChecked(seen, go=False))
    if decided is None:
        return PriceVerdict(event=PriceChecked(seen, go=True))
    event = PriceChecked(seen, go=True, amount=decided.amount, deadline=decided.deadline)
    return PriceVerdict(event=event, decides=True)


def _decimal(price: Fraction) -> str:
    """Write a price with twelve significant digits, for people."""
    return f"{price.numerator / price.denominator:.{_DIGITS}g}"
