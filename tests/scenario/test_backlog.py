"""What is known already does not wait for what still has to be read, however short the relayer lives."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from bridge.protocol.types import LegState, Purpose, TxId
from bridge.store.records import IntentState, StoredTxState
from relayers.daemon.loop import Job, Worker
from relayers.fake.ledger import lock_id_of
from tests import instances
from tests.scenario.world import ALL_JOBS, BridgeWorld, Fuse, Killed

SOURCE, DESTINATION = instances.ETHEREUM, instances.ZION
AWAY = 400
"""Blocks made while the source's relayer was away."""
PLACES = 17
"""Places that a process passes before it is killed again."""
LEASE_MS = 16_000


async def _owed(folder: Path, count: int = 1) -> BridgeWorld:
    """Swaps whose destinations were claimed while the source's relayer was away for long."""
    world = BridgeWorld(folder)
    swaps = [world.swap(number) for number in range(1, count + 1)]
    await world.until(lambda: all(world.get(one).destination.state is LegState.FINAL for one in swaps))
    while not all(world.get(one).secret_known for one in swaps):
        world.mine()
        for user in world.users.values():
            user.act()
        await world.workers[DESTINATION].run_pass([Job.POLL])
    world.now_ms += LEASE_MS
    world.chains[SOURCE].mine(AWAY, interval=0)
    return world


def _narrow(worker: Worker) -> Worker:
    """Read ten blocks with each scan: a backlog of many scans."""
    worker._watcher._max_blocks = 10
    return worker


def _sent(world: BridgeWorld, swap_id: str = "swap1") -> bool:
    """Whether a claim of the source is on its way, or there."""
    terms = world.get(swap_id).source.terms
    fake = world.chains[SOURCE]
    pending = (entry.tx for entry in fake.mempool.values())
    included = (outcome.tx for block in fake.blocks for outcome in block.outcomes)
    return any(
        tx.purpose is Purpose.CLAIM and tx.lock_id == lock_id_of(terms) for tx in (*pending, *included)
    )


def _scanned(world: BridgeWorld) -> int:
    with world.store.reading() as tx:
        status = tx.chains.get(SOURCE)
    return status.scanned if status else 0


async def test_a_relayer_that_dies_every_seventeen_places_claims_before_it_has_caught_up(
    tmp_path: Path,
) -> None:
    world = await _owed(tmp_path / "world")
    for _ in range(3):
        world.process(Fuse(at=PLACES, calls=True))
        with pytest.raises(Killed):
            await _narrow(world.workers[SOURCE]).run_pass(ALL_JOBS)
        world.now_ms += LEASE_MS
        if _sent(world):
            break
    assert _sent(world)
    world.process()
    assert world.chains[SOURCE].head.height - _scanned(world) > AWAY // 2
    await world.until(world.is_over)
    world.check()
    world.close()


async def test_each_life_takes_the_claim_with_the_nearest_deadline(tmp_path: Path) -> None:
    """Many claims wait, also some that were sent: no life may end with asking about those."""
    world = await _owed(tmp_path / "world", count=5)
    nearest = "swap4"
    swap = world.get(nearest)
    terms = msgspec.structs.replace(swap.source.terms, deadline=swap.source.terms.deadline - 1)
    with world.store.transaction() as tx:  # the intents were planned in the order of the numbers
        stored = tx.swaps.get(swap.id)
        assert stored is not None
        sooner = msgspec.structs.replace(swap, source=msgspec.structs.replace(swap.source, terms=terms))
        tx.swaps.save(sooner, stored.version)
        order = tx.intents.claim_deadlines([swap.id])
    assert order[swap.id, "source"] == terms.deadline
    asked: list[str] = []
    world.process()
    port = world.ports[SOURCE]
    prepare = port.prepare

    async def noting(action: object, *rest: object) -> object:
        asked.append(action.terms.hashlock.hex())  # type: ignore[attr-defined]
        return await prepare(action, *rest)

    port.prepare = noting  # type: ignore[method-assign]
    await _narrow(world.workers[SOURCE]).outbox.work(only_claims=True)
    assert asked[0] == swap.hashlock.hex()
    assert len(asked) == 5
    world.close()


async def test_claims_that_were_sent_are_not_asked_about_before_new_ones_go_out(tmp_path: Path) -> None:
    world = await _owed(tmp_path / "world", count=6)
    lives = 0
    while not all(_sent(world, f"swap{number}") for number in range(1, 7)):
        lives += 1
        assert lives <= 8, world.describe()
        world.process(Fuse(at=PLACES, calls=True))
        with pytest.raises(Killed):
            await _narrow(world.workers[SOURCE]).run_pass(ALL_JOBS)
        world.now_ms += LEASE_MS
    world.process()
    assert world.chains[SOURCE].head.height - _scanned(world) > AWAY // 2
    world.close()


async def test_a_secret_that_comes_in_the_middle_of_a_backlog_is_used_before_its_end(tmp_path: Path) -> None:
    """Backlog and live work are apart: between two scans the claims have their turn."""
    world = await _owed(tmp_path / "world")
    world.process()
    worker = _narrow(world.workers[SOURCE])
    heights: list[int] = []
    work = worker.outbox.work

    async def noting(*, only_claims: bool = False) -> bool:
        heights.append(_scanned(world))
        return await work(only_claims=only_claims)

    worker.outbox.work = noting  # type: ignore[method-assign]
    await worker.run_pass([Job.POLL])
    assert len(heights) > AWAY // 10
    assert max(after - before for before, after in itertools.pairwise(heights)) <= 10
    world.close()


async def test_only_claims_are_sent_before_the_chain_was_read(tmp_path: Path) -> None:
    """A lock or a refund may be forbidden by what stands in the blocks that were not read yet."""
    world = BridgeWorld(tmp_path / "world")
    world.swap()
    await world.step()
    while world.get().source.state is not LegState.FINAL:
        world.mine()
        await world.workers[DESTINATION].run_pass([Job.POLL])
        await world.workers[SOURCE].run_pass([Job.POLL])
    with world.store.reading() as tx:
        assert [intent.purpose for intent in tx.intents.due(DESTINATION)] == [Purpose.LOCK]
    outbox = world.workers[DESTINATION].outbox
    assert not await outbox.work(only_claims=True)
    assert not world.chains[DESTINATION].mempool
    assert await outbox.work()
    assert world.chains[DESTINATION].mempool
    world.close()


async def test_a_claim_that_was_signed_and_not_sent_goes_out_before_the_others_are_asked_about(
    tmp_path: Path,
) -> None:
    """A process may die between storing a transaction and sending it, each time."""
    world = await _owed(tmp_path / "world", count=25)
    world.process()
    await world.workers[SOURCE].outbox.work(only_claims=True)
    await world.workers[SOURCE].outbox.release()
    fake = world.chains[SOURCE]
    lost = next(tx_id for tx_id, pending in fake.mempool.items() if pending.tx.sequence == 24)
    del fake.mempool[lost]
    with world.store.transaction() as tx:
        stored = tx.transactions.by_tx_id(SOURCE, TxId(lost))
        assert stored is not None
        tx.intents.move(stored.intent_id, IntentState.SIGNED)
        tx.transactions.move(stored.id, StoredTxState.SIGNED)
    world.process(Fuse(at=PLACES, calls=True))
    with pytest.raises(Killed):
        await _narrow(world.workers[SOURCE]).run_pass(ALL_JOBS)
    assert lost in fake.mempool
    world.close()
