"""A reorg of either leg in every state: it is an ordinary event, and money never follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge.protocol.types import Leg, LegState, SwapId, SwapState
from relayers.fake.ledger import LedgerLockState
from tests import instances
from tests.scenario.world import BridgeWorld

PLACES: dict[str, Callable[[BridgeWorld], Leg]] = {
    "source": lambda world: world.get().source,
    "destination": lambda world: world.get().destination,
}


@pytest.mark.parametrize("state", [LegState.SEEN, LegState.FINAL, LegState.CLAIM_SEEN])
@pytest.mark.parametrize("role", PLACES)
@pytest.mark.parametrize("again", [True, False], ids=["included again at once", "back in the mempool"])
async def test_a_reorg_of_a_leg_delays_the_swap_and_no_more(
    world: BridgeWorld, role: str, state: LegState, again: bool
) -> None:
    leg = PLACES[role]
    world.swap()
    await world.until(lambda: leg(world).state is state)
    world.chains[leg(world).terms.chain].reorg(2, again=again)
    await world.work()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_lock_that_a_reorg_removes_before_it_is_final_is_never_answered(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    await world.step()
    lock_tx = world.get().source.lock_tx
    world.users["swap1"].locks = False
    world.chains[instances.ETHEREUM].reorg(3, drop=[lock_tx])
    await world.until(world.is_over)
    assert world.state() is SwapState.EXPIRED_UNFUNDED
    assert world.locks_sent() == 0
    with world.store.reading() as tx:
        assert tx.intents.of_swap(SwapId("swap1")) == []


async def test_a_counter_lock_that_a_reorg_throws_out_is_sent_again_never_twice(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.SEEN)
    destination = world.get().destination
    world.chains[instances.ZION].reorg(1, drop=[destination.lock_tx])
    assert world.lock_state(destination) is None
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.locks_sent() == 1


async def test_a_claim_that_a_reorg_throws_out_is_sent_again(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.CLAIM_SEEN)
    source = world.get().source
    world.chains[instances.ETHEREUM].reorg(1, drop=[source.spend_tx])
    assert world.lock_state(source) is LedgerLockState.OPEN
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_the_users_claim_thrown_out_by_a_reorg_leaves_the_secret_known_and_is_made_good(
    world: BridgeWorld,
) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.CLAIM_SEEN)
    destination = world.get().destination
    world.users["swap1"].claims = False
    world.chains[instances.ZION].reorg(1, drop=[destination.spend_tx])
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.lock_state(destination) is LedgerLockState.CLAIMED


async def test_a_reorg_of_our_refund_makes_it_anew(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    destination = world.get().destination
    world.chains[instances.ZION].reorg(1, drop=[destination.spend_tx])
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


async def test_a_reorg_that_leaves_nothing_known_is_followed_all_the_same_and_pauses_the_chain(
    world: BridgeWorld,
) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    zion = world.chains[instances.ZION]
    zion.reorg(zion.head.height)
    with world.store.transaction() as tx:
        tx.blocks.remove(instances.ZION, tx.blocks.ring(instances.ZION)[:1])
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    with world.store.reading() as tx:
        assert tx.controls.get("pause:zion") is not None


async def test_a_spend_undone_deeper_than_finality_goes_back_to_the_outbox(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.CLAIM_FINAL)
    await world.steps(2)
    source = world.get().source
    world.chains[instances.ETHEREUM].reorg(6, drop=[source.spend_tx])
    assert world.lock_state(source) is LedgerLockState.OPEN
    await world.work()
    await world.until(lambda: world.lock_state(source) is LedgerLockState.CLAIMED)
    await world.until(world.is_over)
