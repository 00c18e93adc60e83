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
from bridge.protocol.lock_fee import FeePoint, fee_ppb, strike_with_fee
from bridge.protocol.option import MAX_DEVIATION, PPB, deviation, least_strike
from bridge.protocol.pricing import SpreadItems
from bridge.protocol.timelocks import time_to_decide
from bridge.protocol.types import ChainTiming
from kernels.errors import RainbowError

SIGNING_SECONDS: Final = 30
"""What a user is reckoned to take until the lock is sent."""
_PPB_OF_PPM: Final = 1_000
MAX_SPREAD_PPM: Final = 500_000
LEAST_RANGE: Final = PPB // 1_000
"""A thousandth: where a lock is final at once, what the sources of prices disagree about is more than what
the price moves."""
LARGEST_RANGE: Final = PPB // 10


class TooRiskyError(RainbowError):
    """The price moves too much in the time that the swap takes: it is not sold at any spread."""


class Windows(msgspec.Struct, frozen=True):
    """How long who may still decide, seconds: `until_counterlock` from the quote to the look at the price
    before the destination is locked, `to_decide` from then until the destination can no longer be claimed."""

    until_counterlock: int
    to_decide: int


def windows(source: ChainTiming, destination: ChainTiming, *, user_window: int, slack: int) -> Windows:
    """Return the windows of a swap: T_dest is chosen as the destination is locked. The last block before our
    refund is the user's, too."""
    return Windows(
        SIGNING_SECONDS + source.block_interval + source.finality,
        time_to_decide(destination, user_window, slack) + destination.block_interval,
    )


@lru_cache(maxsize=4_096)
def strike_ppb(spread_of_prices: int, left_percent: int) -> int:
    """Return the least spread (ppb) after which the choice is worth at most `left_percent` of a standard
    deviation.
    """
    return least_strike(spread_of_prices, spread_of_prices * left_percent // 100)


def _while_deciding(moves: Movement, within: Windows) -> int:
    """Return one standard deviation of the price over the time to decide, ppb. Raises `TooRiskyError`."""
    v = deviation(moves.volatility_ppm, within.to_decide)
    if v > MAX_DEVIATION:
        raise TooRiskyError("the price moves too much to be sold")
    return v


def spread_items(
    config: DeskConfig,
    moves: Movement,
    within: Windows,
    *,
    least_ppm: int,
    skew_ppm: int,
    firm: bool = True,
    fee: int = 0,
) -> tuple[SpreadItems, int]:
    """Return the items of a spread, and the tolerance within which the price may move against the bridge once
    the amount is fixed, ppb. `least_ppm`: the operator's own; `skew_ppm`: of the inventory, a discount when
    negative; `firm`: the quote fixes the amount, otherwise it follows the price until the destination is
    locked; `fee`: what the user stakes on finishing, ppb.

    Raises:
        TooRiskyError: if the price moves too much in that time to be sold.
    """
    v = _while_deciding(moves, within)
    v_before = deviation(moves.volatility_ppm, within.until_counterlock)
    tolerance = v_before * config.tolerance_percent // 100
    strike = _ppm(strike_with_fee(v, fee) if fee else strike_ppb(v, config.option_left_percent))
    jump, pegs = _ppm(moves.jumps), _ppm(moves.pegs)
    # A tolerance costs 0.6 to 0.9 of itself: so much is a lock worth that is only finished when it pays.
    held = _ppm(-(-tolerance * 7 // 10)) if firm and config.option_left_percent < 100 else 0
    plain = least_ppm + jump + pegs + config.reorg_ppm
    option = max(0, strike + held - plain)
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
        raise TooRiskyError("the price moves too much to be sold")
    return items, tolerance


def fee_of(moves: Movement, within: Windows, point: FeePoint | None) -> int:
    """Return what a user stakes on finishing at that point, ppb; 0 without one. Raises `TooRiskyError`."""
    if point is None:
        return 0
    return fee_ppb(point, _while_deciding(moves, within))


def range_of_amount(config: DeskConfig, moves: Movement, within: Windows) -> int:
    """Return how far an amount that floats may follow the price until the destination is locked, up or down,
    ppb."""
    v_before = deviation(moves.volatility_ppm, within.until_counterlock)
    return min(LARGEST_RANGE, max(LEAST_RANGE, v_before * config.range_percent // 100))


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
