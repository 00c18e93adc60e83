"""What nobody can prove ends with what an operator has found out, as far as the rules allow it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.desk.operator import dismiss_item, settle, unproven_spends, unread_items
from bridge.desk.refused import Reason, RefusedError
from bridge.protocol.events import Verdict
from bridge.protocol.types import LegRole, LegState, LockId, Preimage, SwapId, SwapState, TxId
from relayers.fake.ledger import LedgerLockState, lock_id_of
from tests import instances
from tests.scenario.world import BridgeWorld

ZION = instances.ZION
SWAP = SwapId("swap1")
NOTE = "seen in two explorers"


@pytest.fixture
def world(tmp_path: Path) -> BridgeWorld:
    return BridgeWorld(tmp_path / "world")


def said(
    world: BridgeWorld, verdict: Verdict, preimage: Preimage | None = None, lock_id: LockId | None = None
) -> SwapState:
    lock = lock_id or lock_id_of(world.get().destination.terms)
    return settle(world.store, SWAP, lock, verdict, preimage, TxId(""), "ops", NOTE).swap.state


def refusal(
    world: BridgeWorld, verdict: Verdict, preimage: Preimage | None = None, lock_id: LockId | None = None
) -> str:
    before = world.get()
    with pytest.raises(RefusedError) as caught:
        said(world, verdict, preimage, lock_id)
    assert caught.value.reason is Reason.WRONG_STATE
    assert world.get() == before
    return str(caught.value)


async def _claimed_unread(world: BridgeWorld) -> None:
    world.swap()
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.ports[ZION].faults.unreadable = True
    await world.until(lambda: world.get().destination.state is LegState.SPENT_UNKNOWN)


async def test_a_claim_that_nobody_can_read_ends_with_its_preimage_and_says_who_gave_it(
    world: BridgeWorld,
) -> None:
    await _claimed_unread(world)
    assert "not deep enough" in refusal(world, Verdict.CLAIMED, world.secrets["swap1"])
    await world.steps(5)
    (line,) = unproven_spends(world.store)
    assert (line.swap_id, line.leg, line.chain) == (SWAP, LegRole.DESTINATION, ZION)
    assert "a preimage that opens" in refusal(world, Verdict.CLAIMED)
    assert "a preimage that opens" in refusal(world, Verdict.CLAIMED, Preimage(bytes(32)))
    assert "can have been no refund" in refusal(world, Verdict.REFUNDED)
    assert "has no lock ff whose spend" in refusal(world, Verdict.CLAIMED, lock_id=LockId("ff"))
    said(world, Verdict.CLAIMED, world.secrets["swap1"])
    assert world.get().destination.state is LegState.CLAIM_FINAL
    assert unproven_spends(world.store) == []
    with world.store.reading() as tx:
        (entry,) = tx.audit.before()
    assert (entry.by, entry.verb, entry.subject) == ("ops", "settle_claimed", SWAP)
    assert entry.detail.endswith(f": {NOTE}")
    await world.until(world.is_over)  # the reader still cannot read it
    assert world.state() is SwapState.COMPLETED
    world.check()


async def test_a_refund_that_nobody_can_read_gives_the_source_back_once_an_operator_has_seen_it(
    world: BridgeWorld,
) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.FINAL)
    world.ports[ZION].faults.unreadable = True
    await world.until(lambda: world.lock_state(world.get().destination) is LedgerLockState.REFUNDED)
    await world.steps(8)
    assert world.get().destination.state is LegState.SPENT_UNKNOWN
    assert world.lock_state(world.get().source) is LedgerLockState.OPEN
    said(world, Verdict.REFUNDED)
    assert world.get().destination.state is LegState.REFUND_FINAL
    await world.until(world.is_over)
    assert world.state() is SwapState.REFUNDED
    world.check()


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_a_refund_that_the_chain_does_not_confirm_ends_with_what_an_operator_says(
    world: BridgeWorld, verdict: Verdict
) -> None:
    world.swap(claims=False, refunds=False)
    await world.until(lambda: world.get().destination.state is LegState.REFUND_SEEN)
    assert unproven_spends(world.store) == []  # it is not deep enough to be in doubt
    world.ports[ZION].faults.disagrees = True
    await world.steps(8)
    assert world.get().destination.state is LegState.REFUND_SEEN
    assert len(unproven_spends(world.store)) == 1
    said(world, verdict, world.secrets["swap1"])
    expected = {Verdict.REFUNDED: LegState.REFUND_FINAL, Verdict.CLAIMED: LegState.CLAIM_FINAL}
    assert world.get().destination.state is expected[verdict]
    await world.until(world.is_over)


async def test_a_spend_that_is_known_takes_no_verdict(world: BridgeWorld) -> None:
    world.swap()
    await world.until(world.is_over)
    assert "whose spend is unproved" in refusal(world, Verdict.REFUNDED)
    with pytest.raises(RefusedError) as caught:
        settle(world.store, SwapId("no"), LockId(""), Verdict.CLAIMED, None, TxId(""), "ops", NOTE)
    assert caught.value.reason is Reason.NOT_FOUND


async def test_an_item_that_nobody_can_read_is_dismissed_by_name(world: BridgeWorld) -> None:
    await _claimed_unread(world)
    items = unread_items(world.store, ZION, 10)
    for item in items:
        dismiss_item(world.store, ZION, item.id, "ops", NOTE)
    assert items
    assert unread_items(world.store, ZION, 10) == []
    with world.store.reading() as tx:
        entries = tx.audit.before()
        assert tx.set_aside.count(ZION) == 0
    assert [(entry.by, entry.verb, entry.subject) for entry in entries] == [("ops", "dismiss", ZION)] * len(
        items
    )
    for chain, number in ((ZION, items[0].id), (instances.ETHEREUM, items[0].id), (ZION, 10**6)):
        with pytest.raises(RefusedError) as caught:
            dismiss_item(world.store, chain, number, "ops", NOTE)
        assert caught.value.reason is Reason.NOT_FOUND
