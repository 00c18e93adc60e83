"""The price moves between the quote and the bridge's lock: who only locks to wait and see gains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.protocol.types import Abandonment, LegState, PriceTerms, Purpose, SwapId, SwapState
from bridge.store.records import MarketPrice
from bridge.store.repositories.market import price_name
from tests import instances
from tests.scenario.world import ETH, ZION, BridgeWorld

AGREED = PriceTerms(4_000, 1, 10_000_000)
"""4,000 ZION for one ETH, and 1 % of tolerance."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.close()


def sell(world: BridgeWorld) -> None:
    """Sell a swap that is held to its price."""
    world.swap()
    with world.store.transaction() as tx:
        stored = tx.swaps.get(SwapId("swap1"), for_update=True)
        assert stored is not None
        policy = msgspec.structs.replace(stored.swap.policy, price=AGREED)
        tx.swaps.save(msgspec.structs.replace(stored.swap, policy=policy), stored.version)


def tell(world: BridgeWorld, zion: tuple[int, int] = (1, 2), *, age: int = 0, wait: str = "") -> None:
    """Store what the desk would: an ETH is worth 2,000."""
    with world.store.transaction() as tx:
        for asset, price in ((ETH.key, (2_000, 1)), (ZION.key, zion)):
            stored = MarketPrice(
                asset, *price, price, price, tx.now_ms // 1000 - age, 3_600, wait, ("one", "two")
            )
            tx.market.put({price_name(asset): msgspec.json.encode(stored).decode()})


def seen(world: BridgeWorld) -> str:
    with world.store.reading() as tx:
        return "".join(
            event.body
            for event in tx.events.after(0, swap_id=SwapId("swap1"))
            if event.kind == "PriceChecked"
        )


async def test_within_the_tolerance_the_swap_completes_and_the_prices_are_in_its_log(
    world: BridgeWorld,
) -> None:
    sell(world)
    tell(world, (504, 1_000))
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert '"loss_ppb":8000000' in seen(world)
    assert '"sources":["one","two"]' in seen(world)


async def test_beyond_it_the_source_goes_back_at_once_and_nothing_was_locked(world: BridgeWorld) -> None:
    sell(world)
    tell(world, (51, 100))
    await world.until(world.is_over)
    swap = world.get()
    assert (swap.state, swap.abandoned) == (SwapState.REFUNDED, Abandonment.PRICE)
    assert swap.destination.state is LegState.NONE
    assert swap.times[instances.ETHEREUM] < swap.destination.terms.deadline
    assert '"go":false' in seen(world)
    assert swap.attention == ""


async def test_a_price_that_comes_back_does_not_bring_a_called_off_swap_back(world: BridgeWorld) -> None:
    sell(world)
    tell(world, (51, 100))
    await world.until(lambda: world.get().abandoned is not None)
    tell(world)
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


@pytest.mark.parametrize("trouble", ["none", "old", "ahead", "waits"])
async def test_without_a_price_of_today_the_lock_waits(world: BridgeWorld, trouble: str) -> None:
    sell(world)
    if trouble != "none":
        tell(
            world,
            age={"old": 3_601, "ahead": -100_000}.get(trouble, 0),
            wait="its price made a step" if trouble == "waits" else "",
        )
    await world.until(lambda: world.get().source.state is LegState.FINAL)
    await world.steps(3)
    assert world.get().destination.state is LegState.INTENT
    assert world.get().abandoned is None
    tell(world)
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_without_any_price_the_deadlines_give_the_source_back(world: BridgeWorld) -> None:
    sell(world)
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    assert world.get().abandoned is Abandonment.TIMELOCK


async def test_a_lock_that_was_signed_is_taken_back_at_twice_the_tolerance(world: BridgeWorld) -> None:
    sell(world)
    tell(world)
    world.chains[instances.ZION].faults.hold_blocks = 50
    await world.until(lambda: bool(signed(world)))
    tell(world, (51, 100))  # 2 %: still within twice the tolerance
    await world.steps(2)
    assert world.get().abandoned is None
    tell(world, (52, 100))
    await world.until(lambda: world.get().abandoned is Abandonment.PRICE)
    await world.steps(6)
    world.chains[instances.ZION].faults.hold_blocks = 0
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


def signed(world: BridgeWorld) -> list[object]:
    with world.store.reading() as tx:
        intent = tx.intents.standing("swap1", "destination", Purpose.LOCK)
        return list(tx.transactions.of_intent(intent.id)) if intent else []
