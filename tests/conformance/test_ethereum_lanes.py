"""Ethereum's lanes: the rules of every chain hold for locks in a lane, and a lane holds one lock at a time.

The rules are the suite's own, those in which a lane could make a difference, with terms that name one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import msgspec
import pytest
import pytest_asyncio

from bridge.chains.actions import ClaimAction, LockAction, RefundAction
from bridge.chains.errors import ActionRefusedError
from bridge.chains.port import BroadcastOutcome, ChainPort, Claimed, FeeLevel, Locked, LockStatus, TxState
from bridge.protocol.types import Asset, LockTerms, Preimage, Purpose
from tests.conformance.conftest import Rigs
from tests.conformance.ethereum_calls import gas_used
from tests.conformance.ethereum_rig import EthereumRig
from tests.conformance.rig import Scene, Watcher
from tests.conformance.test_blocks_and_events import (
    test_a_reorg_that_drops_a_lock_orphans_its_block_and_takes_the_lock_away,
    test_a_reorg_that_includes_a_lock_again_reports_it_again_in_its_new_block,
    test_events_say_exactly_what_happened,
)
from tests.conformance.test_htlc_rules import (
    test_a_claim_by_a_stranger_pays_the_recipient_alone,
    test_a_claim_is_good_after_the_deadline_as_long_as_nobody_has_refunded,
    test_a_lock_is_itself_only_with_all_of_its_terms,
    test_a_refund_is_refused_before_the_deadline_and_good_from_its_very_second,
    test_a_token_is_approved_once_then_locked_and_claimed,
    test_a_token_is_locked_and_refunded_by_an_ordinary_wallet_with_its_approval,
    test_a_wrong_preimage_is_refused,
    test_an_ordinary_wallet_locks_claims_and_refunds_what_the_port_gives_it,
    test_every_chain_takes_preimages_of_this_size,
    test_the_recipient_may_give_a_lock_back_before_its_deadline,
    test_the_same_terms_cannot_be_locked_twice_at_once,
)
from tests.conformance.test_transactions import (
    test_a_replacement_bids_more_and_the_replaced_transaction_is_known_as_such,
    test_fee_estimates_are_of_the_size_of_what_is_paid,
    test_no_more_is_spent_than_max_cost,
)

__all__ = [
    "test_a_claim_by_a_stranger_pays_the_recipient_alone",
    "test_a_claim_is_good_after_the_deadline_as_long_as_nobody_has_refunded",
    "test_a_lock_is_itself_only_with_all_of_its_terms",
    "test_a_refund_is_refused_before_the_deadline_and_good_from_its_very_second",
    "test_a_reorg_that_drops_a_lock_orphans_its_block_and_takes_the_lock_away",
    "test_a_reorg_that_includes_a_lock_again_reports_it_again_in_its_new_block",
    "test_a_replacement_bids_more_and_the_replaced_transaction_is_known_as_such",
    "test_a_token_is_approved_once_then_locked_and_claimed",
    "test_a_token_is_locked_and_refunded_by_an_ordinary_wallet_with_its_approval",
    "test_a_wrong_preimage_is_refused",
    "test_an_ordinary_wallet_locks_claims_and_refunds_what_the_port_gives_it",
    "test_events_say_exactly_what_happened",
    "test_every_chain_takes_preimages_of_this_size",
    "test_fee_estimates_are_of_the_size_of_what_is_paid",
    "test_no_more_is_spent_than_max_cost",
    "test_the_recipient_may_give_a_lock_back_before_its_deadline",
    "test_the_same_terms_cannot_be_locked_twice_at_once",
]

SECRET = Preimage(b"what lies in a lane has 32 bytes")


@dataclass
class LaneScene(Scene):
    """A scene whose locks lie in lanes, each in the next one."""

    lanes: Iterator[int] = field(default_factory=lambda: count(1))

    async def terms(
        self,
        sender: ChainPort,
        recipient: ChainPort,
        preimage: Preimage,
        *,
        asset: Asset | None = None,
        lifetime: int = 10_000,
    ) -> LockTerms:
        made = await super().terms(sender, recipient, preimage, asset=asset, lifetime=lifetime)
        return msgspec.structs.replace(made, lane=next(self.lanes))


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def rig(rigs: Rigs) -> EthereumRig:
    made: EthereumRig = await rigs.get("ethereum")
    return made


@pytest_asyncio.fixture(loop_scope="session")
async def scene(rig: EthereumRig, request: pytest.FixtureRequest) -> LaneScene:
    return LaneScene(rig, f"in a lane: {request.node.name}")


async def test_a_busy_lane_is_refused_by_its_number_and_free_again_once_its_lock_is_spent(
    scene: LaneScene,
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    first = await scene.terms(ours, theirs, SECRET)
    second = msgspec.structs.replace(first, amount=first.amount + 1)
    await scene.done(ours, LockAction(first))
    with pytest.raises(ActionRefusedError, match=f"lane {first.lane} ") as refusal:
        await ours.prepare(LockAction(second), await ours.next_sequence(), FeeLevel())
    assert "another one" in refusal.value.hint
    assert await ours.read_lock(ours.lock_id(second), second) is LockStatus.ABSENT
    await scene.done(theirs, ClaimAction(first, SECRET))
    await scene.done(ours, LockAction(second))
    assert await ours.read_lock(ours.lock_id(second), second) is LockStatus.OPEN
    assert await ours.read_lock(ours.lock_id(first), first) is LockStatus.CLAIMED


async def test_a_lane_is_its_senders_own(scene: LaneScene) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    mine = await scene.terms(ours, theirs, SECRET)
    yours = msgspec.structs.replace(mine, sender=theirs.account, recipient=ours.account)
    await scene.done(ours, LockAction(mine))
    await scene.done(theirs, LockAction(yours))
    for terms in (mine, yours):
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN


async def test_a_used_lane_saves_what_a_fresh_slot_costs(scene: LaneScene, rig: EthereumRig) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET)
    fresh = await gas_used(rig, await scene.done(ours, LockAction(terms)))
    await scene.done(theirs, ClaimAction(terms, SECRET))
    used = await gas_used(rig, await scene.done(ours, LockAction(terms)))
    assert 17_000 <= fresh - used <= 17_200


async def test_the_same_terms_in_a_used_lane_are_the_same_lock_and_its_old_claim_does_not_count(
    scene: LaneScene,
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    terms = await scene.terms(ours, theirs, SECRET, lifetime=500)
    watcher = Watcher(ours)
    await watcher.look()
    for _ in range(2):
        await scene.done(ours, LockAction(terms))
        assert await ours.read_lock(ours.lock_id(terms), terms) is LockStatus.OPEN
        await scene.done(theirs, ClaimAction(terms, SECRET))
    kinds = [type(event) for event in (await watcher.look()).events]
    assert kinds == [Locked, Claimed, Locked, Claimed]


async def test_a_reorg_that_takes_the_claim_away_leaves_no_room_for_the_lanes_next_lock(
    scene: LaneScene, rig: EthereumRig
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    first = await scene.terms(ours, theirs, SECRET)
    second = msgspec.structs.replace(first, amount=first.amount + 1)
    await scene.done(ours, LockAction(first))
    claiming = await scene.done(theirs, ClaimAction(first, SECRET))
    locking = await scene.done(ours, LockAction(second))
    await rig.devnet.reorg(2, drop=[claiming.tx_id])
    assert (await ours.tx_status(locking)).state is TxState.FAILED
    assert await ours.read_lock(ours.lock_id(first), first) is LockStatus.OPEN
    assert await ours.read_lock(ours.lock_id(second), second) is LockStatus.ABSENT
    assert (await theirs.broadcast(claiming)).outcome is BroadcastOutcome.ACCEPTED
    await rig.devnet.mine(1)
    await scene.done(ours, LockAction(second))


async def test_a_user_claims_from_a_lane_and_a_stranger_refunds_to_it_with_ordinary_wallets(
    scene: LaneScene,
) -> None:
    ours, theirs = await scene.port("bridge"), await scene.port("user")
    await scene.port("stranger")
    claimed = await scene.terms(ours, theirs, SECRET)
    refunded = await scene.terms(ours, theirs, SECRET, lifetime=300)
    for terms in (claimed, refunded):
        await scene.done(ours, LockAction(terms))
    await scene.from_wallet("user", Purpose.CLAIM, claimed, SECRET)
    assert await ours.read_lock(ours.lock_id(claimed), claimed) is LockStatus.CLAIMED
    await scene.rig.devnet.advance_time(600)
    await scene.from_wallet("stranger", Purpose.REFUND, refunded)
    assert await ours.read_lock(ours.lock_id(refunded), refunded) is LockStatus.REFUNDED
    with pytest.raises(ActionRefusedError):
        await ours.prepare(RefundAction(refunded), await ours.next_sequence(), FeeLevel())
