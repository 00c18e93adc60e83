"""The fourth fate: a lock was spent, and nobody can prove whether it was claimed or refunded."""

from __future__ import annotations

import pytest

from bridge.protocol import events as ev
from bridge.protocol.effects import (
    CancelLock,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.refusals import RefusalCode
from bridge.protocol.rules import may_counterlock, may_share_secret
from bridge.protocol.status import is_terminal
from bridge.protocol.timelocks import latest_counterlock
from bridge.protocol.types import Abandonment, LegRole, LegState, LockId, SwapState, TxId
from tests.unit.protocol.factory import (
    DESTINATION,
    PLAN,
    POLICY,
    PREIMAGE,
    SOURCE,
    SOURCE_TERMS,
    USDC,
    WRONG_PREIMAGE,
    Player,
    block,
)

CLAIM_SOURCE = SendClaim(SOURCE)
GIVES_BACK = {SendCooperativeRefund(), SendRefund(SOURCE)}


def the_destination_was_spent() -> Player:
    return Player().awaiting_claim().spent(DESTINATION)


# What follows from it


def test_nothing_is_given_back_while_the_fate_of_the_destination_is_unknown() -> None:
    p = the_destination_was_spent()
    for later in (PLAN.destination, PLAN.source, PLAN.source * 2):
        p.destination_time(later).source_time(later)
        assert p.required == ()
    assert (p.swap.state, is_terminal(p.swap)) == (SwapState.ATTENTION, False)
    assert "destination lock was spent, and nobody can prove how" in p.swap.attention


@pytest.mark.parametrize("verb", list(ev.OperatorVerb))
def test_no_operator_gives_the_source_back_under_an_unproven_spend(verb: ev.OperatorVerb) -> None:
    assert the_destination_was_spent().operator(verb).required == ()


def test_a_secret_found_later_claims_the_source_whatever_became_of_the_destination() -> None:
    p = the_destination_was_spent().feed(ev.SecretRevealed(PREIMAGE))
    assert p.required == (CLAIM_SOURCE,)
    assert p.swap.state is SwapState.ATTENTION
    p.destination_time(PLAN.source).source_time(PLAN.source)
    assert p.required == (CLAIM_SOURCE,), "also past both deadlines"


def test_a_shared_secret_claims_the_source_at_once_when_the_destination_may_be_taken() -> None:
    assert CLAIM_SOURCE not in Player().awaiting_claim().shared().required
    assert Player().awaiting_claim().shared().spent(DESTINATION).required == (CLAIM_SOURCE,)


def test_no_secret_is_taken_for_a_destination_whose_fate_is_unknown() -> None:
    refusal = may_share_secret(the_destination_was_spent().swap, PREIMAGE)
    assert refusal is not None
    assert refusal.code is RefusalCode.DESTINATION_UNCLEAR


def test_a_source_spent_in_an_unproven_way_locks_nothing_and_withdraws_what_was_planned() -> None:
    assert Player().counterlocking().required == (SendLock(),)
    p = Player().counterlocking().spent(SOURCE)
    assert set(p.required) == {CancelLock()}
    assert p.swap.abandoned is Abandonment.SPENT
    refusal = may_counterlock(p.swap)
    assert refusal is not None
    assert "abandoned" in refusal.message
    p.lock_failed()
    assert not p.required, "neither given back nor is the reserved amount released: it may be owed"
    p.feed(ev.SpendOrphaned(SOURCE, LockId("s")))
    assert set(p.required) == {SendCooperativeRefund(), ReleaseInventory()}
    assert SendLock() not in p.required


def test_a_source_that_was_spent_before_it_was_final_is_never_counter_locked() -> None:
    p = Player().accepted().source_locked().spent(SOURCE).source_final()
    assert p.required == ()
    assert p.swap.abandoned is Abandonment.SPENT


def test_an_unproven_source_is_tried_once_the_destination_was_taken_and_nothing_is_given_for_it() -> None:
    p = Player().awaiting_claim().spent(SOURCE, at=block(40, time=PLAN.source))
    p.feed(ev.SecretRevealed(PREIMAGE))
    assert not p.required, "neither is claimed while the destination stands: it may have gone back"
    assert p.claimed(DESTINATION).required == (CLAIM_SOURCE,)


def test_a_source_that_only_a_claim_can_have_spent_keeps_the_destination_where_it_is() -> None:
    p = Player().awaiting_claim().feed(ev.SecretRevealed(PREIMAGE)).spent(SOURCE)
    assert p.required == (CLAIM_SOURCE,), "in case that it stands after all"
    p.destination_time(PLAN.destination).source_time(PLAN.source)
    assert p.required == (CLAIM_SOURCE,), "neither refunded nor given to the user"
    p.claimed(SOURCE, at=block(40))
    assert p.required == (SendClaim(DESTINATION),)


def test_a_source_that_may_have_gone_back_does_not_keep_the_destination() -> None:
    p = Player().awaiting_claim().feed(ev.SecretRevealed(PREIMAGE))
    p.spent(SOURCE, at=block(40, time=PLAN.source)).destination_time(PLAN.destination)
    assert p.required == (SendRefund(DESTINATION),)


def test_without_a_secret_the_destination_is_refunded_whatever_became_of_the_source() -> None:
    p = Player().awaiting_claim().spent(SOURCE).destination_time(PLAN.destination)
    assert p.required == (SendRefund(DESTINATION),)


# How it is proved


@pytest.mark.parametrize("height", [39, 40, 41])
def test_a_claim_with_the_preimage_proves_it_in_any_block(height: int) -> None:
    p = the_destination_was_spent().claimed(DESTINATION, at=block(height))
    assert p.swap.destination.state is LegState.CLAIM_SEEN
    assert (p.swap.attention, p.required) == ("", (CLAIM_SOURCE,))
    assert p.claim_final(DESTINATION).swap.destination.state is LegState.CLAIM_FINAL


def test_a_claim_with_a_wrong_preimage_proves_nothing() -> None:
    p = the_destination_was_spent()
    p.feed(ev.ClaimSeen(DESTINATION, LockId("d"), TxId("c"), block(41), WRONG_PREIMAGE))
    assert p.swap.destination.state is LegState.SPENT_UNKNOWN


def test_a_refund_after_the_deadline_proves_it_in_the_same_block_or_later() -> None:
    late = PLAN.source
    for at in (block(40, time=late), block(41, time=late)):
        p = Player().awaiting_claim().spent(DESTINATION, at=block(40, time=late))
        p.refunded(DESTINATION, at=at)
        assert p.swap.destination.state is LegState.REFUND_SEEN
        assert SendCooperativeRefund() in p.refund_final(DESTINATION).required


def test_a_refund_in_an_older_block_or_another_branch_proves_nothing() -> None:
    late = PLAN.source
    for at in (block(39, time=late), block(40, time=late, fork="b")):
        p = Player().awaiting_claim().spent(DESTINATION, at=block(40, time=late))
        assert p.refunded(DESTINATION, at=at).swap.destination.state is LegState.SPENT_UNKNOWN


def test_a_reorg_of_the_spend_opens_the_lock_again() -> None:
    p = the_destination_was_spent().feed(ev.SpendOrphaned(DESTINATION, LockId("d"), block(40).id))
    assert (p.swap.destination.state, p.swap.state) == (LegState.FINAL, SwapState.AWAIT_CLAIM)
    p = the_destination_was_spent().feed(ev.SpendOrphaned(DESTINATION, LockId("d"), "another block"))
    assert p.swap.destination.state is LegState.SPENT_UNKNOWN


def test_a_proved_claim_is_not_doubted_by_a_later_report() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION, at=block(30)).spent(DESTINATION, at=block(31))
    assert p.swap.destination.state is LegState.CLAIM_SEEN


def test_a_refund_that_is_not_final_gives_way_to_a_later_unproven_spend() -> None:
    p = Player().awaiting_claim().refunded(DESTINATION)
    assert p.spent(DESTINATION, at=block(41)).swap.destination.state is LegState.SPENT_UNKNOWN


# Refunds that cannot be


def early(leg: LegRole) -> int:
    return (PLAN.source if leg is SOURCE else PLAN.destination) - 1


@pytest.mark.parametrize("leg", [SOURCE, DESTINATION])
def test_a_refund_before_the_deadline_without_our_consent_is_no_refund(leg: LegRole) -> None:
    p = Player().awaiting_claim().refunded(leg, at=block(40, time=early(leg)))
    assert p.swap.leg(leg).state is LegState.SPENT_UNKNOWN
    p.refund_final(leg).destination_time(PLAN.destination).source_time(PLAN.source)
    assert p.swap.leg(leg).state is LegState.SPENT_UNKNOWN, "and no finality makes it one"
    assert not GIVES_BACK & set(p.required)


def test_the_second_of_the_deadline_is_late_enough() -> None:
    p = Player().awaiting_claim().refunded(DESTINATION, at=block(40, time=PLAN.destination))
    assert p.swap.destination.state is LegState.REFUND_SEEN


def test_an_early_refund_of_the_source_is_believed_once_we_agreed_to_it() -> None:
    p = Player().counterlocking().lock_failed()
    assert SendCooperativeRefund() in p.required
    p.refunded(SOURCE, at=block(40)).refund_final(SOURCE)
    assert p.swap.state is SwapState.REFUNDED


def test_an_early_refund_is_believed_where_our_consent_was_due_though_a_restored_database_forgot_it() -> None:
    early_refund = block(40, time=early(SOURCE))
    p = Player().counterlocking().destination_time(latest_counterlock(POLICY, PLAN.destination) + 1)
    assert p.swap.abandoned is Abandonment.TIMELOCK
    assert p.refunded(SOURCE, at=early_refund).swap.source.state is LegState.SPENT_UNKNOWN
    p.lock_failed()
    assert (p.swap.source.state, p.swap.cooperative_refund) == (LegState.SPENT_UNKNOWN, False)
    p.refunded(SOURCE, at=early_refund).refund_final(SOURCE)
    assert p.swap.state is SwapState.REFUNDED


def test_that_the_source_is_spent_does_not_make_its_early_refund_believable() -> None:
    p = Player().accepted().source_locked()
    for _ in range(2):
        p.refunded(SOURCE, at=block(40, time=early(SOURCE)))
        assert p.swap.abandoned is Abandonment.SPENT
        assert p.swap.source.state is LegState.SPENT_UNKNOWN


def test_our_consent_to_the_source_says_nothing_of_the_destination() -> None:
    p = Player().counterlocking().lock_failed().destination_locked().refunded(DESTINATION, at=block(40))
    assert p.swap.cooperative_refund
    assert p.swap.destination.state is LegState.SPENT_UNKNOWN


def test_a_refund_that_was_not_believed_leaves_with_its_block() -> None:
    at = block(40)
    p = Player().awaiting_claim().refunded(DESTINATION, at=at)
    p.feed(ev.RefundOrphaned(DESTINATION, LockId("d"), at.id))
    assert p.swap.destination.state is LegState.FINAL


# Stray locks

LESS = SOURCE_TERMS.amount - 1


def test_a_stray_spent_in_an_unproven_way_is_told_and_keeps_the_swap_open_until_its_own_deadline() -> None:
    p = Player().accepted().source_locked("odd", amount=LESS)
    assert SendCooperativeRefund(lock_id=LockId("odd")) in p.required
    p.spent(SOURCE, lock_id="odd")
    assert not p.required
    assert "a stray lock was spent" in p.swap.attention
    p.source_time(PLAN.source - 1)
    assert not is_terminal(p.swap)
    p.source_time(PLAN.source)
    assert is_terminal(p.swap)
    assert "a stray lock was spent" in p.swap.attention


def test_a_stray_that_we_agreed_to_give_back_may_go_back_early_and_another_one_may_not() -> None:
    p = Player().accepted().source_locked("odd", amount=LESS)
    p.refunded(SOURCE, at=block(40), lock_id="odd")
    assert p.swap.source.strays[0].state is LegState.REFUND_SEEN
    p = Player().accepted().source_locked("odd", asset=USDC)
    p.refunded(SOURCE, at=block(40), lock_id="odd")
    assert p.swap.source.strays[0].state is LegState.SPENT_UNKNOWN
