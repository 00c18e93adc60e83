"""The price of a choice, against 50-digit arithmetic: never below Margrabe, above it by a known bound at
most.
"""

from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext

import pytest

from bridge.protocol.option import MAX_DEVIATION, PPB, YEAR, deviation, exchange_option
from bridge.protocol.option_tables import SKEW, TIME_VALUE
from bridge.protocol.refusals import ProtocolError

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")
BOUNDS = {  # deviation in ppb → the most that the result may lie above the exact one, in ppb
    1: 6,
    1_000: 6,
    100_000: 6,
    1_000_000: 8,
    10_000_000: 1_000,
    20_000_000: 5_500,
    50_000_000: 75_000,
    100_000_000: 560_000,
    MAX_DEVIATION: 8_500_000,
}


def density(z: Decimal) -> Decimal:
    return (-z * z / 2).exp() / (2 * PI).sqrt()


def below(x: Decimal) -> Decimal:
    """The normal distribution, by a series whose terms all have one sign (Abramowitz and Stegun 26.2.11)."""
    term = total = abs(x)
    odd = 1
    while term > Decimal(10) ** -70:
        odd += 2
        term = term * x * x / odd
        total += term
    half = density(x) * total
    return Decimal("0.5") + (half if x > 0 else -half)


def margrabe(strike: int, v: int) -> Decimal:
    """The exact worth in ppb, 50 digits and more."""
    with localcontext() as context:
        context.prec = 90
        k, s = Decimal(strike) / PPB, Decimal(v) / PPB
        d1 = (-(1 + k).ln() + s * s / 2) / s
        if abs(d1) > 14:
            return max(Decimal(0), -k) * PPB
        return (below(d1) - (1 + k) * below(d1 - s)) * PPB


def test_every_entry_of_the_tables_is_what_80_digits_say() -> None:
    with localcontext() as context:
        context.prec = 80
        for index, (value, skew) in enumerate(zip(TIME_VALUE, SKEW, strict=True)):
            z = Decimal(index) / 64
            assert value == math.ceil((density(z) - z * (1 - below(z))) * 2**32)
            assert skew == math.floor(z * density(z) / 2 * 2**32)
    assert len(TIME_VALUE) == 6 * 64 + 1


@pytest.mark.parametrize(("v", "bound"), BOUNDS.items())
def test_it_is_never_below_the_exact_worth_and_above_by_little(v: int, bound: int) -> None:
    chosen = random.Random(v)
    places = [index / 8 for index in range(-56, 57)] + [chosen.uniform(-7, 7) for _ in range(60)]
    worst = Decimal(0)
    for z in places:
        strike = round(z * v)
        if strike <= -PPB:
            continue
        error = exchange_option(strike, v) - margrabe(strike, v)
        assert error >= 0, (z, v, error)
        worst = max(worst, error)
    assert worst <= bound


def test_it_falls_as_the_strike_rises_and_grows_with_time() -> None:
    v = deviation(600_000, 1_000)
    values = [exchange_option(strike, v) for strike in range(-8 * v, 8 * v, v // 5)]
    assert values == sorted(values, reverse=True)
    later = [exchange_option(v, deviation(600_000, seconds)) for seconds in range(600, 7_200, 60)]
    assert later == sorted(later)


def test_a_deviation_is_rounded_up_and_grows_with_the_root_of_time() -> None:
    assert deviation(1_000_000, YEAR) == PPB + 1
    assert deviation(600_000, 0) == 1
    assert deviation(600_000, 4 * 900) == pytest.approx(2 * deviation(600_000, 900), abs=2)


@pytest.mark.parametrize(("strike", "v"), [(0, 0), (0, -1), (0, MAX_DEVIATION + 1), (-PPB, 1_000)])
def test_nonsense_is_refused(strike: int, v: int) -> None:
    with pytest.raises(ProtocolError):
        exchange_option(strike, v)


def test_negative_time_is_refused() -> None:
    with pytest.raises(ProtocolError):
        deviation(600_000, -1)
