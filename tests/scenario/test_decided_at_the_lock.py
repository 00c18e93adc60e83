"""The amount and the deadline of the destination are decided as it is locked: once, and within the quote."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import msgspec
import pytest

from bridge.engine.decisions import Decide, DecisionRules, Hold, current_decision
from bridge.protocol.timelocks import user_time
from bridge.protocol.types import (
    Abandonment,
    Amount,
    BlockHeight,
    CounterlockRange,
    LegState,
    Purpose,
    Swap,
    SwapId,
    SwapState,
)
from tests import instances
from tests.scenario.restoring import back_up, put_back
from tests.scenario.test_price_moves import AGREED, seen, signed, tell
from tests.scenario.world import TIMING, USER_WINDOW, BridgeWorld, Fuse, Killed

RULES = DecisionRules(3, batches=False)
SLACK = 60


def sell(world: BridgeWorld, percent: int = 2) -> Swap:
    """Sell a swap whose amount follows the price up and down by so much."""
    world.swap()
    with world.store.transaction() as tx:
        stored = tx.swaps.get(SwapId("swap1"), for_update=True)
        assert stored is not None
        terms = stored.swap.destination.terms
        left_open = CounterlockRange(
            quoted=terms.amount,
            minimum=Amount(terms.amount * (100 - percent) // 100),
            maximum=Amount(terms.amount * (100 + percent) // 100),
            latest=terms.deadline,
            slack=SLACK,
        )
        policy = msgspec.structs.replace(stored.swap.policy, price=AGREED, counterlock=left_open)
        tx.swaps.save(msgspec.structs.replace(stored.swap, policy=policy), stored.version)
    world.users["swap1"].swap = world.get()
    return world.get()


@pytest.mark.parametrize(
    ("zion", "thousandths"), [((1, 2), 1_000), ((495, 1_000), 1_010), ((505, 1_000), 990)]
)
async def test_what_is_locked_follows_the_price_and_leaves_the_user_one_window(
    world: BridgeWorld, zion: tuple[int, int], thousandths: int
) -> None:
    quoted = sell(world).destination.terms
    tell(world, zion)
    await world.until(world.is_over)
    swap = world.get()
    assert swap.state is SwapState.COMPLETED
    locked = swap.destination.terms
    assert locked.amount == quoted.amount * Fraction(1, 2) / Fraction(*zion) // 1
    assert abs(locked.amount * 1_000 - quoted.amount * thousandths) <= quoted.amount
    block = swap.destination.lock_block
    assert block is not None
    left, needed = locked.deadline - block.time, user_time(TIMING, USER_WINDOW)
    assert needed <= left + TIMING.block_interval
    assert left <= needed + SLACK
    assert locked.deadline < quoted.deadline
    assert f'"amount":{locked.amount}' in seen(world)
    world.check()


@pytest.mark.parametrize("zion", [(52, 100), (48, 100)], ids=["below", "above"])
async def test_beyond_the_range_the_source_goes_back_at_once(
    world: BridgeWorld, zion: tuple[int, int]
) -> None:
    sell(world)
    tell(world, zion)
    await world.until(world.is_over)
    swap = world.get()
    assert (swap.state, swap.abandoned) == (SwapState.REFUNDED, Abandonment.PRICE)
    assert swap.destination.state is LegState.NONE
    assert swap.times[instances.ETHEREUM] < swap.destination.terms.deadline
    assert not swap.terms_fixed
    world.check()


async def test_a_price_that_moves_on_does_not_change_what_was_decided(world: BridgeWorld) -> None:
    sell(world)
    tell(world)
    world.chains[instances.ZION].faults.hold_blocks = 50
    await world.until(lambda: bool(signed(world)))
    decided = world.get().destination.terms
    tell(world, (502, 1_000))
    await world.steps(2)
    world.chains[instances.ZION].faults.hold_blocks = 0
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.get().destination.terms == decided


async def test_after_the_decision_the_lock_is_held_to_the_price_of_the_decision(world: BridgeWorld) -> None:
    sell(world)
    tell(world, (492, 1_000))  # 1.6 % more for the user
    world.chains[instances.ZION].faults.hold_blocks = 50
    await world.until(lambda: bool(signed(world)))
    tell(world, (504, 1_000))  # 2.4 % above the price of the decision, 0.8 % above that of the quote
    await world.until(lambda: world.get().abandoned is Abandonment.PRICE)


async def test_a_lock_that_does_not_land_in_its_time_is_called_off(world: BridgeWorld) -> None:
    sell(world)
    tell(world)
    world.chains[instances.ZION].faults.hold_blocks = 50
    await world.until(lambda: bool(signed(world)))
    await world.until(lambda: world.get().abandoned is Abandonment.TIMELOCK)
    swap = world.get()
    assert swap.times[instances.ZION] < swap.destination.terms.deadline - user_time(TIMING, USER_WINDOW) + 20
    world.chains[instances.ZION].faults.hold_blocks = 0
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    world.check()


async def test_nothing_is_decided_while_the_destination_is_not_read_up_to_its_tip(
    world: BridgeWorld,
) -> None:
    """A lock of ours that an older database does not know would not keep a second one from landing."""
    sell(world)
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    tell(world)
    with world.store.transaction() as tx:
        intent = tx.intents.standing("swap1", "destination", Purpose.LOCK)
        status = tx.chains.get(instances.ZION)
        assert intent is not None
        assert status is not None
        assert isinstance(current_decision(tx, intent, RULES), Decide)
        tx.chains.put(msgspec.structs.replace(status, scanned=BlockHeight(status.scanned - 1)))
        decision = current_decision(tx, intent, RULES)
    assert isinstance(decision, Hold)
    assert "may hold a lock of ours" in decision.reason


async def test_a_database_that_forgot_the_decision_takes_the_lock_that_stands(world: BridgeWorld) -> None:
    sell(world)
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    backup = back_up(world)
    tell(world, (495, 1_000))
    await world.until(lambda: world.get().destination.state is LegState.SEEN)
    decided = world.get().destination.terms
    put_back(world, backup)
    assert not world.get().terms_fixed
    tell(world)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.get().destination.terms == decided
    world.check()


@pytest.mark.parametrize("at", range(1, 40, 5))
async def test_a_kill_around_the_decision_makes_no_second_one(tmp_path: Path, at: int) -> None:
    world = BridgeWorld(tmp_path)
    sell(world)
    tell(world)
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    world.process(Fuse(at=at))
    decided: set[object] = set()
    for number in range(150):
        if world.is_over():
            break
        tell_quietly(world, (1_000 + number % 7, 2_000))
        try:
            await world.step()
        except Killed:
            world.process()
        if world.get().terms_fixed:
            decided.add(world.get().destination.terms)
    assert world.state() is SwapState.COMPLETED, world.describe()
    assert len(decided) == 1
    world.check()
    world.close()


def tell_quietly(world: BridgeWorld, zion: tuple[int, int]) -> None:
    """Tell a price without using up the fuse."""
    fuse, world.store.fuse = world.store.fuse, Fuse()
    tell(world, zion)
    world.store.fuse = fuse
