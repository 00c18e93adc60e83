"""ZION bids: enough for the next block, enough to replace, never over the cap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.chains.errors import TooDearError
from bridge.chains.port import FeeLevel
from bridge.protocol.types import Purpose
from chain.mempool.pool import replacement_fee
from chain.rules.params import MIN_FEE, Network
from relayers.zion.fees import bid
from relayers.zion.settings import ZionSettings

SETTINGS = ZionSettings(("http://127.0.0.1:1",), Network.DEV, max_fee=10**7, urgent_max_fee=10**8)


def test_the_ordinary_bid_is_what_the_next_block_asks() -> None:
    assert bid(5_000, FeeLevel(), Purpose.LOCK, SETTINGS) == 5_000
    assert bid(0, FeeLevel(), Purpose.LOCK, SETTINGS) == MIN_FEE


@given(market=st.integers(0, 10**6), previous=st.integers(MIN_FEE, 10**7), attempt=st.integers(0, 5))
def test_a_replacement_is_what_the_pool_asks(market: int, previous: int, attempt: int) -> None:
    fee = bid(market, FeeLevel(attempt, {"fee": previous}), Purpose.CLAIM, SETTINGS)
    assert replacement_fee(previous) <= fee <= SETTINGS.urgent_max_fee


def test_a_claim_may_cost_what_a_lock_may_not() -> None:
    assert bid(5 * 10**7, FeeLevel(), Purpose.CLAIM, SETTINGS) == 5 * 10**7
    with pytest.raises(TooDearError, match="cap") as refusal:
        bid(5 * 10**7, FeeLevel(), Purpose.LOCK, SETTINGS)
    assert refusal.value.hint
