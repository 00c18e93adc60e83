"""What a swap costs, item by item."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chains import registry
from bridge.chains.network import Network
from bridge.config.sections import DeskConfig
from bridge.desk.prices import Movement
from bridge.desk.spread import (
    TooRiskyError,
    Windows,
    fee_of,
    skew_ppm,
    spread_items,
    strike_ppb,
    windows,
)
from bridge.protocol.lock_fee import FeePoint, fee_ppb, strike_with_fee
from bridge.protocol.option import deviation, exchange_option
from bridge.protocol.pricing import FixedSide, Rate, SpreadItems, Terms, price
from bridge.protocol.recheck import check_price, loss_ppb
from bridge.protocol.refusals import RefusalCode
from bridge.protocol.timelocks import counterlock_slack
from bridge.protocol.types import Amount, Asset, ChainId, ChainTiming, PriceTerms
from tests import instances

CONFIG = DeskConfig()
CALM = Movement(600_000)


def timing(name: str) -> ChainTiming:
    section = registry.family("evm" if name == "ethereum" else name).section()
    asset = Asset(ChainId(name), "X", 8)
    if name == "ethereum":
        from relayers.evm.profiles import profile_for
        from relayers.evm.timing import timing_of

        return timing_of(profile_for(1, "main")).for_amount(asset, Amount(0))
    return section.default_timing(Network.MAIN).for_amount(asset, Amount(0))


GOLDEN: dict[tuple[str, str], tuple[int, ...]] = {
    # Seconds until the look at the price, and to decide; what the choice costs in basis points at
    # 30, 60, 100 and 150 % a year.
    ("zion", "ethereum"): (690, 1998, 47, 94, 156, 235),
    ("zion", "solana"): (690, 1385, 39, 78, 130, 196),
    ("zion", "stellar"): (690, 1134, 35, 71, 118, 177),
    ("zion", "cardano"): (690, 2090, 48, 96, 160, 241),
    ("ethereum", "zion"): (810, 3510, 62, 124, 208, 314),
    ("ethereum", "solana"): (810, 1385, 39, 78, 130, 196),
    ("ethereum", "stellar"): (810, 1134, 35, 71, 118, 177),
    ("ethereum", "cardano"): (810, 2090, 48, 96, 160, 241),
    ("solana", "zion"): (63, 3510, 62, 124, 208, 314),
    ("solana", "ethereum"): (63, 1998, 47, 94, 156, 235),
    ("solana", "stellar"): (63, 1134, 35, 71, 118, 177),
    ("solana", "cardano"): (63, 2090, 48, 96, 160, 241),
    ("stellar", "zion"): (42, 3510, 62, 124, 208, 314),
    ("stellar", "ethereum"): (42, 1998, 47, 94, 156, 235),
    ("stellar", "solana"): (42, 1385, 39, 78, 130, 196),
    ("stellar", "cardano"): (42, 2090, 48, 96, 160, 241),
    ("cardano", "zion"): (650, 3510, 62, 124, 208, 314),
    ("cardano", "ethereum"): (650, 1998, 47, 94, 156, 235),
    ("cardano", "solana"): (650, 1385, 39, 78, 130, 196),
    ("cardano", "stellar"): (650, 1134, 35, 71, 118, 177),
}


def planned(source: str, destination: str) -> Windows:
    at_destination = timing(destination)
    slack = counterlock_slack(at_destination)
    return windows(timing(source), at_destination, user_window=900, slack=slack)


def row(source: str, destination: str) -> tuple[int, ...]:
    within = planned(source, destination)
    strikes = (
        -(-strike_ppb(deviation(sigma, within.to_decide), 1) // 100_000)
        for sigma in (300_000, 600_000, 1_000_000, 1_500_000)
    )
    return within.until_counterlock, within.to_decide, *strikes


@pytest.mark.parametrize("pair", GOLDEN, ids=">".join)
def test_what_the_choice_costs_on_each_pair_of_chains(pair: tuple[str, str]) -> None:
    assert row(*pair) == GOLDEN[pair]


@given(
    moves=st.builds(
        Movement, st.integers(0, 1_500_000), st.integers(0, 5_000_000), st.integers(0, 20_000_000)
    ),
    within=st.builds(Windows, st.integers(1, 3_000), st.integers(1, 8_000)),
    least=st.integers(0, 10_000),
    skew=st.integers(-3_000, 3_000),
    left=st.sampled_from([1, 5, 14, 100]),
)
def test_the_items_cover_the_choice_and_a_discount_never_goes_below_it(
    moves: Movement, within: Windows, least: int, skew: int, left: int
) -> None:
    config = DeskConfig(option_left_percent=left)
    items, tolerance = spread_items(config, moves, within, least_ppm=least, skew_ppm=skew)
    v = deviation(moves.volatility_ppm, within.to_decide)
    assert exchange_option(items.total * 1_000, v) <= max(5, v * left // 100)
    assert items.spread >= least + items.jump + items.peg + items.reorg
    assert items.skew <= skew if skew > 0 else skew <= items.skew <= 0
    assert tolerance == deviation(moves.volatility_ppm, within.until_counterlock)


@given(
    st.builds(SpreadItems, *[st.integers(0, 90_000)] * 5, skew=st.integers(-1_000, 9_000)),
    st.integers(10**6, 10**30),
)
def test_the_items_add_up_to_the_price_to_the_last_unit(items: SpreadItems, amount: int) -> None:
    if items.total < 0:
        items = msgspec.structs.replace(items, skew=0)
    terms = Terms(Rate(7, 3), items.spread, items.skew)
    source, destination = Asset(instances.ETHEREUM, "A", 8), Asset(instances.ZION, "B", 8)
    made = price(terms, source=source, destination=destination, fixed=FixedSide.SOURCE, amount=Amount(amount))
    parts = items.amounts(made.gross)
    assert sum(units for _, units in parts) == made.spread
    assert all(units >= 0 for _, units in parts)
    assert made.destination == made.gross - sum(units for _, units in parts) - made.skew
    assert [name for name, _ in parts] == ["base", "option", "jump", "peg", "reorg"]


def test_more_volatility_and_more_time_cost_more() -> None:
    within = Windows(100, 2_000)
    costs = [
        spread_items(CONFIG, Movement(ppm), within, least_ppm=0, skew_ppm=0)[0].total
        for ppm in (300_000, 600_000, 1_500_000)
    ]
    assert costs == sorted(set(costs))
    longer = spread_items(CONFIG, CALM, Windows(100, 8_000), least_ppm=0, skew_ppm=0)[0]
    assert longer.total > 1.9 * costs[1] - 1_000


def test_an_operator_may_leave_more_of_the_choice_to_users() -> None:
    v = deviation(600_000, 2_790)
    assert strike_ppb(v, 1) == pytest.approx(1.94 * v, rel=0.02)
    assert strike_ppb(v, 14) == pytest.approx(0.71 * v, rel=0.02)
    assert strike_ppb(v, 40) == 0


@given(st.integers(100_000, 80_000_000), st.sampled_from(FeePoint))
def test_after_a_lock_fee_the_choice_is_worth_nothing_at_the_least_spread(v: int, point: FeePoint) -> None:
    fee = fee_ppb(point, v)
    strike = strike_with_fee(v, fee)
    assert exchange_option(strike - fee, v) <= fee
    assert strike == 0 or exchange_option(strike - 1 - fee, v) > fee


@pytest.mark.parametrize(("point", "percent"), [(FeePoint.LOW, 70), (FeePoint.EVEN, 40), (FeePoint.BOND, 10)])
def test_a_lock_fee_brings_the_spread_down(point: FeePoint, percent: int) -> None:
    v = deviation(600_000, 1_355)
    assert strike_with_fee(v, fee_ppb(point, v)) == pytest.approx(percent * v / 100, rel=0.03)


FOR_FINISHERS = {"ethereum": 34, "solana": 28, "stellar": 25, "cardano": 34, "zion": 44}
"""Basis points at 60 % a year into each chain, with the small lock fee."""


@pytest.mark.parametrize("destination", FOR_FINISHERS)
def test_who_stakes_the_small_fee_pays_about_forty_basis_points_or_less(destination: str) -> None:
    source = "solana" if destination != "solana" else "stellar"
    within = planned(source, destination)
    fee = fee_of(CALM, within, FeePoint.LOW)
    items, _ = spread_items(CONFIG, CALM, within, least_ppm=1_000, skew_ppm=0, firm=False, fee=fee)
    assert -(-items.total // 100) == FOR_FINISHERS[destination]


def test_what_moves_too_much_is_not_sold() -> None:
    with pytest.raises(TooRiskyError):
        spread_items(CONFIG, Movement(4_000_000), Windows(60, 200_000), least_ppm=0, skew_ppm=0)
    with pytest.raises(TooRiskyError):
        spread_items(CONFIG, Movement(0, jumps=600_000_000), Windows(60, 600), least_ppm=0, skew_ppm=0)


# -- the inventory ----------------------------------------------------------------------------


def test_an_inventory_near_its_target_changes_no_price() -> None:
    assert [skew_ppm(available, 1_000, 2_000) for available in (800, 1_000, 1_200)] == [0, 0, 0]
    assert skew_ppm(0, 1_000, 2_000) == 2_000
    assert skew_ppm(2_000, 1_000, 2_000) == skew_ppm(10_000, 1_000, 2_000) == -2_000
    assert skew_ppm(500, 0, 2_000) == skew_ppm(0, 1_000, 0) == 0


@given(st.integers(1, 10**20), st.integers(0, 10**5), st.integers(0, 3 * 10**20), st.integers(0, 3 * 10**20))
def test_the_scarcer_the_dearer(target: int, most: int, one: int, other: int) -> None:
    scarce, plenty = sorted((one, other))
    assert most >= skew_ppm(scarce, target, most) >= skew_ppm(plenty, target, most) >= -most


# -- the second look at the price -------------------------------------------------------------


def test_a_move_beyond_the_tolerance_calls_off_and_one_the_other_way_does_not() -> None:
    agreed = PriceTerms(4_000, 1, 10_000_000)  # 1 %
    assert check_price(agreed, Fraction(4_000)) is None
    assert check_price(agreed, Fraction(40_000)) is None, "the destination became cheaper: all the better"
    assert check_price(agreed, Fraction(4_000 * 100, 101)) is None, "exactly the tolerance"
    refusal = check_price(agreed, Fraction(4_000 * 100, 101) - Fraction(1, 10**6))
    assert refusal is not None
    assert (refusal.code, refusal.permanent) == (RefusalCode.PRICE_MOVED, True)
    assert refusal.hint


def test_a_lock_that_is_signed_is_called_off_at_twice_the_tolerance() -> None:
    agreed = PriceTerms(4_000, 1, 10_000_000)
    assert check_price(agreed, Fraction(3_930)) is not None
    assert check_price(agreed, Fraction(3_930), signed=True) is None
    assert check_price(agreed, Fraction(3_900), signed=True) is not None


def test_the_loss_is_rounded_against_the_user_and_needs_a_rate() -> None:
    agreed = PriceTerms(1, 3, 0)
    assert loss_ppb(agreed, Fraction(1, 3)) == 0
    assert loss_ppb(agreed, Fraction(1, 3) - Fraction(1, 10**20)) == 1
    assert loss_ppb(agreed, Fraction(2, 3)) == -500_000_000
    with pytest.raises(ValueError, match="positive"):
        loss_ppb(agreed, Fraction(0))
