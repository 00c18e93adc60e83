"""Bids: what the market asks within limits, and more with every attempt that expired."""

from __future__ import annotations

import pytest

from bridge.chains.actions import Action, ClaimAction, LockAction
from bridge.chains.port import BroadcastOutcome, FeeLevel, SignedTx, TxState
from bridge.protocol.types import Preimage, Purpose
from relayers.solana import fees
from relayers.solana.adapter import SolanaPort
from relayers.solana.devnet.genesis import DEMO_TOKEN
from relayers.solana.devnet.node import SolanaNode
from relayers.solana.settings import SOL, SolanaFees
from tests.unit.solana.conftest import Opener, lock_terms

SECRET = Preimage(b"a preimage for a crowded cluster")
LIMITS = SolanaFees(minimum=10, maximum=1_000, urgent_maximum=5_000)


@pytest.fixture
async def node(started: SolanaNode) -> SolanaNode:
    await started.mine(200)
    return started


@pytest.fixture
async def port(node: SolanaNode, opened: Opener) -> SolanaPort:
    made = opened("bidder")
    await node.fund(made.account, SOL, 10**10)
    return made


def lock_of(node: SolanaNode, port: SolanaPort, amount: int = 10**8) -> LockAction:
    return LockAction(lock_terms(node, port, SECRET.hashlock(), amount=amount))


async def landed_after(node: SolanaNode, port: SolanaPort, action: Action) -> list[SignedTx]:
    """Do as the engine does: send one transaction again and again until it expires, then the next."""
    tried: list[SignedTx] = []
    level = FeeLevel()
    while True:
        tx = await port.prepare(action, None, level)
        tried.append(tx)
        assert tx.valid_until_height is not None
        while node.ledger.head.height <= tx.valid_until_height:
            sent = (await port.broadcast(tx)).outcome
            assert (sent is BroadcastOutcome.ACCEPTED) == (node.ledger.head.height < tx.valid_until_height)
            await node.mine(1)
            if (await port.tx_status(tx)).state is TxState.INCLUDED:
                return tried
        level = FeeLevel(attempt=len(tried), previous=tx.fee)


def bid(asked: int, level: FeeLevel, purpose: Purpose) -> int:
    return fees.price(asked, level, purpose, LIMITS)


def test_bids_follow_the_market_within_limits() -> None:
    assert bid(0, FeeLevel(), Purpose.LOCK) == 10
    assert bid(300, FeeLevel(), Purpose.LOCK) == 300
    assert bid(9_000, FeeLevel(), Purpose.LOCK) == 1_000
    assert bid(9_000, FeeLevel(), Purpose.CLAIM) == 5_000
    assert fees.fee_of(20_000, 1) == 5_001  # rounded up, as the runtime does


def test_each_attempt_bids_more_than_the_one_before_and_stays_at_the_limit() -> None:
    assert bid(0, FeeLevel(1, {"unit_price": 20, "units": 1}), Purpose.LOCK) == 80
    assert bid(500, FeeLevel(1, {"unit_price": 20, "units": 1}), Purpose.LOCK) == 500
    assert bid(0, FeeLevel(2), Purpose.LOCK) == 160
    assert bid(0, FeeLevel(9, {"unit_price": 1_000, "units": 1}), Purpose.LOCK) == 1_000
    assert bid(0, FeeLevel(9, {"unit_price": 1_000, "units": 1}), Purpose.CLAIM) == 4_000
    climb, level = [], FeeLevel()
    for attempt in range(1, 10):
        climb.append(fees.price(0, level, Purpose.CLAIM, SolanaFees()))
        level = FeeLevel(attempt, {"unit_price": climb[-1], "units": 1})
    assert climb == [
        10_000,
        40_000,
        160_000,
        640_000,
        2_560_000,
        10_240_000,
        40_960_000,
        50_000_000,
        50_000_000,
    ]


def test_the_urgent_bid_higher_among_the_samples_and_the_late_the_highest() -> None:
    samples = [*range(100)]
    assert fees.market(samples, 0, Purpose.LOCK) == 75
    assert fees.market(samples, 0, Purpose.CLAIM) == 90
    assert fees.market(samples, 1, Purpose.LOCK) == 99
    assert fees.market([7], 0, Purpose.REFUND) == 7
    assert fees.market([], 0, Purpose.REFUND) == 0


async def test_the_first_bid_gets_in_where_the_samples_tell_of_the_crowd(
    node: SolanaNode, port: SolanaPort
) -> None:
    await node.congest(700_000)
    await node.mine(100)
    (tx,) = await landed_after(node, port, lock_of(node, port))
    assert tx.fee["unit_price"] == 700_000


async def test_bids_climb_into_a_block_although_no_sample_tells_of_the_crowd(
    node: SolanaNode, port: SolanaPort
) -> None:
    await node.congest(2_000_000, shown=False)
    start = node.ledger.head.height
    tried = await landed_after(node, port, lock_of(node, port))
    assert [tx.fee["unit_price"] for tx in tried] == [10_000, 40_000, 160_000, 640_000, 2_560_000]
    assert node.ledger.head.height - start <= 60 + 3 * 40 + 10  # instead of 4 · 118
    await node.congest(0)
    claim = ClaimAction(lock_of(node, port).terms, SECRET)
    (cheap,) = await landed_after(node, port, claim)
    assert cheap.fee["unit_price"] <= 2_560_000


async def test_short_lives_name_an_old_block_and_the_last_attempt_lives_as_long_as_it_can(
    node: SolanaNode, port: SolanaPort
) -> None:
    head = node.ledger.head.height
    for attempt, life in ((0, 60), (1, 40), (6, 40), (7, 119), (50, 119)):
        tx = await port.prepare(lock_of(node, port), None, FeeLevel(attempt))
        assert tx.valid_until_height == head + life, attempt


async def test_what_was_said_to_cost_covers_what_is_paid_with_the_accounts_that_are_made(
    node: SolanaNode, port: SolanaPort, opened: Opener
) -> None:
    await node.congest(500_000)
    await node.mine(150)
    newcomer = opened("owns no token account")
    await node.fund(port.account, DEMO_TOKEN, 1_000)

    async def paid_for(action: Action) -> int:
        before = await port.balance(port.account, SOL)
        await landed_after(node, port, action)
        return before - await port.balance(port.account, SOL)

    said = await port.fees(DEMO_TOKEN)
    assert said.minimum == 0
    terms = lock_terms(
        node, port, SECRET.hashlock(), recipient=newcomer.account, asset=DEMO_TOKEN, amount=400
    )
    lock = await paid_for(LockAction(terms))
    assert lock <= said.lock
    made = 2_039_280  # lamports for the 165 bytes of the newcomer's token account
    claim = await paid_for(ClaimAction(terms, SECRET))
    deposit = 4_266_480  # of vault and vault's token account, which comes back to us, the sender
    assert said.deposit == deposit
    assert made < claim + deposit <= said.gasless_claim
    assert said.claim < made, "a claim of our own makes no account"
    coins = await port.fees(SOL)
    assert coins.minimum == 890_880
    assert await paid_for(lock_of(node, port)) - 10**8 <= coins.lock
