"""Prices are exact, itemised to the last unit, and never in the requester's favour."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from bridge.protocol.pricing import (
    PPM,
    Costs,
    FixedSide,
    Limits,
    Price,
    PriceRefusalCode,
    PriceRefusedError,
    Rate,
    Terms,
    price,
)
from bridge.protocol.refusals import ProtocolError
from bridge.protocol.types import Amount, Asset
from tests import instances

ETH = Asset(instances.ETHEREUM, "ETH", 18)
USDC = Asset(instances.ETHEREUM, "USDC", 6, contract="0xcc")
ZION = Asset(instances.ZION, "ZION", 8)
U64 = 2**64 - 1
"""What a lock on ZION can hold."""

RATES = st.builds(Rate, st.integers(1, 10**24), st.integers(1, 10**24))
COSTS = st.builds(
    Costs, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)
)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    spread = draw(st.integers(0, PPM - 1))
    skew = draw(st.integers(-spread, PPM - 1 - spread))
    return Terms(rate=draw(RATES), spread_ppm=spread, skew_ppm=skew, costs=draw(COSTS))


def quote(on: Terms, fixed: FixedSide, amount: int) -> Price | None:
    """The price on a chain pair that hardly overflows, or None if there is none."""
    try:
        return price(on, source=ETH, destination=USDC, fixed=fixed, amount=Amount(amount))
    except PriceRefusedError:
        return None


@given(terms(), st.sampled_from(FixedSide), st.integers(1, 10**30))
def test_the_items_of_a_price_add_up_to_the_last_unit(on: Terms, fixed: FixedSide, amount: int) -> None:
    p = quote(on, fixed, amount)
    assume(p is not None)
    assert p is not None
    assert p.gross == p.destination + p.spread + p.skew + p.costs.total + p.rounding
    assert p.rounding >= 0
    assert p.spread >= 0
    assert (p.source if fixed is FixedSide.SOURCE else p.destination) == amount


@given(terms(), st.sampled_from(FixedSide), st.integers(1, 10**30))
def test_the_bridge_never_pays_out_more_than_the_rate_less_spread_and_costs(
    on: Terms, fixed: FixedSide, amount: int
) -> None:
    p = quote(on, fixed, amount)
    assume(p is not None)
    assert p is not None
    exact = p.source * on.rate.fraction() * Fraction(PPM - on.spread_ppm - on.skew_ppm, PPM)
    assert p.destination <= exact - on.costs.total


@given(terms(), st.integers(1, 10**30), st.integers(0, 10**30))
def test_more_sent_never_buys_less(on: Terms, amount: int, more: int) -> None:
    small, large = quote(on, FixedSide.SOURCE, amount), quote(on, FixedSide.SOURCE, amount + more)
    if small is not None:
        assert large is not None
        assert large.destination >= small.destination


@given(terms(), st.integers(1, 10**20), st.integers(0, 10**20))
def test_more_received_never_costs_less(on: Terms, amount: int, more: int) -> None:
    small, large = quote(on, FixedSide.DESTINATION, amount), quote(on, FixedSide.DESTINATION, amount + more)
    assert small is not None
    assert large is not None
    assert large.source >= small.source


@given(terms(), st.integers(1, 10**20))
def test_with_the_destination_fixed_the_source_is_the_least_that_buys_it(on: Terms, amount: int) -> None:
    p = quote(on, FixedSide.DESTINATION, amount)
    assert p is not None
    buys = quote(on, FixedSide.SOURCE, p.source)
    assert buys is not None
    assert buys.destination >= amount
    cheaper = quote(on, FixedSide.SOURCE, p.source - 1) if p.source > 1 else None
    assert cheaper is None or cheaper.destination < amount


@given(
    RATES, st.integers(0, 10**5), st.integers(0, 10**5), st.sampled_from(FixedSide), st.integers(1, 10**25)
)
def test_a_round_trip_never_profits_the_requester(
    rate: Rate, there: int, back: int, fixed: FixedSide, amount: int
) -> None:
    out = quote(Terms(rate, there), FixedSide.SOURCE, amount)
    assume(out is not None)
    assert out is not None
    home = Terms(rate.inverse(), back)
    if fixed is FixedSide.SOURCE:
        p = quote(home, FixedSide.SOURCE, out.destination)
        assert p is None or p.destination <= amount
    else:
        p = quote(home, FixedSide.DESTINATION, amount)
        assert p is None or p.source >= out.destination


@given(st.integers(1, 2**70), RATES)
def test_no_lock_is_quoted_that_its_chain_cannot_hold(amount: int, rate: Rate) -> None:
    try:
        p = price(
            Terms(rate, 0, destination_capacity=Amount(U64)),
            source=ETH,
            destination=ZION,
            fixed=FixedSide.SOURCE,
            amount=Amount(amount),
        )
    except PriceRefusedError:
        return
    assert p.destination <= U64


def test_amounts_beyond_u64_on_zion_and_u256_on_ethereum_are_refused() -> None:
    one = Terms(Rate(1, 1), 0, destination_capacity=Amount(U64))
    more = Terms(Rate(1, 1), 0)
    with pytest.raises(PriceRefusedError) as caught:
        price(one, source=ETH, destination=ZION, fixed=FixedSide.SOURCE, amount=Amount(2**64))
    assert caught.value.code is PriceRefusalCode.AMOUNT_OVERFLOW
    assert price(one, source=ETH, destination=ZION, fixed=FixedSide.SOURCE, amount=Amount(2**64 - 1))
    with pytest.raises(PriceRefusedError):
        price(more, source=ETH, destination=USDC, fixed=FixedSide.SOURCE, amount=Amount(2**256))
    with pytest.raises(PriceRefusedError):
        price(
            Terms(Rate(1, 2**200), 0, destination_capacity=Amount(U64)),
            source=ETH,
            destination=ZION,
            fixed=FixedSide.DESTINATION,
            amount=Amount(2**63),
        )


def test_a_price_by_hand() -> None:
    # 1 ETH = 2,500 ZION, 0.5 % spread, 0.1 % skew, 0.03 ZION of costs; 0.2 ETH are sent.
    on = Terms(
        rate=Rate.from_price("2500", ETH, ZION),
        spread_ppm=5000,
        skew_ppm=1000,
        costs=Costs(source_network=Amount(1_000_000), destination_network=Amount(2_000_000)),
    )
    p = price(on, source=ETH, destination=ZION, fixed=FixedSide.SOURCE, amount=Amount(2 * 10**17))
    assert p.gross == 500 * 10**8
    assert (p.spread, p.skew, p.rounding) == (250_000_000, 50_000_000, 0)
    assert p.destination == 500 * 10**8 - 300_000_000 - 3_000_000


def test_costs_above_the_amount_and_amounts_out_of_limits_are_refused_with_a_hint() -> None:
    on = Terms(
        Rate(1, 1),
        0,
        costs=Costs(gasless_claim=Amount(100)),
        limits=Limits(Amount(10), Amount(1000), Amount(5), Amount(500)),
    )

    def refused(fixed: FixedSide, amount: int) -> PriceRefusalCode:
        with pytest.raises(PriceRefusedError) as caught:
            price(on, source=ETH, destination=USDC, fixed=fixed, amount=Amount(amount))
        assert caught.value.hint
        return caught.value.code

    assert refused(FixedSide.SOURCE, 100) is PriceRefusalCode.COSTS_EXCEED_AMOUNT
    assert refused(FixedSide.SOURCE, 101) is PriceRefusalCode.BELOW_MINIMUM
    assert refused(FixedSide.SOURCE, 0) is PriceRefusalCode.BELOW_MINIMUM
    assert refused(FixedSide.SOURCE, -5) is PriceRefusalCode.BELOW_MINIMUM
    assert refused(FixedSide.SOURCE, 1001) is PriceRefusalCode.ABOVE_MAXIMUM
    assert refused(FixedSide.DESTINATION, 501) is PriceRefusalCode.ABOVE_MAXIMUM


@pytest.mark.parametrize(
    "bad", [0.5, True, "abc", "nan", "inf", "1e9999999", "0", "-1", Decimal("NaN"), None]
)
def test_a_price_that_is_no_exact_positive_number_is_refused(bad: object) -> None:
    with pytest.raises(ProtocolError):
        Rate.from_price(bad, ETH, ZION)  # type: ignore[arg-type]


def test_rates_are_exact_and_invert_exactly() -> None:
    rate = Rate.from_price(Fraction(1, 3), ETH, ZION)
    assert rate.fraction() == Fraction(1, 3 * 10**10)
    assert rate.inverse().fraction() * rate.fraction() == 1
    assert (rate.down(Amount(10**18)), rate.up(Amount(10**18))) == (33_333_333, 33_333_334)


@pytest.mark.parametrize(
    "change", [{"spread_ppm": -1}, {"spread_ppm": PPM}, {"spread_ppm": 5, "skew_ppm": -6}]
)
def test_terms_that_would_pay_the_requester_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        Terms(Rate(1, 1), **change)
    with pytest.raises(ProtocolError):
        Terms(Rate(1, 1), 0, costs=Costs(reserve=Amount(-1)))
