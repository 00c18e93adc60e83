"""The destination stands still for 17 hours after it was locked, as Solana has: nobody gets both legs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.chains import registry
from bridge.chains.network import Network
from bridge.protocol import timelocks
from bridge.protocol.types import (
    Amount,
    Asset,
    ChainId,
    ChainTiming,
    LegState,
    SwapPolicy,
    SwapState,
    UnixSeconds,
)
from bridge.store import Transaction
from relayers.daemon.status import HALT_MS
from relayers.evm.profiles import profile_for
from relayers.evm.timing import timing_of
from relayers.fake import FakeWallet
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.scenario.world import BridgeWorld

HALT = 17 * 3_600
BUDGET = 20 * 3_600
CHAINS = ("zion", "ethereum", "solana", "stellar", "cardano")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.close()


async def halt_and_cheat(world: BridgeWorld, budget: int) -> None:
    """Lock both legs, let the destination stand still for 17 hours, and let the user take what can be taken:
    the source as soon as it is refundable, the destination in the first block after the halt."""
    world.swap(claims=False, halt_budget=budget)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap, zion, ethereum = world.get(), world.chains[instances.ZION], world.chains[instances.ETHEREUM]
    zion.faults.halted = True
    world.pass_time(HALT)
    for _ in range(6):
        await world.step()  # the user refunds the source if its deadline has passed
    FakeWallet(zion, "user").claim(lock_id_of(swap.destination.terms), world.secrets["swap1"])
    zion.faults.halted = False
    assert ethereum.head.time - zion.head.time >= HALT
    for _ in range(60):
        await world.step()


async def test_with_the_budget_the_bridge_gets_the_source(world: BridgeWorld) -> None:
    await halt_and_cheat(world, BUDGET)
    swap = world.get()
    assert swap.destination.state is LegState.CLAIM_FINAL
    assert swap.source.state is LegState.CLAIM_FINAL
    assert swap.state is SwapState.COMPLETED


async def test_without_it_the_user_would_have_had_both(world: BridgeWorld) -> None:
    """What the budget is for: this is the loss that it prevents."""
    await halt_and_cheat(world, 0)
    assert world.get().source.state is LegState.REFUND_FINAL


def timing(name: str) -> ChainTiming:
    asset = Asset(ChainId(name), "X", 8)
    if name == "ethereum":
        return timing_of(profile_for(1, "main")).for_amount(asset, Amount(0))
    return registry.family(name).section().default_timing(Network.MAIN).for_amount(asset, Amount(0))


@pytest.mark.parametrize("halted", CHAINS)
@pytest.mark.parametrize("other", CHAINS)
def test_after_17_hours_the_source_of_any_pair_is_still_ours_to_claim(halted: str, other: str) -> None:
    """The worst case: locked at the last moment at which that is allowed, halted at once, claimed by the
    user in the first block at T_dest after it."""
    if halted == other:
        return
    source, destination = timing(other), timing(halted)
    plan = timelocks.plan_deadlines(
        UnixSeconds(0),
        UnixSeconds(0),
        source=source,
        destination=destination,
        user_window=3_600,
        outage_budget=3_600,
        lock_window=930,
        halt_budget=BUDGET,
    )
    policy = SwapPolicy(source, destination, 3_600, 3_600, plan.lock_by, BUDGET)
    # While the destination's clock stood still, the source's went on; then both reach T_dest's true time.
    fate = plan.destination + HALT + timelocks.detect_time(destination)
    assert fate + timelocks.claim_budget(policy) <= plan.source
    old = msgspec.structs.replace(policy, halt_budget=0)
    assert plan.destination + timelocks.deadline_gap(old) < fate


async def test_nothing_is_locked_while_a_chain_stands_still(world: BridgeWorld) -> None:
    world.swap(halt_budget=BUDGET)
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.chains[instances.ZION].faults.halted = True
    await world.steps(12)
    assert world.get().source.state is LegState.FINAL
    assert world.get().destination.state in {LegState.NONE, LegState.INTENT}


async def test_a_relayer_notes_when_a_chain_goes_on_after_a_halt(world: BridgeWorld) -> None:
    def resumed(tx: Transaction) -> int:
        status = tx.chains.get(instances.ZION)
        assert status is not None
        return status.resumed_ms

    await world.steps(2)
    world.chains[instances.ZION].faults.halted = True
    await world.steps(HALT_MS // 10_000 + 2)
    world.chains[instances.ZION].faults.halted = False
    await world.steps(2)
    with world.store.reading() as tx:
        assert tx.now_ms - 30_000 <= resumed(tx) <= tx.now_ms


async def test_a_relayer_that_was_away_itself_notes_no_halt(world: BridgeWorld) -> None:
    await world.steps(2)
    world.pass_time(3_600)
    await world.steps(2)
    with world.store.reading() as tx:
        status = tx.chains.get(instances.ZION)
    assert status is not None
    assert status.resumed_ms == 0
