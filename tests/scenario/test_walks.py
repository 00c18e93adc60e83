"""The straight ways through a swap, and walking away from it in each direction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.protocol.types import ChainId, LegState, SwapId, SwapState
from relayers.daemon.loop import Job
from relayers.fake.ledger import LedgerLockState
from tests import instances
from tests.scenario.world import BridgeWorld

BOTH_WAYS = pytest.mark.parametrize("source", [instances.ETHEREUM, instances.ZION])


@BOTH_WAYS
async def test_an_honest_swap_completes_on_both_chains(world: BridgeWorld, source: ChainId) -> None:
    world.swap(source=source)
    await world.until(world.is_over)
    swap = world.get()
    assert swap.state is SwapState.COMPLETED
    assert world.lock_state(swap.source) is LedgerLockState.CLAIMED
    assert world.lock_state(swap.destination) is LedgerLockState.CLAIMED
    with world.store.reading() as tx:
        receipt = tx.receipts.get(SwapId("swap1"))
        kinds = [logged.kind for logged in tx.events.after(0)]
    assert receipt is not None
    assert kinds.count("LockSeen") == kinds.count("LockFinal") == 2
    await world.steps(5)
    assert world.unfinished_intents() == []


@BOTH_WAYS
async def test_a_user_who_never_funds_costs_nothing(world: BridgeWorld, source: ChainId) -> None:
    world.swap(source=source, locks=False)
    await world.until(world.is_over)
    assert world.state() is SwapState.EXPIRED_UNFUNDED
    assert world.locks_sent() == 0


@BOTH_WAYS
async def test_when_the_user_walks_away_the_bridge_takes_its_lock_back_then_gives_the_source_back(
    world: BridgeWorld, source: ChainId
) -> None:
    world.swap(source=source, claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_FINAL)
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    assert world.lock_state(world.get().source) is LedgerLockState.REFUNDED


async def test_swaps_end_as_well_on_postgresql_with_two_workers_per_chain(
    tmp_path: Path, postgres_urls: Callable[[], str]
) -> None:
    world = BridgeWorld(tmp_path, url=postgres_urls())
    rivals = {
        chain: world.make_worker(chain, owner="rival") for chain in instances.ALL if chain in world.chains
    }
    world.swap(1)
    world.swap(2, instances.ZION, claims=False, refunds=False)
    for turn in range(150):
        if world.is_over("swap1") and world.is_over("swap2"):
            break
        await world.step()
        # Both at once, each in its own connections: they may get in each other's way, not in the money's.
        pairs = [*world.workers.values(), *rivals.values()]
        await asyncio.gather(*(worker.run_pass([Job.POLL, Job.SWEEP]) for worker in pairs))
        if turn % 5 == 0:
            world.now_ms += 16_000
    assert world.state("swap1") in {SwapState.COMPLETED, SwapState.REFUNDED}
    assert world.state("swap2") is SwapState.REFUNDED
    world.check()
    world.close()


async def test_a_user_who_reveals_at_once_is_paid_and_so_is_the_bridge(world: BridgeWorld) -> None:
    world.swap(hurry=True)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_when_the_bridge_is_gone_the_user_refunds_alone(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    for _ in range(150):
        world.mine()
        world.users["swap1"].claims = False
        world.users["swap1"].act()
    assert world.lock_state(world.get().source) is LedgerLockState.REFUNDED
