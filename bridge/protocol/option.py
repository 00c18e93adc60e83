"""What the choice to finish a swap or not is worth: an exchange option, in integers, never understated.

A party that may still decide has the right to pay `1 + k` of the source for 1 of the destination. It is worth
Margrabe's `C(k, v) = N(d1) − (1 + k)·N(d2)` (The Value of an Option to Exchange One Asset for Another,
Journal of Finance 33, 1978), with `v` the standard deviation of the price ratio over the time that is left.
All amounts are parts per billion (ppb) of the notional: 1 basis point = 100,000 ppb. With z = k/v:

    C = v·c(z) + v²·d(z) + v³/2 + 2 ppb,   c(z) = φ(z) − z·Q(z),   d(z) = z·φ(z)/2

`c` is convex, so a chord of its table lies above it; `d` has its extremes at entries of its table (z = ±1),
so the larger neighbour bounds it. Each product is rounded up.
"""

from __future__ import annotations

from math import isqrt
from typing import Final

from bridge.protocol.option_tables import SKEW, TIME_VALUE
from bridge.protocol.refusals import ProtocolError

PPB: Final = 10**9
PPM: Final = 10**6
YEAR: Final = 31_557_600
"""Seconds of a Julian year."""
MAX_DEVIATION: Final = 250_000_000
"""ppb; the tests hold the bound up to here. 400 % a year over 30 hours are 234,000,000."""
_STEP: Final = 64
_LAST: Final = 6 * _STEP
_ONE: Final = 1 << 32


def deviation(volatility_ppm: int, seconds: int) -> int:
    """Return the standard deviation of the price ratio over `seconds`, ppb, rounded up.

    `volatility_ppm`: the yearly relative volatility in parts per million (600,000 is 60 %).

    Raises:
        ProtocolError: for a negative volatility or time.
    """
    if volatility_ppm < 0 or seconds < 0:
        raise ProtocolError("volatility and time cannot be negative")
    return isqrt(volatility_ppm * volatility_ppm * PPM * seconds // YEAR) + 1


def exchange_option(strike: int, spread_of_prices: int) -> int:
    """Return what the right to pay `1 + strike` for 1 is worth, ppb of the notional, never understated.

    `strike` may be negative (in the money), `spread_of_prices` is the `deviation`; both ppb.

    Raises:
        ProtocolError: for a deviation that is not above 0 or above `MAX_DEVIATION`, and for a strike of −100
        %
            or less.
    """
    v = spread_of_prices
    if not 0 < v <= MAX_DEVIATION:
        raise ProtocolError(
            f"a deviation of {v} ppb is outside 1 to {MAX_DEVIATION}",
            hint="shorten the time that is left to decide, or pause the pair: its price moves too much",
        )
    if strike <= -PPB:
        raise ProtocolError("a strike is above −100 %")
    cell, rest = divmod(strike * _STEP, v)
    if cell < -_LAST:  # deep in the money: what waiting adds is below 1 ppb
        return 2 - strike
    if cell >= _LAST:  # worth less than at six deviations
        cell, rest = _LAST - 1, v
    low, high = _time_value(cell), _time_value(cell + 1)
    c = low + _up((high - low) * rest, v)
    d = max(_skew(cell), _skew(cell + 1))
    return _up(v * c, _ONE) + _up(v * v * d, _ONE * PPB) + _up(v * v * v, 2 * PPB * PPB) + 2


def least_strike(spread_of_prices: int, left: int, fee: int = 0) -> int:
    """Return the least spread at which the choice is worth no more than `left` to who loses a fee by not
    choosing; all ppb. 5 ppb of what it is worth count as nothing: so much is added by rounding."""
    low, high = 0, 6 * spread_of_prices
    while low < high:
        middle = (low + high) // 2
        if exchange_option(middle - fee, spread_of_prices) <= max(5, left):
            high = middle
        else:
            low = middle + 1
    return low


def _time_value(index: int) -> int:
    """c(index/64): below 0 it is c(−z) = c(z) + z, exactly."""
    if index >= 0:
        return TIME_VALUE[index]
    return TIME_VALUE[-index] - index * (_ONE // _STEP)


def _skew(index: int) -> int:
    """d(index/64), rounded up; d is odd."""
    if index <= 0:
        return -SKEW[-index]
    return SKEW[index] + 1


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
