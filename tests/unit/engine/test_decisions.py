"""`current_decision`: the protocol says whether, the engine adds only "not now"."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bridge.chains.actions import ClaimAction, LockAction
from bridge.engine.decisions import Decision, DecisionRules, Go, Hold, Withdraw, current_decision
from bridge.engine.source_lock_check import STALE_MS
from bridge.protocol.refusals import Refusal, RefusalCode
from bridge.protocol.rules import SourceLockEvidence, check_source_lock, withdraws_counterlock
from bridge.protocol.types import ChainId, LegRole, LegState, Purpose, SwapId, TxId
from bridge.store.records import Intent, ObservedKind
from tests import instances
from tests.scenario.world import ALL_JOBS, TIMING, BridgeWorld
from tests.unit.samples import block

RULES = DecisionRules(default_depth=3, batches=False)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BridgeWorld]:
    """The source is final and the destination's lock is planned; its relayer has not looked yet."""
    made = BridgeWorld(tmp_path)
    made.swap()
    await made.until(lambda: made.get().source.state is LegState.SEEN)
    for _ in range(3):
        made.mine()
        for chain in (instances.ETHEREUM, instances.ZION):
            await made.workers[chain]._watcher.watch()
    assert made.get().source.state is LegState.FINAL
    yield made
    made.close()


def lock_intent(world: BridgeWorld) -> Intent:
    with world.store.reading() as tx:
        intent = tx.intents.standing("swap1", LegRole.DESTINATION.value, Purpose.LOCK)
    assert intent is not None
    return intent


def decide(world: BridgeWorld, intent: Intent) -> Decision:
    with world.store.reading() as tx:
        return current_decision(tx, intent, RULES)


def change_status(world: BridgeWorld, chain: ChainId, **changes: object) -> None:
    with world.store.transaction() as tx:
        status = tx.chains.get(chain)
        assert status is not None
        tx.chains.put(msgspec.structs.replace(status, **changes))


@pytest.mark.parametrize("field", ["seen_ms", "tip_ms"])
def test_a_status_from_the_future_is_not_relied_on(world: BridgeWorld, field: str) -> None:
    """The clock was set back by an hour: how old the status is cannot be told."""
    intent = lock_intent(world)
    assert isinstance(decide(world, intent), Go)
    with world.store.reading() as tx:
        now_ms = tx.now_ms
    change_status(world, instances.ETHEREUM, **{field: now_ms + 59_000})
    assert isinstance(decide(world, intent), Go), "clocks of two machines may differ by so much"
    change_status(world, instances.ETHEREUM, **{field: now_ms + 3_600_000})
    assert isinstance(decide(world, intent), Hold)


def test_a_final_source_lets_the_destination_be_locked(world: BridgeWorld) -> None:
    terms = world.get().destination.terms
    assert decide(world, lock_intent(world)) == Go(LockAction(terms), TIMING.finality_depth)


@pytest.mark.parametrize("chain", [instances.ETHEREUM, instances.ZION])
def test_a_chain_that_is_not_healthy_or_was_not_heard_of_lately_makes_the_lock_wait(
    world: BridgeWorld, chain: ChainId
) -> None:
    change_status(world, chain, healthy=False)
    assert decide(world, lock_intent(world)) == Hold(
        f"{chain} cannot be relied on now", TIMING.finality_depth
    )
    change_status(world, chain, healthy=True, seen_ms=world.now_ms - STALE_MS - 1)
    assert isinstance(decide(world, lock_intent(world)), Hold)
    change_status(world, chain, healthy=True, seen_ms=world.now_ms - STALE_MS)
    assert isinstance(decide(world, lock_intent(world)), Go)


def test_a_chain_that_may_have_moved_on_makes_the_lock_wait_but_abandons_nothing(world: BridgeWorld) -> None:
    status = {"seen_ms": world.now_ms, "tip_ms": world.now_ms - 10_000_000}
    change_status(world, instances.ETHEREUM, **status)
    assert isinstance(decide(world, lock_intent(world)), Hold)
    assert world.get().abandoned is None


def test_a_source_lock_that_is_not_where_it_was_seen_takes_the_lock_back(world: BridgeWorld) -> None:
    with world.store.transaction() as tx:
        seen = tx.observations.of_lock(instances.ETHEREUM, world.get().source.lock_id, ObservedKind.LOCKED)
        assert seen is not None
        tx.observations.orphan(instances.ETHEREUM, [seen.block])
    assert decide(world, lock_intent(world)) == Withdraw(
        "the source lock is not on its chain", TIMING.finality_depth
    )


def test_a_source_lock_that_is_less_deep_than_it_was_takes_the_lock_back(world: BridgeWorld) -> None:
    with world.store.reading() as tx:
        seen = tx.observations.of_lock(instances.ETHEREUM, world.get().source.lock_id, ObservedKind.LOCKED)
    assert seen is not None
    change_status(world, instances.ETHEREUM, scanned=seen.block.height)
    assert decide(world, lock_intent(world)) == Withdraw(
        "the source lock is not deep enough", TIMING.finality_depth
    )


@pytest.mark.parametrize("kind", [ObservedKind.CLAIMED, ObservedKind.REFUNDED])
def test_a_source_lock_that_was_seen_spent_takes_the_lock_back(
    world: BridgeWorld, kind: ObservedKind
) -> None:
    with world.store.transaction() as tx:
        tx.observations.add(
            instances.ETHEREUM,
            kind,
            SwapId("swap1"),
            LegRole.SOURCE,
            lock_id=world.get().source.lock_id,
            tx_id=TxId("ff"),
            block=block(5),
            depth=3,
        )
    assert decide(world, lock_intent(world)) == Withdraw(
        f"the source lock was {kind.value}", TIMING.finality_depth
    )


def test_a_lock_that_was_called_off_is_withdrawn_whatever_else_is_true(world: BridgeWorld) -> None:
    with world.store.transaction() as tx:
        tx.intents.cancel(lock_intent(world).id, "called off")
    assert decide(world, lock_intent(world)) == Withdraw("called off", TIMING.finality_depth)


def test_a_claim_that_no_rule_asks_for_is_withdrawn(world: BridgeWorld) -> None:
    claim = msgspec.structs.replace(lock_intent(world), id=10**6, leg="source", purpose=Purpose.CLAIM)
    assert decide(world, claim) == Withdraw("it is no longer needed", TIMING.finality_depth)


async def test_a_claim_waits_for_a_database_that_has_the_secret_and_is_urgent_near_its_deadline(
    world: BridgeWorld,
) -> None:
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.ports[instances.ETHEREUM].faults.down = True
    await world.until(lambda: world.get().secret_known)
    with world.store.reading() as tx:
        claim = tx.intents.standing("swap1", "source", Purpose.CLAIM)
    assert claim is not None
    decision = decide(world, claim)
    assert isinstance(decision, Go)
    assert isinstance(decision.action, ClaimAction)
    deadline = world.get().source.terms.deadline
    assert isinstance(decision.action, ClaimAction)
    assert decision.action.preimage == world.secrets["swap1"]
    assert decision.is_urgent(deadline - 4 * TIMING.inclusion_p99)
    assert not decision.is_urgent(deadline - 4 * TIMING.inclusion_p99 - 1)


async def test_what_is_asked_when_planned_signed_and_broadcast_is_asked_of_the_store_each_time(
    world: BridgeWorld,
) -> None:
    """The source chain falls silent while the lock is being signed: nothing is stored, nothing is sent."""

    async def meanwhile() -> None:
        change_status(world, instances.ETHEREUM, healthy=False)

    world.ports[instances.ZION].meanwhile = meanwhile
    await world.workers[instances.ZION].run_pass(ALL_JOBS)
    assert world.ports[instances.ZION].meanwhile is None, "it was signed"
    assert world.transactions_signed() == 0
    assert not world.chains[instances.ZION].mempool


def test_the_protocol_holds_the_evidence_against_the_swap(world: BridgeWorld) -> None:
    swap = world.get()
    good = SourceLockEvidence(swap.source.terms, swap.policy.source.finality_depth)
    assert check_source_lock(swap, good) is None
    for wrong, code in (
        (msgspec.structs.replace(good, terms=None), RefusalCode.SOURCE_NOT_FINAL),
        (msgspec.structs.replace(good, terms=swap.destination.terms), RefusalCode.SOURCE_NOT_FINAL),
        (msgspec.structs.replace(good, confirmations=2), RefusalCode.SOURCE_NOT_FINAL),
        (msgspec.structs.replace(good, spent="claimed"), RefusalCode.SOURCE_SPENT),
        (msgspec.structs.replace(good, spent="refunded"), RefusalCode.SOURCE_SPENT),
        (msgspec.structs.replace(good, spent="spent"), RefusalCode.SOURCE_SPENT),
    ):
        refusal = check_source_lock(swap, wrong)
        assert refusal is not None
        assert refusal.code is code
        assert withdraws_counterlock(refusal)


@pytest.mark.parametrize("code", RefusalCode)
def test_only_what_time_cannot_mend_takes_a_lock_back(code: RefusalCode) -> None:
    for_good = code in {RefusalCode.SOURCE_NOT_FINAL, RefusalCode.SOURCE_SPENT}
    assert withdraws_counterlock(Refusal(code, "")) is for_good
    assert withdraws_counterlock(Refusal(code, "", permanent=True))


def test_a_source_that_was_claimed_as_the_swap_knows_is_paid_for_with_the_lock(world: BridgeWorld) -> None:
    swap = world.get()
    good = SourceLockEvidence(swap.source.terms, swap.policy.source.finality_depth)
    claimed = msgspec.structs.replace(good, spent="claimed", claimed=True)
    assert check_source_lock(swap, claimed) is not None, "only the evidence says so"
    source = msgspec.structs.replace(swap.source, state=LegState.CLAIM_SEEN)
    assert check_source_lock(msgspec.structs.replace(swap, source=source), claimed) is None


@pytest.mark.parametrize("chain", [instances.ETHEREUM, instances.ZION])
def test_nothing_is_locked_while_a_chain_makes_no_blocks(world: BridgeWorld, chain: ChainId) -> None:
    intent = lock_intent(world)
    with world.store.reading() as tx:
        now_ms = tx.now_ms
    change_status(world, chain, tip_ms=now_ms - 100_000)
    decision = decide(world, intent)
    assert isinstance(decision, Go) or "no blocks" not in decision.reason, "ten blocks may be late"
    change_status(world, chain, tip_ms=now_ms - 101_000)
    decision = decide(world, intent)
    assert isinstance(decision, Hold)
    assert decision.reason == f"{chain} makes no blocks now"
