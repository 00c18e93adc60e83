"""The lock fee: what a client stakes on finishing, in exchange for a smaller spread.

A spread alone makes the choice to finish worth nothing only at about two standard deviations of the price.
With a fee that is lost by those who leave, and given back to those who finish, the same is reached with less:
at a fee of π and a spread of k the choice is worth C(k − π) − π, and k is the least spread at which that is
not above 0.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

import msgspec

from bridge.protocol.option import least_strike

MICRO: Final = 10**6
"""Fees and credit are counted in millionths of the unit in which prices are given."""


class FeePoint(StrEnum):
    """How large the fee is; the larger it is, the smaller is the spread."""

    LOW = "low"
    """A fifth of a standard deviation, and a spread of about 0.7."""
    EVEN = "even"
    """Two fifths, and a spread of about as much."""
    BOND = "bond"
    """A whole standard deviation, and a spread of about a tenth."""


_PERCENT: Final = {FeePoint.LOW: 20, FeePoint.EVEN: 40, FeePoint.BOND: 100}


class LockFee(msgspec.Struct, frozen=True):
    """The fee of a quote: `ppb` of what the source is worth, together `value` (millionths of the unit of
    prices). It is held from the client's credit when the quote is taken, and kept only if the bridge's lock
    is left."""

    point: FeePoint
    ppb: int
    value: int


def fee_ppb(point: FeePoint, spread_of_prices: int) -> int:
    """Return the fee for a standard deviation of the price, both ppb; rounded up."""
    return -(-spread_of_prices * _PERCENT[point] // 100)


@lru_cache(maxsize=4_096)
def strike_with_fee(spread_of_prices: int, fee: int) -> int:
    """Return the least spread at which the choice is worth nothing after a fee, all ppb."""
    return least_strike(spread_of_prices, fee, fee)


def value_text(value: int) -> str:
    """Write millionths with six decimals, e.g. `0.250000`."""
    return f"{value // MICRO}.{value % MICRO:06}"
