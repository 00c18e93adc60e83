"""Claims that wait at the same time share a transaction, and whatever becomes of it, each is made once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bridge.protocol.types import LegState, Purpose, SwapId, SwapState
from bridge.store.records import IntentState, StoredTxState
from relayers.fake.ledger import FakeTx, LedgerLockState
from tests import instances
from tests.scenario.world import BridgeWorld, Fuse, Killed

SWAPS = 4


def batching(folder: Path, **options: Any) -> BridgeWorld:
    world = BridgeWorld(folder, max_claims=10, **options)
    for number in range(1, SWAPS + 1):
        world.swap(number)
    return world


def claims_on_chain(world: BridgeWorld) -> list[FakeTx]:
    """The bridge's claims of sources that succeeded, oldest first."""
    return [
        outcome.tx
        for block in world.chains[instances.ETHEREUM].blocks
        for outcome in block.outcomes
        if outcome.tx.purpose is Purpose.CLAIM and outcome.tx.account == "bridge" and outcome.reason is None
    ]


def all_over(world: BridgeWorld) -> bool:
    return all(world.is_over(swap_id) for swap_id in world.users)


def knows_the_secret(world: BridgeWorld) -> bool:
    return world.get("swap1").secret_known


def all_completed(world: BridgeWorld) -> bool:
    return all(world.state(swap_id) is SwapState.COMPLETED for swap_id in world.users)


async def until_the_users_claim(world: BridgeWorld) -> None:
    await world.until(
        lambda: all(world.get(swap_id).destination.state is LegState.FINAL for swap_id in world.users)
    )


async def test_claims_that_wait_together_go_in_one_transaction(tmp_path: Path) -> None:
    world = batching(tmp_path)
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    (claim,) = claims_on_chain(world)
    assert len(claim.others) == SWAPS - 1
    with world.store.reading() as tx:
        intents = [i for swap_id in world.users for i in tx.intents.of_swap(SwapId(swap_id))]
        signed = [len(tx.transactions.of_swap(SwapId(swap_id))) for swap_id in world.users]
    states = {i.state for i in intents if i.purpose is Purpose.CLAIM}
    assert states == {IntentState.FINAL}
    assert sorted(signed) == [1] * (SWAPS - 1) + [2]  # a lock each, and one claim for all
    world.close()


async def test_a_batch_takes_no_more_than_its_chain_allows(tmp_path: Path) -> None:
    world = BridgeWorld(tmp_path, max_claims=3)
    for number in range(1, 6):
        world.swap(number)
    await world.until(lambda: all_over(world))
    assert all_completed(world)
    assert sorted(1 + len(claim.others) for claim in claims_on_chain(world)) == [2, 3]
    world.close()


async def test_a_claim_made_by_a_stranger_does_not_hold_the_others_up(tmp_path: Path) -> None:
    for atomic in (False, True):
        place = tmp_path / str(atomic)
        world = batching(place, atomic_claims=atomic)
        ethereum = world.chains[instances.ETHEREUM]
        await until_the_users_claim(world)
        await world.until(partial(knows_the_secret, world))
        # The batch is signed and waits; somebody else with the secret gets in before it.
        lock_id = world.get("swap1").source.lock_id
        ethereum.faults.drop_broadcasts = 3
        world.wallet(instances.ETHEREUM).claim(lock_id, world.secrets["swap1"])
        await world.until(partial(all_over, world))
        world.check()
        assert all_completed(world), f"atomic: {atomic}"
        world.close()


async def test_a_batch_that_a_reorg_removed_is_made_again(tmp_path: Path) -> None:
    world = batching(tmp_path)
    ethereum = world.chains[instances.ETHEREUM]
    await world.until(lambda: bool(claims_on_chain(world)))
    ethereum.reorg(1, [claims_on_chain(world)[0].tx_id])
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    world.close()


async def test_a_batch_stuck_below_a_fee_spike_is_outbid_as_a_batch(tmp_path: Path) -> None:
    world = batching(tmp_path)
    ethereum = world.chains[instances.ETHEREUM]
    ethereum.faults.hold_blocks = 2
    await world.until(
        lambda: any(
            i.purpose is Purpose.CLAIM and i.state is IntentState.BROADCAST
            for i in world.unfinished_intents()
        )
    )
    ethereum.price *= 100
    await world.until(lambda: all_over(world))
    assert all_completed(world)
    (claim,) = claims_on_chain(world)
    assert len(claim.others) == SWAPS - 1
    assert claim.price >= ethereum.price
    world.close()


async def test_a_batch_goes_on_for_the_others_when_the_claim_that_leads_it_is_done(tmp_path: Path) -> None:
    world = batching(tmp_path)
    ethereum = world.chains[instances.ETHEREUM]
    ethereum.faults.hold_blocks = 4
    await world.until(lambda: any(i.batch_leader is not None for i in world.unfinished_intents()))
    with world.store.reading() as tx:
        leader = next(
            i.batch_leader for i in tx.intents.live(instances.ETHEREUM) if i.batch_leader is not None
        )
        leading = tx.intents.get(leader)
    assert leading is not None
    ethereum.faults.hold_blocks = 0
    world.wallet(instances.ETHEREUM).claim(
        world.get(leading.swap_id).source.lock_id, world.secrets[leading.swap_id]
    )
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    with world.store.reading() as tx:
        cancelled = [t for t in tx.transactions.of_intent(leader) if t.cancels]
    assert not cancelled, "the batch was called off although others rode in it"
    world.close()


async def test_a_batch_that_the_chain_refuses_lets_the_others_go_on_long_before_it_expires(
    tmp_path: Path,
) -> None:
    world = batching(tmp_path, atomic_claims=True, sequences=False, expiry_blocks=60)
    ethereum = world.chains[instances.ETHEREUM]
    await until_the_users_claim(world)
    ethereum.faults.hold_blocks = 1
    await world.until(lambda: any(i.batch_leader is not None for i in world.unfinished_intents()))
    (batch,) = [pending.tx for pending in ethereum.mempool.values() if pending.tx.others]
    (spoiler,) = [s for s in world.users if world.get(s).source.lock_id == batch.others[0][0]]
    world.wallet(instances.ETHEREUM).claim(batch.others[0][0], world.secrets[spoiler])
    ethereum.faults.hold_blocks = 0
    await world.steps(6)
    claimed = [world.lock_state(world.get(swap_id).source) for swap_id in world.users]
    assert claimed == [LedgerLockState.CLAIMED] * SWAPS  # also the one that led the batch
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    world.close()


async def test_a_batch_that_expired_is_made_anew_with_a_better_bid(tmp_path: Path) -> None:
    world = batching(tmp_path, sequences=False, expiry_blocks=2)
    ethereum = world.chains[instances.ETHEREUM]
    await until_the_users_claim(world)
    ethereum.faults.drop_broadcasts = 6
    await world.until(lambda: all_over(world))
    world.check()
    assert all_completed(world)
    (claim,) = claims_on_chain(world)
    assert len(claim.others) == SWAPS - 1
    assert claim.price > ethereum.price
    world.close()


async def test_a_process_that_is_killed_anywhere_around_a_batch_repeats_nothing(tmp_path: Path) -> None:
    start = batching(tmp_path / "start")
    await until_the_users_claim(start)
    places = 0
    rehearsal = start.fork(tmp_path / "rehearsal", Fuse())
    await rehearsal.until(lambda: all_over(rehearsal))
    places = rehearsal.fuse.count
    assert places > 20
    rehearsal.close()
    for place in range(1, places, 3):  # every third: each kind of place many times
        world = start.fork(tmp_path / str(place), Fuse(at=place))
        try:
            await world.until(partial(all_over, world))
        except Killed:
            world.process()
            world.now_ms += 16_000  # the lease of the killed process runs out
        await world.until(partial(all_over, world))
        world.check()
        assert all_completed(world), f"killed at {world.fuse.places}"
        with world.store.reading() as tx:
            txs = {
                t.tx_id: t
                for swap_id in world.users
                for i, t in tx.transactions.of_swap(SwapId(swap_id))
                if i.purpose is Purpose.CLAIM
            }
        assert sum(t.state is StoredTxState.FINAL for t in txs.values()) <= 2
        assert all(
            world.lock_state(world.get(swap_id).source) is LedgerLockState.CLAIMED for swap_id in world.users
        )
        world.close()
    start.close()
