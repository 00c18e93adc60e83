"""Work that we pay for and a stranger steers: bounded per swap and per stranger, it ends with an alarm."""

from __future__ import annotations

import msgspec

from bridge.protocol.legs import DUST_SHARE
from bridge.protocol.types import Asset, LegState, SwapId, SwapState
from relayers.fake import FakeWallet
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
