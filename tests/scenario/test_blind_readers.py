"""Readers that lie, are blind, cannot read, have forgotten or disagree: the bridge waits for a proof."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.chains.port import LockStatus
from bridge.engine.apply import apply_events
from bridge.protocol.events import OperatorCommand, OperatorVerb
from bridge.protocol.types import ChainId, LegState, SwapState
from bridge.store.records import IntentState, ObservedKind
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests import instances
from tests.scenario.world import ALL_JOBS, BridgeWorld

ETHEREUM, ZION = instances.ETHEREUM, instances.ZION


def destination_claimed(world: BridgeWorld) -> bool:
    return world.lock_state(world.get().destination) is LedgerLockState.CLAIMED


def source_stands(world: BridgeWorld) -> bool:
    return world.lock_state(world.get().source) is LedgerLockState.OPEN


def healthy(world: BridgeWorld, chain: ChainId) -> bool:
    with world.store.reading() as tx:
        status = tx.chains.get(chain)
    assert status is not None
    return status.healthy


async def until_claimed_unseen(world: BridgeWorld, fault: str) -> None:
    """The user claims, and from before that on the destination's reader has a fault."""
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    setattr(world.ports[ZION].faults, fault, True)
    await world.until(lambda: destination_claimed(world))


# A claim that is taken for something else (rekey_gate_engine: Stellar; c01: Cardano)


@pytest.mark.parametrize("fault", ["lies", "blind", "unreadable"])
async def test_a_claim_that_the_reader_does_not_recognise_never_gives_the_source_back(
    world: BridgeWorld, fault: str
) -> None:
    await until_claimed_unseen(world, fault)
    await world.until(lambda: world.get().destination.state is LegState.SPENT_UNKNOWN, limit=12)
    assert world.state() is SwapState.ATTENTION
    await world.steps(15)
    assert not world.get().secret_known
    assert source_stands(world), "the source was given back for a claim"
    assert healthy(world, ZION)
    setattr(world.ports[ZION].faults, fault, False)
    await world.until(world.is_over)
    assert (world.state(), world.lock_state(world.get().source)) == (
        SwapState.COMPLETED,
        LedgerLockState.CLAIMED,
    )


async def test_a_claim_reported_as_a_refund_after_the_deadline_is_found_out_by_the_direct_reading(
    world: BridgeWorld,
) -> None:
    world.swap(claims=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    swap = world.get()
    port = world.ports[ZION]
    port.faults.down = True
    world.pass_time(swap.destination.terms.deadline - world.chains[ZION].head.time + 1)
    world.wallet(ZION).claim(lock_id_of(swap.destination.terms), world.secrets["swap1"])
    world.mine()
    assert destination_claimed(world)
    port.faults.down, port.faults.lies = False, True
    await world.work()
    assert world.get().destination.state is LegState.REFUND_SEEN, "by its time it may be a refund"
    await world.steps(4)
    assert world.get().destination.state is LegState.SPENT_UNKNOWN
    assert source_stands(world)
    port.faults.lies = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_refund_that_nobody_confirms_is_not_final(world: BridgeWorld) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    world.ports[ZION].faults.disagrees = True
    await world.steps(8)
    assert world.get().destination.state is LegState.REFUND_SEEN
    assert source_stands(world)
    world.ports[ZION].faults.disagrees = False
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


@pytest.mark.parametrize("said", [LockStatus.SPENT, LockStatus.UNKNOWN, LockStatus.ABSENT])
async def test_a_refund_is_final_only_when_the_chain_says_refunded(
    world: BridgeWorld, said: LockStatus
) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    port = world.ports[ZION]

    async def read_lock(*_: Any, **__: Any) -> LockStatus:
        return said

    port.read_lock = read_lock  # type: ignore[method-assign]
    await world.steps(6)
    assert world.get().destination.state is LegState.REFUND_SEEN
    assert source_stands(world)
    del port.read_lock
    await world.until(world.is_over)


async def test_a_lock_that_the_chain_calls_spent_and_no_scan_explains_is_a_spend_without_proof(
    world: BridgeWorld,
) -> None:
    await until_claimed_unseen(world, "hides_events")
    await world.until(lambda: world.get().destination.state is LegState.SPENT_UNKNOWN, limit=20)
    assert source_stands(world)
    world.ports[ZION].faults.hides_events = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_a_spend_that_the_chain_itself_denies_is_taken_back(world: BridgeWorld) -> None:
    world.swap(claims=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    port, swap = world.ports[ZION], world.get()
    lie = world.workers[ZION]._verifier._ingest  # as if a scan had reported it
    head = lie.recent_blocks()[-1]
    assert lie.ingest_unproven(swap.destination.lock_id, head, "a lie") == 1
    assert world.get().destination.state is LegState.SPENT_UNKNOWN
    port.faults.disagrees = True
    await world.steps(6)
    assert world.get().destination.state is LegState.SPENT_UNKNOWN, "one endpoint's word is not enough"
    port.faults.disagrees = False
    await world.until(lambda: world.get().destination.state is not LegState.SPENT_UNKNOWN, limit=60)
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


async def test_a_secret_shown_without_a_claim_is_used_at_once(world: BridgeWorld) -> None:
    world.swap(claims=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    terms = world.get().destination.terms
    world.wallet(ZION).show(lock_id_of(terms), world.secrets["swap1"])
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    assert world.lock_state(world.get().source) is LedgerLockState.CLAIMED


async def test_a_source_spent_in_an_unproven_way_is_never_counter_locked(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.ports[ETHEREUM].faults.blind = True
    # The user takes the source back by some way that the reader does not know.
    fake, terms = world.chains[ETHEREUM], world.get().source.terms
    world.pass_time(terms.deadline - fake.head.time + 1)
    world.wallet(ETHEREUM).refund(lock_id_of(terms))
    await world.steps(8)
    assert world.locks_sent() == 0
    assert world.get().source.state is LegState.SPENT_UNKNOWN
    world.ports[ETHEREUM].faults.blind = False
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED


# What could not be read


async def test_an_item_set_aside_is_kept_counted_and_read_again_by_the_next_version(
    world: BridgeWorld,
) -> None:
    await until_claimed_unseen(world, "unreadable")
    await world.steps(2)
    with world.store.reading() as tx:
        (item,) = tx.set_aside.open(ZION)
        status = tx.chains.get(ZION)
    assert item.reason == "of a newer version"
    assert status is not None
    assert (status.set_aside, status.healthy) == (1, True)
    world.ports[ZION].faults.unreadable = False
    ingest = world.workers[ZION]._verifier._ingest
    ingest._software = "the next version"
    await world.workers[ZION]._verifier.verify()
    assert world.get().secret_known
    with world.store.reading() as tx:
        assert tx.set_aside.open(ZION) == []
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_what_the_next_version_cannot_read_either_is_tried_once_by_it(world: BridgeWorld) -> None:
    await until_claimed_unseen(world, "unreadable")
    await world.steps(2)
    verifier = world.workers[ZION]._verifier
    verifier._ingest._software = "the next version"
    assert len(verifier._ingest.unread_blocks()) == 1
    await verifier.verify()
    assert verifier._ingest.unread_blocks() == []
    with world.store.reading() as tx:
        assert [item.software for item in tx.set_aside.open(ZION)] == ["the next version"]
    world.ports[ZION].faults.unreadable = False
    await world.until(world.is_over)


async def test_an_item_set_aside_leaves_with_its_block(world: BridgeWorld) -> None:
    await until_claimed_unseen(world, "unreadable")
    await world.work()
    with world.store.reading() as tx:
        assert tx.set_aside.count(ZION) == 1
    world.ports[ZION].faults.unreadable = False
    world.chains[ZION].reorg(2)
    await world.steps(2)
    with world.store.reading() as tx:
        assert tx.set_aside.count(ZION) == 0
    await world.until(world.is_over)


# Endpoints that have forgotten, disagree or fail for one lock


async def test_no_counter_lock_follows_while_endpoints_disagree_about_the_source(world: BridgeWorld) -> None:
    world.ports[ETHEREUM].faults.disagrees = True
    world.swap()
    await world.steps(8)
    assert world.get().source.state is LegState.SEEN
    assert world.transactions_signed() == 0
    world.ports[ETHEREUM].faults.disagrees = False
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED


async def test_no_lock_is_signed_by_a_relayer_whose_endpoints_cannot_exclude_an_earlier_one(
    world: BridgeWorld,
) -> None:
    world.swap()
    await world.until(lambda: world.get().source.state is LegState.SEEN)
    world.ports[ZION].faults.history_from = world.chains[ZION].head.height + 1000
    await world.steps(6)
    assert world.get().destination.state is LegState.INTENT
    assert world.transactions_signed() == 0
    world.ports[ZION].faults.history_from = 0
    await world.until(world.is_over)


async def test_a_history_that_reaches_back_to_the_swaps_beginning_is_enough(tmp_path: Any) -> None:
    world = BridgeWorld(tmp_path)
    world.mine(12)
    await world.work()
    world.ports[ZION].faults.history_from = 5
    world.swap()
    await world.until(world.is_over)
    assert world.state() is SwapState.COMPLETED
    world.check()
    world.close()


async def test_an_expired_lock_that_pruned_nodes_cannot_find_is_not_called_impossible(tmp_path: Any) -> None:
    world = BridgeWorld(tmp_path, sequences=False, expiry_blocks=4)
    world.swap()
    world.chains[ZION].faults.drop_broadcasts = 1000
    await world.until(lambda: world.transactions_signed() > 0)
    world.ports[ZION].faults.history_from = world.chains[ZION].head.height + 1000
    world.process()
    with world.store.transaction() as tx:
        apply_events(tx, world.get().id, [OperatorCommand(OperatorVerb.ABANDON, by="op")])
    await world.steps(14)
    assert world.get().destination.state is LegState.INTENT, "it was called impossible"
    assert source_stands(world)
    with world.store.reading() as tx:
        (intent,) = tx.intents.of_swap(world.get().id)
    assert intent.state in {IntentState.SIGNED, IntentState.BROADCAST}
    world.ports[ZION].faults.history_from = 0
    world.chains[ZION].faults.drop_broadcasts = 0
    await world.until(world.is_over)
    world.check()
    world.close()


@pytest.mark.parametrize("error", [ValueError, KeyError, RuntimeError])
async def test_one_lock_that_cannot_be_read_delays_no_other_and_leaves_the_chain_healthy(
    world: BridgeWorld, error: type[Exception]
) -> None:
    world.swap(1)
    world.swap(2)
    port = world.ports[ETHEREUM]
    read = port.read_lock
    bad = lock_id_of(world.get("swap1").source.terms)

    async def read_lock(lock_id: Any, *args: Any, **options: Any) -> LockStatus:
        if lock_id == bad:
            raise error("a secret could stand here")
        return await read(lock_id, *args, **options)

    port.read_lock = read_lock  # type: ignore[method-assign]
    await world.until(lambda: world.is_over("swap2"))
    assert world.state("swap2") is SwapState.COMPLETED
    await world.workers[ETHEREUM].run_pass(ALL_JOBS)
    assert healthy(world, ETHEREUM)
    assert world.get("swap1").source.state is LegState.SEEN
    port.read_lock = read  # type: ignore[method-assign]
    await world.until(lambda: world.is_over("swap1"))


async def test_a_refund_found_below_an_unproven_spend_takes_its_place_and_becomes_final(
    world: BridgeWorld,
) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.ports[ZION].faults.hides_events = True
    await world.until(lambda: world.get().destination.state is LegState.SPENT_UNKNOWN, limit=80)
    assert source_stands(world), "it was refunded, but nobody has proved that"
    world.ports[ZION].faults.hides_events = False
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    with world.store.reading() as tx:
        kinds = [seen.kind for seen in tx.observations.of_swap(world.get().id)]
    assert ObservedKind.SPENT not in kinds
