"""Somebody who knows the preimage claims the source for the bridge, at any instant: what is owed is paid."""

from __future__ import annotations

import pytest

from bridge.protocol.types import LegState, SwapState, payback_terms
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests import instances
from tests.scenario.world import ALL_JOBS, INTERVAL, LOCK_WINDOW, BridgeWorld

ETHEREUM, ZION = instances.ETHEREUM, instances.ZION


def claim_for_the_bridge(world: BridgeWorld) -> None:
    world.wallet(ETHEREUM).claim(lock_id_of(world.get().source.terms), world.secrets["swap1"])


def user_has(world: BridgeWorld) -> tuple[bool, bool]:
    """Whether the user got the destination, and whether the source's amount was paid back."""
    swap = world.get()
    back = world.chains[ETHEREUM].ledger.locks.get(lock_id_of(payback_terms(swap.source.terms)))
    taken = world.lock_state(swap.destination) is LedgerLockState.CLAIMED
    return taken, back is not None and back[1] is LedgerLockState.CLAIMED


@pytest.mark.parametrize("steps", range(12))
async def test_a_claim_in_any_block_after_the_lock_pays_the_user_once(world: BridgeWorld, steps: int) -> None:
    """engine/early_claim: with the bridge at work the destination is locked and claimed for the user."""
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    await world.steps(steps)
    claim_for_the_bridge(world)
    await world.until(world.is_over, limit=200)
    assert user_has(world) == (True, False)
    assert world.state() is SwapState.COMPLETED


@pytest.mark.parametrize("outage", [LOCK_WINDOW // 2, 200, 260, 300, 400, 600, 1_000])
async def test_a_claim_while_the_destinations_relayer_is_away_pays_the_user_once(
    world: BridgeWorld, outage: int
) -> None:
    """Until the time for the counter-lock is over the destination is owed, then the source's amount."""
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    claim_for_the_bridge(world)
    for _ in range(outage // INTERVAL):
        world.mine()
        await world.workers[ETHEREUM].run_pass(ALL_JOBS)
    await world.until(world.is_over, limit=300)
    taken, paid_back = user_has(world)
    assert taken != paid_back
    assert world.state() is (SwapState.COMPLETED if taken else SwapState.REFUNDED)
    if outage >= 400:
        assert paid_back
        assert world.locks_sent() == 0


@pytest.mark.parametrize("steps", [2, 40])
async def test_a_claim_that_is_understood_only_later_is_no_contradiction_to_itself(
    world: BridgeWorld, steps: int
) -> None:
    """It was seen first as a spend without proof, in the very block that shows the claim."""
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    claim_for_the_bridge(world)
    world.chains[ETHEREUM].odd.update(world.chains[ETHEREUM].mempool)
    await world.until(lambda: world.get().source.state is LegState.SPENT_UNKNOWN)
    await world.steps(steps)
    assert user_has(world) == (False, False)
    world.chains[ETHEREUM].odd.clear()
    await world.until(world.is_over, limit=300)
    assert user_has(world) == (False, True)


async def test_a_lock_that_came_too_late_and_was_claimed_is_paid_back(world: BridgeWorld) -> None:
    """Both in one block: nobody can give the lock back before."""
    world.swap(late=True, claims=False, refunds=False)
    fake, user = world.chains[ETHEREUM], world.users["swap1"]
    for _ in range(60):
        world.mine()
        user.act()
        if user._in_mempool(fake):
            break
        await world.work()
    claim_for_the_bridge(world)
    await world.until(world.is_over, limit=200)
    assert user_has(world) == (False, True)
    assert world.locks_sent() == 0


async def test_a_claim_after_our_refund_of_the_destination_is_paid_back(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    claim_for_the_bridge(world)
    await world.until(world.is_over, limit=200)
    assert user_has(world) == (False, True)
    assert world.state() is SwapState.REFUNDED


async def test_a_restart_between_signing_and_sending_pays_back_once(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    claim_for_the_bridge(world)
    for _ in range(60):
        await world.step()
        world.process()
    await world.until(world.is_over, limit=200)
    assert user_has(world) == (False, True)
