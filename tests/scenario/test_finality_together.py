"""One reorganisation undoes all swaps in it: their amounts count together, not each alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridge.protocol.types import LegState, SwapId
from tests import instances
from tests.scenario.world import TIMING, BridgeWorld

AMOUNT = 10**19
GROWING = msgspec.structs.replace(TIMING, value_per_block=AMOUNT)
"""Each swap more at stake asks for one block more."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BridgeWorld]:
    made = BridgeWorld(tmp_path)
    yield made
    made.close()


def depths(world: BridgeWorld, count: int) -> list[int]:
    """At how many confirmations of the source the destination of each swap was included."""
    found = []
    for number in range(1, count + 1):
        swap = world.get(f"swap{number}")
        assert swap.source.lock_block is not None
        assert swap.destination.lock_block is not None
        found.append((swap.destination.lock_block.time - swap.source.lock_block.time) // 10)
    return sorted(found)


async def test_swaps_of_the_same_blocks_are_locked_one_after_the_other(world: BridgeWorld) -> None:
    for number in range(1, 6):
        world.swap(number, timing=GROWING, amount=AMOUNT, claims=False)
    await world.until(lambda: all(locked(world, number) for number in range(1, 6)))
    found = depths(world, 5)
    assert found == sorted(set(found)), "each waits for a block more than the one before"
    assert found[-1] - found[0] == 4


async def test_without_growing_depth_they_are_locked_at_once(world: BridgeWorld) -> None:
    for number in range(1, 6):
        world.swap(number, amount=AMOUNT, claims=False)
    await world.until(lambda: all(locked(world, number) for number in range(1, 6)))
    assert len(set(depths(world, 5))) == 1


async def test_what_is_paid_for_no_longer_counts(world: BridgeWorld) -> None:
    world.swap(1, timing=GROWING, amount=AMOUNT)
    await world.until(lambda: world.is_over("swap1"))
    with world.store.reading() as tx:
        assert tx.swaps.at_risk("ethereum:ETH", SwapId("")) == []
    world.swap(2, timing=GROWING, amount=AMOUNT, claims=False)
    await world.until(lambda: locked(world, 2))
    with world.store.reading() as tx:
        assert [amount for amount, _ in tx.swaps.at_risk("ethereum:ETH", SwapId(""))] == [AMOUNT]
        assert tx.swaps.at_risk("ethereum:ETH", SwapId("swap2")) == []
        assert tx.swaps.at_risk(f"{instances.ZION}:ZION", SwapId("")) == []


def locked(world: BridgeWorld, number: int) -> bool:
    return world.get(f"swap{number}").destination.state in {LegState.SEEN, LegState.FINAL}
