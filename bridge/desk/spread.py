"""What a swap costs beside network fees, item by item: the price of each risk that the bridge takes.

Until the user claims or the destination's deadline passes, the user may still decide: an option, whose price
grows with the volatility and the time. Without a lock fee no spread makes it worth nothing to who never
means to finish; the spread is chosen so that what is left is `option_left_percent` of one standard
deviation. Everything is in integers, parts per billion (ppb) inside and parts per million (ppm) in quotes,
rounded up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from bridge.config.sections import DeskConfig
from bridge.desk.prices import Movement
from bridge.protocol.option import MAX_DEVIATION, deviation, exchange_option
from bridge.protocol.pricing import SpreadItems
from bridge.protocol.timelocks import Deadlines
from bridge.protocol.types import ChainTiming, UnixSeconds

SIGNING_SECONDS: Final = 30
"""What a user is reckoned to take until the lock is sent."""
_PPB_OF_PPM: Final = 1_000
MAX_SPREAD_PPM: Final = 500_000


class TooRiskyError(Exception):
    """The price moves too much in the time that the swap takes: it is not sold at any spread."""


class Windows(msgspec.Struct, frozen=True):
    """How long who may still decide, seconds: `until_counterlock` from the quote to the look at the price
    before the destination is locked, `to_decide` from then until the destination can no longer be claimed."""

    until_counterlock: int
    to_decide: int


def windows(
    deadlines: Deadlines, now_destination: UnixSeconds, source: ChainTiming, destination: ChainTiming
) -> Windows:
    """Return the windows of a user who locks as fast as can be: they have the longest time to decide. The
    last block before our refund is theirs, too."""
    left = deadlines.destination - now_destination - source.finality + destination.block_interval
    return Windows(SIGNING_SECONDS + source.block_interval + source.finality, max(1, left))


@lru_cache(maxsize=4_096)
def strike_ppb(spread_of_prices: int, left_percent: int) -> int:
    """Return the least spread (ppb) after which the choice is worth at most `left_percent` of a standard
    deviation.
    """
    allowed = max(5, spread_of_prices * left_percent // 100)
    low, high = 0, 6 * spread_of_prices
    while low < high:
        middle = (low + high) // 2
        if exchange_option(middle, spread_of_prices) <= allowed:
            high = middle
        else:
            low = middle + 1
    return low


def spread_items(
    config: DeskConfig, moves: Movement, within: Windows, *, least_ppm: int, skew_ppm: int
) -> tuple[SpreadItems, int]:
    """Return the items of a spread, and the tolerance within which the price may move before the destination
    is locked, ppb. `least_ppm`: the operator's own; `skew_ppm`: of the inventory, a discount when negative.

    Raises:
        TooRiskyError: if the price moves too much in that time to be sold.
    """
    v = deviation(moves.volatility_ppm, within.to_decide)
    v_before = deviation(moves.volatility_ppm, within.until_counterlock)
    if v > MAX_DEVIATION:
        raise TooRiskyError
    tolerance = v_before * config.tolerance_percent // 100
    strike = _ppm(strike_ppb(v, config.option_left_percent))
    jump, pegs = _ppm(moves.jumps), _ppm(moves.pegs)
    # A tolerance costs 0.6 to 0.9 of itself: so much is a lock worth that is only finished when it pays.
    firm = _ppm(-(-tolerance * 7 // 10)) if config.option_left_percent < 100 else 0
    plain = least_ppm + jump + pegs + config.reorg_ppm
    option = max(0, strike + firm - plain)
    if skew_ppm < 0:  # a discount never goes below what the choice is worth
        skew_ppm = -min(-skew_ppm, plain + option - min(plain + option, strike))
    items = SpreadItems(
        base=least_ppm,
        option=option,
        jump=jump,
        peg=pegs,
        reorg=config.reorg_ppm,
        skew=skew_ppm,
        volatility=moves.volatility_ppm,
        window=within.to_decide,
        strike=strike,
    )
    if items.total >= MAX_SPREAD_PPM:
        raise TooRiskyError
    return items, tolerance


def skew_ppm(available: int, target: int, most_ppm: int) -> int:
    """Return what an inventory of `available` beside a `target` adds to the spread, ppm: nothing within a
    fifth of the target, then growing with the square, `most_ppm` when it is empty, as much less at twice the
    target or above."""
    if target < 1 or not most_ppm:
        return 0
    distance = target - available
    beyond = 5 * abs(distance) - target  # (|d| − 0.2) · 5 · target
    if beyond <= 0:
        return 0
    whole = 4 * target
    size = -(-most_ppm * beyond * (whole + beyond) // (whole * whole))
    return min(most_ppm, size) if distance > 0 else -min(most_ppm, size)


def _ppm(ppb: int) -> int:
    return -(-ppb // _PPB_OF_PPM)
