"""kill -9 before and after every commit, every signature and every broadcast of a swap's life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import pytest

from bridge.protocol.types import SwapState
from tests import instances
from tests.scenario.world import Behaviour, BridgeWorld, Fuse, Killed

IDLE = 4
"""A step in which both workers only store the new tip passes this many places."""


async def _to_the_end(world: BridgeWorld) -> None:
    """Play on; whenever the processes die, they start again on the same database."""
    for _ in range(100):
        if world.is_over():
            return
        try:
            await world.step()
        except Killed:
            world.process()
        _hurry(world)
    raise AssertionError(world.describe())


def _hurry(world: BridgeWorld) -> None:
    """A user who walked away makes everybody wait for a deadline: skip the wait."""
    swap = world.get()
    here = world.chains[swap.destination.terms.chain]
    waits = swap.state is SwapState.AWAIT_CLAIM and not world.users["swap1"].claims
    if waits and here.head.time < swap.destination.terms.deadline:
        world.pass_time(swap.destination.terms.deadline - here.head.time)


async def _kill_everywhere(
    folder: Path,
    end: SwapState,
    start: Callable[[BridgeWorld], bool] | None = None,
    commits: int = 1,
    **behaviour: Unpack[Behaviour],
) -> Counter[str]:
    """Play a life; for each place in each step (from `start` on) play on from a copy that dies there.
    `commits`: only around every so many of the commits."""
    met: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    life = BridgeWorld(folder)
    life.swap(**behaviour)
    while not life.is_over():
        if start is not None and not start(life):
            await life.step()
            life.fuse.places.clear()
            _hurry(life)
            continue
        before = life.fork(folder / f"step{life.chains[instances.ZION].head.height}", Fuse())
        await life.step()
        places = list(life.fuse.places)
        life.fuse.places.clear()
        _hurry(life)
        for number, place in enumerate(places if len(places) > IDLE else [], 1):
            met[place] += 1
            if "commit" in place and met[place] % commits:
                continue
            fork = before.fork(before.folder / str(number), Fuse(at=number))
            await _to_the_end(fork)
            where = (
                f"{place} ({number} of {len(places)} after block {before.chains[instances.ZION].head.height})"
            )
            assert fork.state() is end, f"killed {where}\n{fork.describe()}"
            fork.check()
            fork.close()
            killed[place] += 1
        before.close()
    assert life.state() is end
    life.check()
    life.close()
    return killed


@pytest.mark.parametrize(
    "commits", [4, pytest.param(1, marks=pytest.mark.long)], ids=["every fourth commit", "every commit"]
)
async def test_a_kill_anywhere_in_a_swap_that_completes_changes_nothing(tmp_path: Path, commits: int) -> None:
    killed = await _kill_everywhere(tmp_path, SwapState.COMPLETED, commits=commits)
    assert killed["before broadcast"] == killed["after broadcast"] == 2  # the lock, the claim
    assert killed["before sign"] == killed["after sign"] == 2
    assert killed["before commit"] > 20 // commits


@pytest.mark.long
async def test_a_kill_anywhere_after_the_user_walked_away_changes_nothing(tmp_path: Path) -> None:
    def overdue(world: BridgeWorld) -> bool:
        swap = world.get()
        chain = world.chains[swap.destination.terms.chain]
        return chain.head.time >= swap.destination.terms.deadline

    killed = await _kill_everywhere(tmp_path, SwapState.REFUNDED, overdue, claims=False, refunds=False)
    assert killed["after broadcast"] == 2  # the refund of our lock, the source given back


@pytest.mark.parametrize("every", [19, 23, 29])
async def test_a_bridge_that_dies_again_and_again_still_finishes(tmp_path: Path, every: int) -> None:
    world = BridgeWorld(tmp_path)
    world.swap()
    world.process(Fuse(at=every))
    for _ in range(200):
        if world.is_over():
            break
        try:
            await world.step()
        except Killed:
            world.process(Fuse(at=every))
    assert world.state() is SwapState.COMPLETED
    world.check()
    world.close()
