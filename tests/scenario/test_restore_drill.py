"""The drill of docs/operations/restore.md, on SQLite and on PostgreSQL with point-in-time recovery."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import pytest

from bridge.protocol.types import LegState, SwapId, SwapState
from bridge.store.repositories.recovery import RestorationState
from tests import instances
from tests.recovered_postgres import ArchivingServer
from tests.scenario.restoring import accept, back_up, book_of, put_back
from tests.scenario.world import Behaviour, BridgeWorld

SWAPS = range(1, 7)


class Transcript:
    """What happened, line by line."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.lines: list[str] = []

    def say(self, world: BridgeWorld, text: str) -> None:
        height = world.chains[instances.ZION].head.height
        self.lines.append(f"[{self._where}, block {height}] {text}")
        print(self.lines[-1])


def _states(world: BridgeWorld) -> dict[str, str]:
    with world.store.reading() as tx:
        found = {f"swap{number}": tx.swaps.get(SwapId(f"swap{number}")) for number in SWAPS}
    return {name: "unknown" if stored is None else stored.swap.state.value for name, stored in found.items()}


def _sell(world: BridgeWorld, number: int, **behaviour: Unpack[Behaviour]) -> None:
    source = instances.ETHEREUM if number % 2 else instances.ZION
    world.swap(number, source, **behaviour)
    accept(world, f"swap{number}")


async def _drill(
    world: BridgeWorld, where: str, take_backup: Callable[[], None], restore: Callable[[], None]
) -> None:
    told = Transcript(where)
    _sell(world, 1)
    _sell(world, 2, claims=False)
    await world.until(lambda: world.get("swap1").destination.state is LegState.SEEN)
    take_backup()
    told.say(world, f"backup taken: {json.dumps(_states(world))}")
    _sell(world, 3)
    _sell(world, 4, claims=False)
    _sell(world, 5)
    await world.until(lambda: world.get("swap3").destination.state is LegState.FINAL)
    await world.until(lambda: world.get("swap5").destination.state is LegState.CLAIM_SEEN)
    _sell(world, 6)
    told.say(world, f"the database is lost: {json.dumps(_states(world))}")

    restore()
    told.say(world, f"backup put back: {json.dumps(_states(world))}")
    lost = book_of(world).compare()
    told.say(world, f"journal compared: {lost} swaps are not in the database")
    assert lost == 4
    with world.store.reading() as tx:
        paused = sorted(switch.name for switch in tx.controls.all())
    told.say(world, f"paused: {', '.join(paused)}")
    assert paused == ["pause:ethereum", "pause:zion"]
    await world.step()
    with world.store.reading() as tx:
        restored = [tx.restorations.get(SwapId(f"swap{number}")) for number in (3, 4, 5, 6)]
        unknown = tx.unknown_locks.unresolved()
    told.say(world, f"both chains read again: {json.dumps(_states(world))}")
    assert all(found is not None and found.state is RestorationState.DONE for found in restored)
    assert unknown == []
    await world.until(lambda: all(world.is_over(f"swap{number}") for number in SWAPS), 200)
    told.say(world, f"all is over: {json.dumps(_states(world))}")
    world.check()
    for number in SWAPS:
        claims = number not in {2, 4}
        assert world.state(f"swap{number}") is (SwapState.COMPLETED if claims else SwapState.REFUNDED)
    told.say(world, "the books agree: nobody lost, no lock was made twice")
    with world.store.transaction() as tx:
        for name in paused:
            tx.controls.clear(name)
    told.say(world, "an operator resumes both chains")
    await world.steps(8)
    with world.store.reading() as tx:
        assert tx.controls.all() == []


async def test_the_drill_on_sqlite(world: BridgeWorld) -> None:
    backups: list[Path] = []
    await _drill(
        world,
        "SQLite",
        lambda: backups.append(back_up(world)),
        lambda: put_back(world, backups[0]),
    )


async def test_the_drill_on_postgresql_with_point_in_time_recovery(tmp_path: Path) -> None:
    server = ArchivingServer()
    try:
        world = BridgeWorld(tmp_path / "world", url=server.database("bridge"))

        def take() -> None:
            server.base_backup()
            # The base backup is older still: the archived log brings it forward to the moment.
            _sell(world, 50, locks=False)
            server.remember("before")

        def restore() -> None:
            world.store.close()
            server.go_back("before")
            world.process()

        await _drill(world, "PostgreSQL", take, restore)
        with world.store.reading() as tx:
            assert tx.swaps.get(SwapId("swap50")) is not None, "the log was replayed up to the moment"
        world.close()
    finally:
        server.close()


@pytest.mark.long
async def test_the_drill_without_a_journal_needs_the_users(world: BridgeWorld) -> None:
    """What the document says that a restore may lose."""
    backup = back_up(world)
    _sell(world, 1)
    receipt = book_of(world).receipt(SwapId("swap1"))
    await world.until(lambda: world.get("swap1").destination.state is LegState.FINAL)
    put_back(world, backup)
    (world.folder / "accepted.journal").unlink()
    assert book_of(world).compare() == 0
    await world.steps(2)
    with world.store.reading() as tx:
        assert [lock.hashlock for lock in tx.unknown_locks.unresolved()] == [
            world.secrets["swap1"].hashlock().hex()
        ]
    assert receipt is not None
    book_of(world).hand_in(receipt.text, receipt.signature)
    await world.until(lambda: _states(world)["swap1"] != "unknown" and world.is_over("swap1"), 200)
    assert world.state("swap1") is SwapState.COMPLETED
