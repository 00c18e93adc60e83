"""What can go wrong around a batch of claims: what it left out is claimed alone, soon and for certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.engine.decisions import URGENT_INCLUSIONS
from bridge.protocol.types import LegState, TxId
from bridge.store.records import Intent
from relayers.fake.ledger import FakeTx, LedgerLockState
from tests import instances
from tests.scenario.test_batches import all_completed, all_over, batching, until_the_users_claim
from tests.scenario.world import TIMING, BridgeWorld, Fuse, Killed


def leader_and_members(world: BridgeWorld) -> tuple[Intent, list[Intent]]:
    """The claim that leads a batch, and the other claims in it."""
    with world.store.reading() as tx:
        members = [i for i in tx.intents.live(instances.ETHEREUM) if i.batch_leader is not None]
        assert members[0].batch_leader is not None
        leader = tx.intents.get(members[0].batch_leader)
    assert leader is not None
    return leader, members


def stranger_claims(world: BridgeWorld, swap_id: str) -> str:
    """Somebody with the secret claims for the bridge; returns the transaction's id."""
    lock_id = world.get(swap_id).source.lock_id
    return world.wallet(instances.ETHEREUM).claim(lock_id, world.secrets[swap_id])


def is_claimed(world: BridgeWorld, swap_id: str) -> bool:
    return world.lock_state(world.get(swap_id).source) is LedgerLockState.CLAIMED


def landed_batch(world: BridgeWorld) -> FakeTx | None:
    for block in world.chains[instances.ETHEREUM].blocks:
        for outcome in block.outcomes:
            if outcome.tx.account == "bridge" and outcome.tx.others and outcome.reason is None:
                return outcome.tx
    return None


async def a_waiting_batch(world: BridgeWorld) -> tuple[Intent, list[Intent]]:
    ethereum = world.chains[instances.ETHEREUM]
    await until_the_users_claim(world)
    ethereum.faults.hold_blocks = 100
    await world.until(lambda: any(i.batch_leader is not None for i in world.unfinished_intents()))
    return leader_and_members(world)


async def batch_goes_on_without(world: BridgeWorld, swap_id: str) -> None:
    """A stranger claims one lock of the waiting batch, the batch is outbid without it, lands, and then the
    chain forgets the stranger's claim."""
    ethereum = world.chains[instances.ETHEREUM]
    lock_id = world.get(swap_id).source.lock_id
    stranger = stranger_claims(world, swap_id)
    ethereum.mempool[stranger] = type(ethereum.mempool[stranger])(ethereum.mempool[stranger].tx, -1_000)
    await world.until(lambda: world.get(swap_id).source.state is LegState.CLAIM_SEEN)

    def without() -> bool:
        return any(
            p.tx.account == "bridge" and lock_id not in {p.tx.lock_id, *(other for other, _ in p.tx.others)}
            for p in ethereum.mempool.values()
        )

    for _ in range(8):
        if without():
            break
        world.mine()
        await world.work()
    assert without()
    ethereum.faults.hold_blocks = 0
    world.mine()
    assert landed_batch(world) is not None
    height = ethereum.included(TxId(stranger))[0].ref.height  # type: ignore[index]
    ethereum.reorg(ethereum.head.height - height + 1, [stranger])
    assert not is_claimed(world, swap_id)


async def test_the_claim_that_led_a_batch_is_made_even_if_the_batch_landed_without_it(tmp_path: Path) -> None:
    world = batching(tmp_path)
    leader, _ = await a_waiting_batch(world)
    await batch_goes_on_without(world, leader.swap_id)
    await world.until(lambda: is_claimed(world, leader.swap_id), limit=25)
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    world.close()


async def test_a_claim_that_its_batch_left_out_does_not_wait_until_the_batch_is_final(tmp_path: Path) -> None:
    world = batching(tmp_path)
    _, members = await a_waiting_batch(world)
    await batch_goes_on_without(world, members[0].swap_id)
    await world.steps(3)
    assert is_claimed(world, members[0].swap_id)
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    world.close()


async def test_a_claim_near_its_deadline_neither_leads_nor_rides(tmp_path: Path) -> None:
    world = batching(tmp_path)
    await until_the_users_claim(world)
    world.ports[instances.ETHEREUM].faults.down = True
    await world.until(lambda: all(world.get(swap_id).secret_known for swap_id in world.users))
    urgent = world.get("swap1").source.terms.deadline - URGENT_INCLUSIONS * TIMING.inclusion_p99
    world.pass_time(urgent - world.chains[instances.ETHEREUM].head.time)
    world.ports[instances.ETHEREUM].faults.down = False
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    assert landed_batch(world) is None
    world.close()


async def test_a_batch_that_reverted_keeps_nobody_until_that_is_final(tmp_path: Path) -> None:
    world = batching(tmp_path)
    ethereum = world.chains[instances.ETHEREUM]
    leader, members = await a_waiting_batch(world)
    ethereum.faults.revert = 1
    ethereum.faults.hold_blocks = 0
    await world.steps(2)
    assert all(is_claimed(world, claim.swap_id) for claim in (leader, *members))
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    world.close()


async def play_with_a_spoiler(world: BridgeWorld) -> None:
    """Play to the end; once a batch waits, a stranger claims one lock out of its middle."""
    ethereum, spoiled = world.chains[instances.ETHEREUM], False
    for _ in range(150):
        if all_over(world):
            return
        waiting = [pending.tx for pending in ethereum.mempool.values() if pending.tx.others]
        if waiting and not spoiled:
            lock_id = waiting[0].others[0][0]
            (swap_id,) = [s for s in world.users if world.get(s).source.lock_id == lock_id]
            stranger_claims(world, swap_id)
            spoiled = True
        await world.step()
    raise AssertionError(world.describe())


@pytest.mark.parametrize("sequences", [pytest.param(True, marks=pytest.mark.long), False])
async def test_a_process_that_is_killed_anywhere_around_a_spoiled_batch_loses_nothing(
    tmp_path: Path, sequences: bool
) -> None:
    start = batching(
        tmp_path / "start", atomic_claims=True, sequences=sequences, expiry_blocks=None if sequences else 8
    )
    await until_the_users_claim(start)
    rehearsal = start.fork(tmp_path / "rehearsal", Fuse())
    await play_with_a_spoiler(rehearsal)
    places = rehearsal.fuse.count
    rehearsal.close()
    for place in range(3, places, 7):  # all of them were played once; these keep it so
        world = start.fork(tmp_path / str(place), Fuse(at=place))
        try:
            await play_with_a_spoiler(world)
        except Killed:
            world.process()
            world.now_ms += 16_000  # the lease of the killed process runs out
        await play_with_a_spoiler(world)
        world.check()
        assert all_completed(world), f"killed at {world.fuse.places}"
        world.close()
    start.close()
