"""Ethereum bids: enough for the next blocks, enough to replace, never over the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chains.errors import PortUnavailableError, TooDearError
from bridge.chains.port import FeeLevel
from bridge.protocol.types import Purpose
from relayers.evm.fees import Bid, FeeCaps, Market, bid, read_market

GWEI = 10**9
QUIET = Market(base_fee=GWEI, priority=(GWEI, 2 * GWEI, 3 * GWEI, 4 * GWEI))
CAPS = FeeCaps(ordinary=100 * GWEI, urgent=1_000 * GWEI, priority=10 * GWEI, minimum_priority=10**7)


def replacing(previous: Bid, attempt: int = 1) -> FeeLevel:
    return FeeLevel(attempt, {"max_fee": previous.max_fee, "priority": previous.priority})


def test_the_ordinary_bid_survives_five_full_blocks() -> None:
    offer = bid(QUIET, FeeLevel(), Purpose.LOCK, CAPS)
    base_fee = QUIET.base_fee
    for _ in range(5):
        assert offer.max_fee >= base_fee + offer.priority
        base_fee = base_fee * 9 // 8


def test_later_attempts_pay_more_for_their_place() -> None:
    tips = [bid(QUIET, FeeLevel(attempt), Purpose.CLAIM, CAPS).priority for attempt in range(6)]
    assert tips == [GWEI, 2 * GWEI, 3 * GWEI, 4 * GWEI, 4 * GWEI, 4 * GWEI]


def test_a_network_that_pays_no_tips_still_gets_the_minimum() -> None:
    silent = Market(base_fee=7, priority=(0, 0, 0, 0))
    assert bid(silent, FeeLevel(), Purpose.LOCK, CAPS).priority == CAPS.minimum_priority


def test_the_market_cannot_talk_us_into_any_tip() -> None:
    greedy = Market(base_fee=GWEI, priority=(500 * GWEI,) * 4)
    assert bid(greedy, FeeLevel(), Purpose.CLAIM, CAPS).priority == CAPS.priority


@given(
    base_fee=st.integers(0, 30 * GWEI),
    tip=st.integers(0, 10 * GWEI),
    later_base_fee=st.integers(0, 300 * GWEI),
    attempt=st.integers(1, 9),
)
def test_a_replacement_raises_both_fields_by_an_eighth_whatever_the_market_does(
    base_fee: int, tip: int, later_base_fee: int, attempt: int
) -> None:
    first = bid(Market(base_fee, (tip,) * 4), FeeLevel(), Purpose.CLAIM, CAPS)
    second = bid(Market(later_base_fee, (0,) * 4), replacing(first, attempt), Purpose.CLAIM, CAPS)
    assert second.max_fee * 8 >= first.max_fee * 9
    assert second.priority * 8 >= first.priority * 9
    assert second.priority <= second.max_fee <= CAPS.urgent


def test_a_claim_follows_a_hundredfold_spike_and_a_lock_waits() -> None:
    first = bid(QUIET, FeeLevel(), Purpose.CLAIM, CAPS)
    spike = Market(base_fee=100 * GWEI, priority=QUIET.priority)
    assert bid(spike, replacing(first), Purpose.CLAIM, CAPS).max_fee > 200 * GWEI
    with pytest.raises(TooDearError, match="cap") as refusal:
        bid(spike, FeeLevel(), Purpose.LOCK, CAPS)
    assert refusal.value.hint


def test_an_urgent_action_is_bid_at_its_cap_when_even_that_is_too_little() -> None:
    absurd = Market(base_fee=5_000 * GWEI, priority=QUIET.priority)
    assert bid(absurd, FeeLevel(), Purpose.REFUND, CAPS).max_fee == CAPS.urgent


def test_no_replacement_goes_over_the_cap() -> None:
    with pytest.raises(TooDearError, match="cap"):
        bid(QUIET, replacing(Bid(95 * GWEI, GWEI)), Purpose.LOCK, CAPS)
    with pytest.raises(TooDearError, match="cap"):
        bid(QUIET, replacing(Bid(CAPS.urgent, GWEI)), Purpose.CLAIM, CAPS)


def test_the_fee_history_is_read_as_medians_without_empty_blocks() -> None:
    history = {
        "baseFeePerGas": ["0x5", "0x6", "0x7", "0x9"],
        "gasUsedRatio": [0.5, 0.0, 0.9],
        "reward": [["0x2", "0x3", "0x4", "0x5"], ["0x0"] * 4, ["0x8", "0x9", "0xa", "0xb"]],
    }
    assert read_market(history) == Market(base_fee=9, priority=(8, 9, 10, 11))


@pytest.mark.parametrize("answer", [None, {}, {"baseFeePerGas": []}, {"baseFeePerGas": ["x"]}])
def test_an_rpc_without_a_fee_history_is_unavailable(answer: object) -> None:
    with pytest.raises(PortUnavailableError):
        read_market(answer)
