"""The volatility of prices: gaps, bursts, jumps, and the same bits after a restart."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import msgspec
import pytest

from bridge.desk.volatility import Ewma, Level, PairVolatility, Sampled, move_ppb

YEAR = 31_557_600


def path(
    seed: int,
    yearly: float,
    *,
    noise: float = 0.0,
    jumps: float = 0.0,
    count: int = 9_000,
    restart: bool = False,
) -> PairVolatility:
    """Feed irregular samples of a random walk: bursts of 5 s, gaps of 4 minutes."""
    chosen = random.Random(seed)
    state, at, log = PairVolatility.unknown(), 1_800_000_000, 0.0
    for _ in range(count):
        step = chosen.choices([5, 10, 15, 30, 60, 240], [20, 30, 20, 15, 10, 5])[0]
        at += step
        log += yearly * math.sqrt(step / YEAR) * chosen.gauss(0, 1)
        if jumps and chosen.random() < jumps * step / 86_400:
            log += 0.015 * chosen.gauss(0, 1)
        seen = Fraction(math.exp(log + noise * chosen.gauss(0, 1)))
        state = state.observe(seen, at)
        if restart:
            state = msgspec.json.decode(msgspec.json.encode(state), type=PairVolatility)
    return state


@pytest.mark.parametrize("yearly", [0.3, 0.6, 1.5])
def test_both_estimates_find_the_volatility_of_an_irregular_and_noisy_feed(yearly: float) -> None:
    found = [path(seed, yearly, noise=2e-4) for seed in range(4)]
    slow = [state.slow.estimate.yearly_ppm() / 1e6 for state in found]
    fast = [state.fast.estimate.yearly_ppm() / 1e6 for state in found]
    assert sum(slow) / len(slow) == pytest.approx(yearly, rel=0.12)
    assert sum(fast) / len(fast) == pytest.approx(yearly, rel=0.35)


def test_bipower_is_hardly_touched_by_jumps_and_the_price_volatility_is() -> None:
    states = [path(seed, 0.6, jumps=4) for seed in range(4)]
    with_jumps = sum(state.slow.estimate.yearly_ppm() for state in states) / 4e6
    without = sum(state.slow.estimate.yearly_without_jumps_ppm() for state in states) / 4e6
    assert with_jumps > 0.7
    assert without < with_jumps - 0.05
    assert without == pytest.approx(0.6, rel=0.2)


def test_a_restart_after_every_sample_changes_not_one_bit() -> None:
    assert path(5, 0.6, noise=2e-4, jumps=2, count=1_500, restart=True) == path(
        5, 0.6, noise=2e-4, jumps=2, count=1_500
    )


def test_the_bits_are_these_on_every_machine() -> None:
    state = Ewma.of_half_life(1_800)
    for move, seconds in ((1_000_000, 60), (-2_500_000, 75), (300_000, 600), (7_000_000, 61)):
        state = state.add(move, seconds)
    assert state == Ewma(4293313701, 54686574520670, 750407969, 4908913560564, 705215778, 896286)
    assert (state.yearly_ppm(), state.yearly_without_jumps_ppm()) == (1516504, 587413)


def test_a_burst_of_nearer_samples_is_no_movement() -> None:
    calm = PairVolatility.unknown()
    for second in range(0, 3_600, 60):
        for noise in range(6):  # six prints within the minute, 20 bps apart
            calm = calm.observe(1 + Fraction((noise * 7) % 3, 1_000), 1_800_000_000 + second + noise)
    assert calm.fast.estimate.yearly_ppm() == 0


def test_a_long_gap_forgets_and_costs_nothing() -> None:
    state = path(1, 1.5, count=2_000)
    later = state.observe(Fraction(1), state.fast.at + 10**9)
    assert later.fast.estimate.seconds == 30 * 86_400
    assert later.observe(Fraction(2), state.fast.at) is later, "a sample from before the newest"


def test_until_there_are_two_hours_the_configured_volatility_is_the_least() -> None:
    young = path(3, 0.1, count=30)
    assert young.yearly_ppm(floor=300_000, assumed=800_000) == 800_000
    old = path(3, 0.1, count=3_000)
    assert old.yearly_ppm(floor=300_000, assumed=800_000) == 300_000
    assert path(3, 2.0, count=30).yearly_ppm(floor=300_000, assumed=800_000) > 900_000


def test_one_move_in_the_first_minute_is_no_volatility_of_a_year() -> None:
    state = PairVolatility.unknown().observe(Fraction(1), 1_000).observe(Fraction("1.008"), 1_060)
    assert state.fast.estimate.yearly_ppm() > 5_000_000
    assert state.yearly_ppm(floor=300_000, assumed=800_000) < 1_400_000


def test_a_move_is_the_same_both_ways_and_bounded() -> None:
    small, large = Level.of(Fraction(1, 10**50)), Level.of(Fraction(10**50))
    assert move_ppb(small, large) == 2 * 10**9 == -move_ppb(large, small)
    one, more = Level.of(Fraction(2_000)), Level.of(Fraction(2_020))
    assert move_ppb(one, more) == -move_ppb(more, one) == 9_950_248
    assert move_ppb(one, one) == 0


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        Level.of(Fraction(0))
    with pytest.raises(ValueError, match="half-life"):
        Ewma.of_half_life(0)


def test_the_first_price_is_no_return() -> None:
    state = Sampled(Ewma.of_half_life(60), 10).observe(Level.of(Fraction(5)), 100)
    assert state.estimate.yearly_ppm() == state.estimate.yearly_without_jumps_ppm() == 0
