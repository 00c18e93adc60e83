"""Work that we pay for and a stranger steers: bounded per swap and per stranger, it ends with an alarm."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from bridge.engine.courtesy import CourtesyLimits
from bridge.protocol.legs import DUST_SHARE
from bridge.protocol.types import Asset, LegState, Purpose, SwapId, SwapState
from bridge.store.records import Intent, IntentState
from relayers.fake import FakeWallet
from relayers.fake.ledger import GAS
from tests import instances
from tests.scenario.world import ETH, BridgeWorld

MALLORYS = 10**22
JUNK = Asset(instances.ETHEREUM, "JUNK", 0, "0xdeadjunk")


def coins(world: BridgeWorld) -> int:
    return world.chains[instances.ETHEREUM].ledger.balance("bridge", ETH)


def mallory(world: BridgeWorld) -> FakeWallet:
    fake = world.chains[instances.ETHEREUM]
    fake.credit("user", ETH, -MALLORYS)
    fake.credit("mallory", ETH, MALLORYS)
    fake.credit("mallory", JUNK, 100)
    return FakeWallet(fake, "mallory")


async def test_a_finished_swap_that_strangers_lock_under_costs_nothing(world: BridgeWorld) -> None:
    """engine/reopen_drain."""
    world.swap()
    await world.until(world.is_over)
    signed, before, wallet = world.transactions_signed(), coins(world), mallory(world)
    terms = world.get().source.terms
    fake = world.chains[instances.ETHEREUM]
    for n, amount in enumerate((1, 1, terms.amount // DUST_SHARE, terms.amount, terms.amount * 2, 1)):
        deadline = fake.head.time + 86_400 + n
        wallet.lock(msgspec.structs.replace(terms, sender="mallory", amount=amount, deadline=deadline))
        await world.steps(6)
    assert world.state() is SwapState.COMPLETED
    assert (world.transactions_signed(), coins(world)) == (signed, before)
    assert world.get().source.strays == ()


async def test_a_strangers_junk_neither_keeps_a_swap_open_nor_its_inventory(world: BridgeWorld) -> None:
    """engine/stray_forever."""
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    wallet = mallory(world)
    terms = world.get().source.terms
    wallet.approve(JUNK)
    world.mine()
    fifty_years = terms.deadline + 50 * 365 * 86_400
    junk = msgspec.structs.replace(terms, sender="mallory", asset=JUNK, amount=1, deadline=fifty_years)
    wallet.lock(junk)
    wallet.lock(msgspec.structs.replace(terms, sender="mallory", deadline=fifty_years))
    await world.until(world.is_over)
    with world.store.reading() as tx:
        assert tx.receipts.size() == 1
        assert tx.swaps.open_ids() == []
        assert not any(held.live for held in tx.reservations.of_swap(SwapId("swap1")))
    assert world.state() is SwapState.COMPLETED


def given_up(world: BridgeWorld, swap_id: str = "swap1") -> list[Intent]:
    with world.store.reading() as tx:
        intents = tx.intents.of_swap(SwapId(swap_id))
    return [intent for intent in intents if intent.state is IntentState.GIVEN_UP]


def reverted(world: BridgeWorld) -> int:
    fake = world.chains[instances.ETHEREUM]
    return sum(out.reason is not None for block in fake.blocks for out in block.outcomes)


async def test_a_contract_that_takes_the_money_in_simulations_only_is_given_up(world: BridgeWorld) -> None:
    """evm/c10, with a lock that is worth giving back."""
    world.swap(claims=False)
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    fake = world.chains[instances.ETHEREUM]
    fake.faults.traps = frozenset({"mallory"})
    wallet, terms = mallory(world), world.get().source.terms
    wallet.lock(msgspec.structs.replace(terms, sender="mallory", deadline=terms.deadline + 10**6))
    await world.until(lambda: bool(given_up(world)), limit=400)
    assert reverted(world) == 3
    (intent,) = given_up(world)
    assert intent.pays == "mallory"
    assert "rainbow swap refund" in intent.reason
    # A restart forgets nothing, and the swap itself goes on to its end.
    world.process()
    await world.until(world.is_over, limit=200)
    await world.steps(100)
    assert reverted(world) == 3
    assert world.state() is SwapState.REFUNDED


async def test_each_revert_makes_the_next_try_wait_longer(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.chains[instances.ETHEREUM].faults.traps = frozenset({"mallory"})
    wallet, terms = mallory(world), world.get().source.terms
    wallet.lock(msgspec.structs.replace(terms, sender="mallory", deadline=terms.deadline + 10**6))
    await world.until(lambda: bool(given_up(world)), limit=400)
    with world.store.reading() as tx:
        sent = [stored for intent, stored in tx.transactions.of_swap(SwapId("swap1")) if intent.pays]
    signed = [stored.signed_ms // 1000 for stored in sent]
    waits = [later - earlier for earlier, later in pairwise(signed)]
    assert len(waits) == 2
    assert 60 <= waits[0] <= 120
    assert 240 <= waits[1] <= 300


async def test_an_operator_who_has_looked_makes_us_try_again(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    fake = world.chains[instances.ETHEREUM]
    fake.faults.traps = frozenset({"user"})
    await world.until(lambda: len(given_up(world)) == 1, limit=600)
    assert reverted(world) == 3  # those before its deadline count, too
    assert "failed" in world.get().attention
    fake.faults.traps = frozenset()
    await world.steps(50)
    assert not world.is_over()
    with world.store.transaction() as tx:
        assert tx.courtesies.forgive(SwapId("swap1")) == 1
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


async def test_a_swap_costs_no_more_for_others_than_its_limit(world: BridgeWorld) -> None:
    """A user who walks away and reverts what is sent: their limit is in native units, not only in number."""
    world.swap(claims=False, refunds=False)
    world.chains[instances.ETHEREUM].faults.traps = frozenset({"user"})
    await world.until(lambda: world.get().destination.state is LegState.REFUND_FINAL, limit=400)
    outbox = world.workers[instances.ETHEREUM].outbox
    tight = msgspec.structs.replace(
        outbox._settings, courtesy=CourtesyLimits(most_reverts=99, first_wait_ms=1_000, swap_fees=4)
    )
    outbox._sender._settings = tight
    await world.until(lambda: bool(given_up(world)), limit=600)
    fee = world.chains[instances.ETHEREUM].price * GAS[Purpose.CLAIM]
    with world.store.reading() as tx:
        sent = tx.courtesies.of_swap(instances.ETHEREUM, SwapId("swap1"))
    assert 0 < sum(each.max_cost for each in sent) <= 4 * fee
    assert "fees" in given_up(world)[0].reason
    assert world.transactions_signed() == len(sent) + 2  # the lock and our own refund


async def test_an_account_that_walks_away_again_and_again_has_a_limit_of_its_own(world: BridgeWorld) -> None:
    """engine/walk_away: from then on its user refunds alone, and swaps of others are given back."""
    outbox = world.workers[instances.ETHEREUM].outbox
    tight = msgspec.structs.replace(outbox._settings, courtesy=CourtesyLimits(account_fees=3))
    outbox._sender._settings = tight
    for number in range(1, 8):
        world.swap(number, claims=False, refunds=False)
    names = [f"swap{number}" for number in range(1, 8)]
    await world.until(lambda: sum(world.is_over(name) for name in names) >= 2, limit=300)
    await world.steps(60)
    over = [name for name in names if world.is_over(name)]
    assert 2 <= len(over) < len(names)
    left = next(name for name in names if name not in over)
    with world.store.reading() as tx:
        reasons = [intent.reason for intent in tx.intents.of_swap(SwapId(left))]
    assert any("rainbow swap refund" in reason for reason in reasons)
    for user in world.users.values():
        user.refunds = True
    await world.until(lambda: all(world.is_over(name) for name in names), limit=100)


async def test_claims_for_an_account_with_many_swaps_never_wait_for_its_limit(world: BridgeWorld) -> None:
    """The bridge was paid for each of them, and users who handed the secret over must not wait for a day."""
    outbox = world.workers[instances.ETHEREUM].outbox
    tight = msgspec.structs.replace(outbox._settings, courtesy=CourtesyLimits(account_fees=0))
    outbox._sender._settings = tight
    for number in range(1, 8):
        world.swap(number, source=instances.ZION, hands_over=True)
    names = [f"swap{number}" for number in range(1, 8)]
    await world.until(lambda: all(world.get(SwapId(name)).secret_shared for name in names))
    for user in world.users.values():
        user.claims = False
    await world.until(lambda: all(world.is_over(name) for name in names), limit=100)
    assert {world.state(name) for name in names} == {SwapState.COMPLETED}


async def test_our_own_money_is_claimed_however_often_that_reverts(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.CLAIM_SEEN)
    world.chains[instances.ETHEREUM].faults.traps = frozenset({"bridge"})
    await world.until(lambda: reverted(world) >= 8, limit=100)
    world.chains[instances.ETHEREUM].faults.traps = frozenset()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
