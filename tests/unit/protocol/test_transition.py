"""The safety properties of the transition, one story each."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from bridge.protocol import events as ev
from bridge.protocol.effects import (
    AppendReceipt,
    CancelLock,
    Notify,
    ReleaseInventory,
    SendClaim,
    SendCooperativeRefund,
    SendLock,
    SendRefund,
)
from bridge.protocol.legs import DUST_SHARE
from bridge.protocol.refusals import RefusalCode
from bridge.protocol.rules import may_counterlock, may_share_secret
from bridge.protocol.status import is_terminal
from bridge.protocol.timelocks import expiry_time, latest_claim_start, latest_counterlock
from bridge.protocol.types import (
    Abandonment,
    BlockHeight,
    LegRole,
    LegState,
    LockId,
    Purpose,
    SwapState,
    TxId,
    UnixSeconds,
    payback_terms,
)
from tests import instances
from tests.unit.protocol.factory import (
    DESTINATION,
    DESTINATION_TERMS,
    PLAN,
    POLICY,
    PREIMAGE,
    SOURCE,
    SOURCE_TERMS,
    START,
    USDC,
    WRONG_PREIMAGE,
    Player,
    block,
)

CLAIM_SOURCE, CLAIM_DESTINATION = SendClaim(SOURCE), SendClaim(DESTINATION)
REFUND_DESTINATION = SendRefund(DESTINATION)
CLAIM_START = latest_claim_start(POLICY, PLAN.source)


def refusal(player: Player) -> RefusalCode | None:
    found = may_counterlock(player.swap)
    return found.code if found else None


# The straight way


def test_a_swap_that_all_behave_in_completes() -> None:
    p = Player().accepted()
    assert p.swap.state is SwapState.AWAIT_LOCK
    p.source_locked().source_final()
    assert p.swap.state is SwapState.COUNTERLOCKING
    assert p.last == (SendLock(), Notify(SwapState.COUNTERLOCKING))
    p.destination_locked().destination_final()
    assert (p.swap.state, p.required) == (SwapState.AWAIT_CLAIM, ())
    p.claimed(DESTINATION)
    assert (p.swap.state, p.required) == (SwapState.CLAIMING, (CLAIM_SOURCE,))
    p.claimed(SOURCE).claim_final(DESTINATION)
    assert not is_terminal(p.swap)
    p.claim_final(SOURCE)
    assert p.last == (
        ReleaseInventory(),
        Notify(SwapState.COMPLETED),
        AppendReceipt(SwapState.COMPLETED),
    )
    assert is_terminal(p.swap)


def test_a_swap_that_the_user_walks_away_from_gives_both_their_own_back() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination)
    assert (p.swap.state, p.required) == (SwapState.REFUNDING, (REFUND_DESTINATION,))
    p.refunded(DESTINATION)
    assert p.required == ()
    p.refund_final(DESTINATION)
    assert p.required == (SendCooperativeRefund(), ReleaseInventory())
    p.refunded(SOURCE)
    assert not is_terminal(p.swap)
    p.refund_final(SOURCE)
    assert p.swap.state is SwapState.REFUNDED
    assert AppendReceipt(SwapState.REFUNDED) in p.last


# Invariant 1: the counter-lock


def test_the_destination_is_not_locked_before_the_source_is_final() -> None:
    p = Player().accepted().source_locked()
    assert SendLock() not in p.required
    assert refusal(p) is RefusalCode.SOURCE_NOT_FINAL


def test_the_destination_is_not_locked_for_a_quote_that_was_not_accepted() -> None:
    p = Player().feed(
        ev.Tick(instances.ETHEREUM, UnixSeconds(START), BlockHeight(1)),
        ev.Tick(instances.ZION, UnixSeconds(START), BlockHeight(1)),
    )
    p.source_locked().source_final()
    assert SendLock() not in p.required
    assert refusal(p) is RefusalCode.NOT_ACCEPTED
    assert p.feed(ev.Accepted()).required == (SendLock(),)


def test_the_destination_is_not_locked_while_a_chain_time_is_unknown() -> None:
    p = (
        Player()
        .feed(ev.Accepted(), ev.Tick(instances.ETHEREUM, UnixSeconds(START), BlockHeight(1)))
        .source_locked()
        .source_final()
    )
    assert refusal(p) is RefusalCode.CHAIN_TIME_UNKNOWN
    assert p.destination_time(START).required == (SendLock(),)


def test_the_destination_is_not_locked_when_the_user_would_have_too_little_time() -> None:
    last = latest_counterlock(POLICY, PLAN.destination)
    p = Player().accepted().source_locked().source_time(last).destination_time(last).source_final()
    assert p.required == (SendLock(),)
    p = Player().accepted().source_locked().destination_time(last + 1).source_final()
    assert SendLock() not in p.required
    assert p.swap.abandoned is Abandonment.TIMELOCK


def test_newer_chain_times_withdraw_the_permission_to_lock() -> None:
    p = Player().counterlocking()
    late = {instances.ZION: UnixSeconds(latest_counterlock(POLICY, PLAN.destination) + 1)}
    found = may_counterlock(p.swap, late)
    assert found is not None
    assert found.code is RefusalCode.TIMELOCK_TOO_SHORT
    assert found.permanent


def test_older_chain_times_do_not_give_the_permission_back() -> None:
    p = Player().accepted().source_locked().source_time(START + 800).source_final()
    found = may_counterlock(
        p.swap, {instances.ZION: UnixSeconds(START), instances.ETHEREUM: UnixSeconds(START)}
    )
    assert found is not None
    assert found.code is RefusalCode.CLOCKS_APART


def test_clocks_too_far_apart_stop_the_counterlock_only_until_they_agree() -> None:
    apart = START + 800
    p = Player().accepted().source_locked().source_time(apart).source_final()
    assert refusal(p) is RefusalCode.CLOCKS_APART
    assert p.swap.abandoned is None
    assert p.destination_time(apart).required == (SendLock(),)


def test_a_reorg_of_the_source_before_the_counterlock_stops_it() -> None:
    p = Player().counterlocking().feed(ev.LockOrphaned(SOURCE, LockId("s")))
    assert p.required == ()
    assert refusal(p) is RefusalCode.SOURCE_NOT_FINAL
    p.source_locked(at=block(11, fork="b"))
    assert p.required == ()
    assert p.source_final().required == (SendLock(),)


def test_a_final_source_seen_again_in_a_higher_block_has_to_become_final_anew() -> None:
    p = Player().counterlocking().source_locked(at=block(12, fork="b"))
    assert p.swap.source.state is LegState.SEEN
    assert SendLock() not in p.required


# Locks that are not the one agreed on

LESS = SOURCE_TERMS.amount - 1
DUST = -(-SOURCE_TERMS.amount // DUST_SHARE) - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": SOURCE_TERMS.amount - 1},
        {"amount": SOURCE_TERMS.amount + 1},
        {"deadline": PLAN.source - 1},
        {"deadline": PLAN.source + 1},
        {"sender": "0xstranger"},
        {"lane": 5},
    ],
    ids=["less", "more", "shorter", "longer", "other-sender", "in-a-lane"],
)
def test_a_lock_with_wrong_terms_is_given_back_at_once_and_never_answered(changes: dict[str, Any]) -> None:
    p = Player().accepted().source_locked("odd", **changes)
    # Only the user's own mistake decides what people read of the swap.
    own = "sender" not in changes
    assert p.swap.state is (SwapState.INVALID_LOCK if own else SwapState.AWAIT_LOCK)
    assert p.required == (SendCooperativeRefund(lock_id=LockId("odd")),)
    assert p.swap.source.lock_terms(LockId("odd")).sender == changes.get("sender", "0xuser")
    p.source_final("odd")
    assert SendLock() not in p.required


def test_a_lock_of_a_foreign_asset_is_returned_only_at_an_operators_word() -> None:
    p = Player().accepted().source_locked("odd", asset=USDC)
    assert (p.swap.state, p.required) == (SwapState.AWAIT_LOCK, ())
    assert "another asset" in p.swap.attention
    p.operator(ev.OperatorVerb.COOPERATIVE_REFUND)
    assert SendCooperativeRefund(lock_id=LockId("odd")) in p.required


@pytest.mark.parametrize(
    "changes", [{"recipient": "0xother"}, {"contract": "0xfake"}, {"hashlock": b"\0" * 32}]
)
def test_a_lock_that_the_bridge_cannot_claim_is_none_of_its_business(changes: dict[str, Any]) -> None:
    p = Player().accepted().source_locked("odd", **changes)
    assert (p.swap.state, p.required) == (SwapState.AWAIT_LOCK, ())


def test_the_right_lock_after_a_wrong_one_still_works() -> None:
    p = Player().accepted().source_locked("odd", amount=LESS).source_locked().source_final()
    assert p.swap.state is SwapState.COUNTERLOCKING
    assert p.required == (SendLock(), SendCooperativeRefund(lock_id=LockId("odd")))


def test_events_of_a_stray_lock_never_move_the_leg() -> None:
    p = Player().accepted().source_locked("odd", amount=LESS).source_locked()
    p.feed(
        ev.LockFinal(SOURCE, LockId("odd")),
        ev.RefundSeen(SOURCE, LockId("odd"), TxId("t"), block(12)),
        ev.RefundFinal(SOURCE, LockId("odd")),
        ev.LockOrphaned(SOURCE, LockId("unheard-of")),
        ev.RefundSeen(SOURCE, LockId("unheard-of"), TxId("t"), block(12)),
    )
    assert p.swap.source.state is LegState.SEEN
    assert p.required == ()


def test_a_second_lock_with_the_same_terms_is_given_back_and_never_relied_on() -> None:
    p = Player().accepted().source_locked().source_locked("twin")
    assert p.required == (SendCooperativeRefund(lock_id=LockId("twin")),)
    # The refund of the twin may be on its way: the twin must not take the place of the first lock.
    p.feed(ev.LockOrphaned(SOURCE, LockId("s")), ev.LockOrphaned(SOURCE, LockId("twin")))
    p.source_locked("twin", at=block(15, fork="b")).source_final("twin")
    assert SendLock() not in p.required
    assert p.swap.source.state is LegState.NONE


def test_a_late_lock_is_given_back_and_never_answered() -> None:
    p = Player().accepted().source_locked(at=block(10, time=PLAN.lock_by + 1))
    assert p.swap.state is SwapState.INVALID_LOCK
    assert SendCooperativeRefund() in p.required
    p.source_final()
    assert SendLock() not in p.required
    p.refunded(SOURCE).refund_final(SOURCE)
    assert p.swap.state is SwapState.REFUNDED


def test_a_lock_on_the_last_second_of_the_window_is_in_time() -> None:
    p = Player().accepted().source_locked(at=block(10, time=PLAN.lock_by)).source_final()
    assert p.required == (SendLock(),)


def test_a_late_lock_that_a_reorg_puts_into_the_window_is_still_given_back() -> None:
    p = Player().accepted().source_locked(at=block(10, time=PLAN.lock_by + 1))
    p.feed(ev.LockOrphaned(SOURCE, LockId("s"))).source_locked(at=block(10, fork="b")).source_final()
    assert SendLock() not in p.required
    assert SendCooperativeRefund() in p.required


def test_from_its_deadline_on_a_lock_is_given_back_by_a_plain_refund() -> None:
    p = Player().accepted().source_locked("odd", amount=LESS).source_time(PLAN.source)
    assert SendRefund(SOURCE, lock_id=LockId("odd")) in p.required
    assert SendCooperativeRefund(lock_id=LockId("odd")) not in p.required


def test_strays_without_end_do_not_grow_the_swap_without_end() -> None:
    p = Player().accepted()
    for n in range(1, 50):
        p.source_locked(f"odd{n}", amount=SOURCE_TERMS.amount + n)
    assert len(p.swap.source.strays) == 4
    assert p.source_locked().source_final().swap.state is SwapState.COUNTERLOCKING


@pytest.mark.parametrize("sender", ["0xuser", "0xstranger"])
def test_dust_is_not_given_back_at_the_bridges_expense(sender: str) -> None:
    p = Player().accepted().source_locked("odd", amount=DUST, sender=sender)
    assert (p.swap.state, p.required) == (SwapState.AWAIT_LOCK, ())
    assert (p.swap.source.strays != ()) == (sender == "0xuser")
    p.operator(ev.OperatorVerb.COOPERATIVE_REFUND)
    assert (SendCooperativeRefund(lock_id=LockId("odd")) in p.required) == (sender == "0xuser")


def test_just_above_dust_is_given_back() -> None:
    p = Player().accepted().source_locked("odd", amount=DUST + 1, sender="0xstranger")
    assert p.required == (SendCooperativeRefund(lock_id=LockId("odd")),)


def test_strangers_leave_room_for_the_users_own_mistakes() -> None:
    p = Player().accepted()
    for n in range(1, 10):
        p.source_locked(f"strange{n}", amount=SOURCE_TERMS.amount + n, sender="0xstranger")
    assert len(p.swap.source.strays) == 2
    p.source_locked("own", amount=LESS)
    assert LockId("own") in [stray.lock_id for stray in p.swap.source.strays]


def completed() -> Player:
    p = Player().awaiting_claim().claimed(DESTINATION).claimed(SOURCE)
    return p.claim_final(DESTINATION).claim_final(SOURCE)


def test_a_strangers_lock_wakes_no_finished_swap() -> None:
    p = completed()
    before = p.swap
    p.source_locked("strange", amount=SOURCE_TERMS.amount * 2, sender="0xstranger")
    assert p.swap == before


def test_a_users_lock_on_a_finished_swap_is_given_back_without_opening_it() -> None:
    p = completed().source_locked("again", amount=LESS)
    assert p.swap.state is SwapState.COMPLETED
    assert SendCooperativeRefund(lock_id=LockId("again")) in p.required


@pytest.mark.parametrize("changes", [{"asset": USDC}, {"amount": LESS}, {"deadline": PLAN.source * 2}])
@pytest.mark.parametrize("sender", ["0xuser", "0xstranger"])
def test_a_lock_that_never_moves_keeps_no_swap_open(changes: dict[str, Any], sender: str) -> None:
    p = Player().awaiting_claim().source_locked("odd", sender=sender, **changes)
    p.claimed(DESTINATION).claimed(SOURCE).claim_final(DESTINATION).claim_final(SOURCE)
    assert p.swap.state is SwapState.COMPLETED


@pytest.mark.parametrize("sender", ["0xuser", "0xstranger"])
def test_a_swap_with_nothing_but_a_wrong_lock_ends_at_its_own_deadline(sender: str) -> None:
    p = Player().accepted().source_locked("odd", amount=LESS, sender=sender, deadline=PLAN.source * 9)
    p.source_time(PLAN.source - 1)
    own = sender == "0xuser"
    assert p.swap.state is (SwapState.INVALID_LOCK if own else SwapState.EXPIRED_UNFUNDED)
    p.source_time(PLAN.source)
    assert p.swap.state is SwapState.EXPIRED_UNFUNDED


def test_a_second_counterlock_of_ours_is_refunded_at_its_deadline_whatever_becomes_of_the_swap() -> None:
    p = Player().awaiting_claim()
    p.feed(ev.LockSeen(DESTINATION, LockId("d2"), DESTINATION_TERMS, TxId("tx-d2"), block(21)))
    assert "a second time" in p.swap.attention
    p.claimed(DESTINATION).claimed(SOURCE).claim_final(DESTINATION).claim_final(SOURCE)
    assert not is_terminal(p.swap)
    p.destination_time(PLAN.destination)
    assert SendRefund(DESTINATION, lock_id=LockId("d2")) in p.required
    p.refunded(DESTINATION, lock_id="d2").refund_final(DESTINATION, "d2")
    assert p.swap.state is SwapState.COMPLETED


def test_a_strangers_lock_on_the_destination_chain_is_none_of_our_business() -> None:
    p = Player().awaiting_claim()
    before = p.swap
    strange = replace(DESTINATION_TERMS, sender="zion1stranger")
    assert p.feed(ev.LockSeen(DESTINATION, LockId("x"), strange, TxId("tx-x"), block(21))).swap == before


# Nothing locked


def test_a_swap_nobody_funds_expires_only_after_finality_has_passed_its_window() -> None:
    p = Player().accepted().source_time(expiry_time(POLICY))
    assert p.swap.state is SwapState.AWAIT_LOCK
    p.source_time(expiry_time(POLICY) + 1)
    assert p.swap.state is SwapState.EXPIRED_UNFUNDED
    assert p.required == (ReleaseInventory(),)
    assert AppendReceipt(SwapState.EXPIRED_UNFUNDED) not in p.last


def test_a_lock_after_expiry_reopens_the_swap_and_is_given_back() -> None:
    p = Player().accepted().source_time(expiry_time(POLICY) + 1)
    p.source_locked(at=block(10, time=PLAN.lock_by - 5)).source_final()
    assert p.swap.state is SwapState.INVALID_LOCK
    assert SendLock() not in p.required
    assert SendCooperativeRefund() in p.required


# Reorgs after the counter-lock


def test_a_source_orphaned_after_the_counterlock_leaves_the_destination_refundable() -> None:
    p = Player().awaiting_claim().feed(ev.LockOrphaned(SOURCE, LockId("s")))
    assert p.swap.state is SwapState.AWAIT_CLAIM
    assert "waiting for its return" in p.swap.attention
    p.destination_time(PLAN.destination)
    assert p.required == (REFUND_DESTINATION,)
    p.refunded(DESTINATION).refund_final(DESTINATION)
    assert p.swap.state is SwapState.REFUNDED


def test_a_source_that_cannot_return_under_a_claimed_destination_needs_a_person() -> None:
    p = Player().awaiting_claim().feed(ev.LockOrphaned(SOURCE, LockId("s"))).claimed(DESTINATION)
    assert p.swap.state is SwapState.CLAIMING
    p.source_time(PLAN.source)
    assert p.swap.state is SwapState.ATTENTION
    p.source_locked(at=block(50, fork="b"))
    assert p.required == (CLAIM_SOURCE,)


def test_an_orphaned_source_that_returns_goes_on_where_it_was() -> None:
    p = Player().awaiting_claim().feed(ev.LockOrphaned(SOURCE, LockId("s")))
    p.source_locked(at=block(11, fork="b")).source_final()
    assert (p.swap.state, p.swap.attention) == (SwapState.AWAIT_CLAIM, "")


def test_an_orphaned_counterlock_may_still_land_so_the_source_is_not_given_back() -> None:
    p = Player().awaiting_claim().feed(ev.LockOrphaned(DESTINATION, LockId("d")))
    assert p.swap.destination.state is LegState.INTENT
    p.destination_time(PLAN.destination)
    assert CancelLock() in p.required
    assert SendCooperativeRefund() not in p.required
    p.lock_failed()
    assert SendCooperativeRefund() in p.required


def test_a_counterlock_orphaned_when_it_is_too_late_to_lock_anew_may_still_land() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination - 1)
    p.feed(ev.LockOrphaned(DESTINATION, LockId("d")))
    assert p.swap.destination.state is LegState.INTENT
    assert p.required == (CancelLock(),)


def test_the_secret_of_an_orphaned_claim_still_claims_the_source() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION).feed(ev.ClaimOrphaned(DESTINATION, LockId("d")))
    assert set(p.required) == {CLAIM_SOURCE, CLAIM_DESTINATION}


def test_the_secret_of_a_claim_orphaned_with_its_lock_still_claims_the_source() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION)
    p.feed(ev.LockOrphaned(DESTINATION, LockId("d")), ev.ClaimOrphaned(DESTINATION, LockId("d")))
    assert CLAIM_SOURCE in p.required
    assert CancelLock() not in p.required


def test_an_orphaned_claim_of_ours_is_sent_again_after_completion() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION).claimed(SOURCE)
    p.claim_final(DESTINATION).claim_final(SOURCE)
    p.feed(ev.ClaimOrphaned(SOURCE, LockId("s")))
    assert (p.swap.state, p.required) == (SwapState.CLAIMING, (CLAIM_SOURCE,))


def test_a_stale_report_about_another_inclusion_changes_nothing() -> None:
    p = Player().accepted().source_locked().feed(ev.LockOrphaned(SOURCE, LockId("s"), block_id="10"))
    p.source_locked(at=block(12, fork="b"))
    before = p.swap
    p.feed(
        ev.LockOrphaned(SOURCE, LockId("s"), block_id="10"),
        ev.LockFinal(SOURCE, LockId("s"), block_id="10"),
        ev.LockSeen(SOURCE, LockId("s"), SOURCE_TERMS, TxId("tx-s"), block(10)),
    )
    assert p.swap == before


# Invariant 3: the secret


def test_a_failed_claim_that_shows_the_secret_is_enough_to_claim_the_source() -> None:
    p = Player().awaiting_claim().feed(ev.SecretRevealed(PREIMAGE))
    assert set(p.required) == {CLAIM_SOURCE, CLAIM_DESTINATION}


@pytest.mark.parametrize("verb", list(ev.OperatorVerb))
def test_no_operator_stops_a_claim(verb: ev.OperatorVerb) -> None:
    p = Player().awaiting_claim().claimed(DESTINATION).operator(verb)
    assert p.required == (CLAIM_SOURCE,)


def test_claims_go_on_past_every_deadline_and_every_failure() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION)
    p.source_time(PLAN.source + 10**6).destination_time(PLAN.source + 10**6)
    p.feed(ev.TxFailed(SOURCE, Purpose.CLAIM, "out of gas"))
    assert p.required == (CLAIM_SOURCE,)
    assert "out of gas" in p.swap.attention
    assert p.swap.state is SwapState.CLAIMING
    assert p.claimed(SOURCE).swap.attention == ""


def test_an_operators_retry_silences_the_note_and_keeps_the_claim() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION)
    p.feed(ev.TxFailed(SOURCE, Purpose.CLAIM, "out of gas")).operator(ev.OperatorVerb.RETRY)
    assert (p.swap.attention, p.required) == ("", (CLAIM_SOURCE,))


def test_a_claim_with_a_preimage_that_does_not_fit_is_not_believed() -> None:
    p = Player().awaiting_claim()
    before = p.swap
    p.feed(ev.ClaimSeen(DESTINATION, LockId("d"), TxId("t"), block(30), WRONG_PREIMAGE))
    p.feed(ev.SecretRevealed(WRONG_PREIMAGE))
    assert p.swap == before


def test_a_strangers_claim_with_the_same_hashlock_gives_the_secret_but_moves_no_leg() -> None:
    p = Player().awaiting_claim()
    p.feed(ev.ClaimSeen(DESTINATION, LockId("somebody-elses"), TxId("t"), block(30), PREIMAGE))
    assert p.swap.destination.state is LegState.FINAL
    assert CLAIM_SOURCE in p.required


def test_a_secret_known_before_the_counterlock_never_takes_the_source_for_nothing() -> None:
    p = Player().accepted().source_locked().feed(ev.SecretRevealed(PREIMAGE))
    p.destination_time(PLAN.destination).source_final()
    assert CLAIM_SOURCE not in p.required
    assert SendCooperativeRefund() in p.required


def test_a_source_claimed_for_us_before_the_counterlock_obliges_us_to_lock() -> None:
    p = Player().accepted().source_locked().source_final().claimed(SOURCE)
    assert p.swap.destination.state is LegState.INTENT
    assert SendLock() in p.required
    assert p.operator(ev.OperatorVerb.ABANDON).swap.abandoned is None


def test_a_source_claimed_before_it_was_final_does_not_yet_give_the_destination_away() -> None:
    p = (
        Player()
        .awaiting_claim()
        .feed(ev.LockOrphaned(SOURCE, LockId("s")))
        .source_locked(at=block(11, fork="b"))
    )
    p.claimed(SOURCE)
    assert CLAIM_DESTINATION not in p.required
    assert CLAIM_DESTINATION in p.source_final().required


# A shared secret


def test_with_a_shared_secret_the_destination_is_claimed_for_the_user_first() -> None:
    p = Player().awaiting_claim().shared()
    assert p.required == (CLAIM_DESTINATION,)
    p.claimed(DESTINATION)
    assert p.required == (CLAIM_SOURCE,)


def test_with_a_shared_secret_the_source_is_claimed_when_its_time_runs_short() -> None:
    p = Player().awaiting_claim().shared().source_time(CLAIM_START - 1)
    assert p.required == (CLAIM_DESTINATION,)
    p.source_time(CLAIM_START)
    assert set(p.required) == {CLAIM_SOURCE, CLAIM_DESTINATION}


def test_with_a_shared_secret_the_destination_is_never_refunded_while_the_source_can_be_claimed() -> None:
    p = Player().awaiting_claim().shared().destination_time(PLAN.destination + 10**6)
    assert p.required == (CLAIM_DESTINATION,)
    p.source_time(PLAN.source + 10**6)
    assert REFUND_DESTINATION not in p.required
    p.claimed(SOURCE).claim_final(SOURCE)
    assert p.required == (CLAIM_DESTINATION,)


def test_with_a_shared_secret_a_refund_that_wins_the_race_gives_the_source_back() -> None:
    # Not by our hand: from the deadline on anybody may submit the refund.
    p = Player().awaiting_claim().shared().destination_time(PLAN.destination)
    assert p.required == (CLAIM_DESTINATION,)
    p.refunded(DESTINATION)
    assert p.required == ()
    p.refund_final(DESTINATION)
    assert p.required == (SendCooperativeRefund(), ReleaseInventory())


def test_when_the_user_took_the_source_back_a_shared_secret_does_not_give_them_the_destination() -> None:
    p = Player().awaiting_claim().shared().destination_time(PLAN.destination).source_time(PLAN.source)
    p.refunded(SOURCE)
    assert p.required == (REFUND_DESTINATION,)


def test_a_wrong_preimage_is_refused_and_changes_nothing() -> None:
    p = Player().awaiting_claim()
    found = may_share_secret(p.swap, WRONG_PREIMAGE)
    assert found is not None
    assert found.code is RefusalCode.WRONG_PREIMAGE
    before = p.swap
    assert p.shared(WRONG_PREIMAGE).swap == before


@pytest.mark.parametrize(
    ("player", "code"),
    [
        (lambda: Player().accepted(), RefusalCode.NO_DESTINATION_LOCK),
        (lambda: Player().counterlocking(), RefusalCode.NO_DESTINATION_LOCK),
        (lambda: Player().counterlocking().destination_locked(), RefusalCode.DESTINATION_NOT_FINAL),
        (
            lambda: Player().awaiting_claim().destination_time(PLAN.destination),
            RefusalCode.DESTINATION_REFUNDED,
        ),
        (lambda: Player().awaiting_claim().refunded(DESTINATION), RefusalCode.DESTINATION_REFUNDED),
        (lambda: Player().awaiting_claim().claimed(DESTINATION), RefusalCode.ALREADY_CLAIMED),
    ],
)
def test_a_secret_is_not_taken_where_it_would_be_given_for_nothing(player, code) -> None:  # type: ignore[no-untyped-def]
    p = player()
    found = may_share_secret(p.swap, PREIMAGE)
    assert found is not None
    assert found.code is code
    before = p.swap
    assert p.shared().swap == before


def test_sharing_the_secret_twice_is_welcome() -> None:
    p = Player().awaiting_claim().shared()
    assert may_share_secret(p.swap, PREIMAGE) is None
    before = p.swap
    assert p.shared().swap == before


# Refunds of the destination


def test_the_destination_is_not_refunded_before_its_deadline() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination - 1)
    assert p.required == ()


def test_an_orphaned_refund_and_a_claim_that_wins_then_claim_the_source() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination).refunded(DESTINATION)
    p.feed(ev.RefundOrphaned(DESTINATION, LockId("d")))
    assert p.required == (REFUND_DESTINATION,)
    p.claimed(DESTINATION, at=block(41, fork="b"))
    assert p.required == (CLAIM_SOURCE,)


def test_a_claim_seen_in_place_of_our_refund_wins_even_without_word_of_the_reorg() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination).refunded(DESTINATION)
    p.claimed(DESTINATION, at=block(41, fork="b"))
    assert p.required == (CLAIM_SOURCE,)


def test_while_our_refund_is_not_final_a_revealed_secret_waits_until_time_runs_short() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination).refunded(DESTINATION)
    p.feed(ev.SecretRevealed(PREIMAGE))
    assert p.required == ()
    assert p.source_time(CLAIM_START).required == (CLAIM_SOURCE,)


def test_while_our_refund_may_be_on_its_way_a_revealed_secret_waits_until_time_runs_short() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination).feed(ev.SecretRevealed(PREIMAGE))
    assert p.required == (CLAIM_DESTINATION,)
    assert CLAIM_SOURCE in p.source_time(CLAIM_START).required


def test_after_our_final_refund_a_revealed_secret_does_not_take_the_users_money_too() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination)
    p.refunded(DESTINATION).refund_final(DESTINATION).feed(ev.SecretRevealed(PREIMAGE))
    assert p.source_time(CLAIM_START).required == (SendCooperativeRefund(), ReleaseInventory())


# Invariant 4: giving the source back


@pytest.mark.parametrize("verb", [ev.OperatorVerb.ABANDON, ev.OperatorVerb.COOPERATIVE_REFUND])
def test_no_operator_gives_the_source_back_under_a_locked_destination(verb: ev.OperatorVerb) -> None:
    p = Player().awaiting_claim().operator(verb)
    assert p.required == ()
    p.destination_time(PLAN.destination).refunded(DESTINATION).operator(verb)
    assert p.required == ()


@pytest.mark.parametrize("verb", [ev.OperatorVerb.ABANDON, ev.OperatorVerb.COOPERATIVE_REFUND])
def test_a_signed_counterlock_has_to_be_impossible_before_the_source_is_given_back(
    verb: ev.OperatorVerb,
) -> None:
    p = Player().counterlocking().operator(verb)
    assert p.required == (CancelLock(),)
    p.lock_failed()
    assert set(p.required) == {SendCooperativeRefund(), ReleaseInventory()}
    assert p.swap.attention == ""


def test_a_cancelled_counterlock_that_lands_after_all_is_an_ordinary_counterlock() -> None:
    p = Player().counterlocking().operator(ev.OperatorVerb.ABANDON).destination_locked()
    p.destination_final()
    assert (p.swap.state, p.required) == (SwapState.AWAIT_CLAIM, ())
    assert p.claimed(DESTINATION).required == (CLAIM_SOURCE,)


def test_a_failed_counterlock_gives_the_source_back_and_is_never_tried_again() -> None:
    p = Player().counterlocking().lock_failed()
    assert SendCooperativeRefund() in p.required
    assert "lock failed" in p.swap.attention
    before = p.swap
    p.lock_failed().operator(ev.OperatorVerb.ABANDON).source_time(START + 1)
    assert SendLock() not in p.required
    assert p.swap.destination == before.destination
    assert refusal(p) is RefusalCode.ABANDONED
    p.refunded(SOURCE).refund_final(SOURCE)
    assert (p.swap.state, p.swap.attention) == (SwapState.REFUNDED, "")


def test_a_source_that_is_being_given_back_is_never_relied_on_again() -> None:
    # Our refund was final; then a reorg deeper than finality undid all of it.
    p = Player().awaiting_claim().refunded(DESTINATION).refund_final(DESTINATION)
    assert SendCooperativeRefund() in p.required
    p.feed(ev.RefundOrphaned(DESTINATION, LockId("d")), ev.LockOrphaned(DESTINATION, LockId("d")))
    assert SendLock() not in p.required
    assert refusal(p) is RefusalCode.ABANDONED


def test_an_old_word_of_a_reorg_does_not_revive_a_failed_counterlock() -> None:
    p = Player().awaiting_claim().feed(ev.LockOrphaned(DESTINATION, LockId("d"))).lock_failed()
    p.feed(ev.LockOrphaned(DESTINATION, LockId("d")))
    assert p.swap.destination.state is LegState.NONE


def test_a_failed_destination_refund_is_kept_due() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination)
    p.feed(ev.TxFailed(DESTINATION, Purpose.REFUND, "reverted"))
    assert p.required == (REFUND_DESTINATION,)


# Outcomes that a person has to see


def test_both_legs_with_the_user_is_not_called_an_end() -> None:
    p = Player().awaiting_claim().claimed(DESTINATION).claim_final(DESTINATION)
    p.refunded(SOURCE).refund_final(SOURCE)
    assert p.swap.state is SwapState.ATTENTION
    assert "bridge lost" in p.swap.attention


PAYBACK = LegRole.PAYBACK
PAY_BACK, CLAIM_PAYBACK = SendLock(PAYBACK), SendClaim(PAYBACK)
PAYBACK_TERMS = payback_terms(SOURCE_TERMS)


def both_with_the_bridge() -> Player:
    p = Player().awaiting_claim().destination_time(PLAN.destination)
    return p.refunded(DESTINATION).refund_final(DESTINATION).claimed(SOURCE)


def paying_back(p: Player) -> Player:
    assert p.required == (PAY_BACK, ReleaseInventory())
    return p.feed(ev.LockSeen(PAYBACK, LockId("p"), PAYBACK_TERMS, TxId("tx-p"), block(40)))


def test_the_lock_that_pays_back_is_the_sources_money_the_other_way_round() -> None:
    assert (PAYBACK_TERMS.sender, PAYBACK_TERMS.recipient) == ("0xbridge", "0xuser")
    assert (PAYBACK_TERMS.asset, PAYBACK_TERMS.amount) == (SOURCE_TERMS.asset, SOURCE_TERMS.amount)
    assert PAYBACK_TERMS.deadline > SOURCE_TERMS.deadline


def test_with_both_legs_the_bridge_pays_the_source_back_and_only_then_it_is_an_end() -> None:
    p = both_with_the_bridge()
    assert (p.required, p.swap.state) == ((ReleaseInventory(),), SwapState.REFUNDING)
    p = paying_back(p.claim_final(SOURCE))
    assert p.required == (CLAIM_PAYBACK, ReleaseInventory())
    assert not is_terminal(p.swap)
    assert "paid back" in p.swap.attention
    p.feed(ev.ClaimSeen(PAYBACK, LockId("p"), TxId("tx-pc"), block(41), PREIMAGE))
    assert not is_terminal(p.swap)
    p.feed(ev.ClaimFinal(PAYBACK, LockId("p")))
    assert (p.swap.state, p.required) == (SwapState.REFUNDED, (ReleaseInventory(),))
    assert p.swap.attention == ""


def test_a_claim_of_the_source_that_is_orphaned_is_not_paid_back() -> None:
    p = both_with_the_bridge().feed(ev.ClaimOrphaned(SOURCE, LockId("s")))
    assert PAY_BACK not in p.required
    assert SendCooperativeRefund() in p.required


def test_a_late_lock_that_was_claimed_for_us_is_paid_back_and_never_answered() -> None:
    p = Player().accepted().source_locked(at=block(10, time=PLAN.lock_by + 1)).claimed(SOURCE)
    assert PAY_BACK not in p.required
    p.claim_final(SOURCE)
    assert SendLock() not in p.required
    assert PAY_BACK in p.required


def test_a_lock_that_was_claimed_for_us_in_time_is_answered_and_not_paid_back() -> None:
    p = Player().accepted().source_locked().source_final().claimed(SOURCE)
    assert p.required == (SendLock(),)
    assert p.claim_final(SOURCE).required == (SendLock(),)
    assert "owed" in p.swap.attention


def test_a_claim_whose_counterlock_comes_too_late_is_paid_back_once_no_lock_can_land() -> None:
    p = Player().accepted().source_locked().source_final().claimed(SOURCE).claim_final(SOURCE)
    p.destination_time(latest_counterlock(POLICY, PLAN.destination) + 1)
    assert p.required == ()  # a lock that was signed may still land
    p.feed(ev.TxFailed(DESTINATION, Purpose.LOCK, "withdrawn"))
    assert p.required == (PAY_BACK, ReleaseInventory())


def test_a_claim_before_anything_was_planned_is_paid_back_when_time_runs_out() -> None:
    p = Player().accepted().source_locked().claimed(SOURCE)
    p.destination_time(latest_counterlock(POLICY, PLAN.destination) + 1).claim_final(SOURCE)
    assert p.swap.abandoned is Abandonment.TIMELOCK
    assert p.required == (PAY_BACK, ReleaseInventory())


def test_a_payback_that_failed_waits_for_an_operator_and_is_not_tried_twice_by_itself() -> None:
    p = both_with_the_bridge().claim_final(SOURCE)
    failed = ev.TxFailed(PAYBACK, Purpose.LOCK, "no funds")
    p.feed(failed, failed)
    assert PAY_BACK not in p.required
    assert (p.swap.state, "paid by hand" in p.swap.attention) == (SwapState.ATTENTION, True)
    p.operator(ev.OperatorVerb.RETRY)
    assert PAY_BACK in p.required


def test_a_payback_is_not_begun_so_late_that_the_user_has_no_time() -> None:
    p = both_with_the_bridge().source_time(PAYBACK_TERMS.deadline).claim_final(SOURCE)
    assert PAY_BACK not in p.required
    assert "paid by hand" in p.swap.attention


def test_a_second_lock_of_ours_that_the_user_may_take_is_not_paid_back_beside_it() -> None:
    p = both_with_the_bridge()
    p.feed(ev.LockSeen(DESTINATION, LockId("d2"), DESTINATION_TERMS, TxId("tx-d2"), block(21)))
    assert PAY_BACK not in p.claim_final(SOURCE).required


def test_a_payback_that_a_database_forgot_is_recognised() -> None:
    p = Player().accepted().source_locked().claimed(SOURCE)
    p.feed(ev.LockSeen(PAYBACK, LockId("p"), PAYBACK_TERMS, TxId("tx-p"), block(40)))
    p.destination_time(latest_counterlock(POLICY, PLAN.destination) + 1).claim_final(SOURCE)
    assert PAY_BACK not in p.required
    assert CLAIM_PAYBACK in p.required


# Invariant 7


def test_a_tick_that_goes_back_is_no_news() -> None:
    p = Player().awaiting_claim().destination_time(PLAN.destination)
    before = p.swap
    assert p.destination_time(START).swap == before
    assert p.feed(ev.Tick(instances.SOLANA, UnixSeconds(5), BlockHeight(5))).swap == before


def test_no_byte_of_the_secret_is_in_a_swap_its_effects_or_a_logged_event() -> None:
    secret = PREIMAGE.reveal()
    p = Player().awaiting_claim().shared().claimed(DESTINATION)
    shown = f"{p.swap!r} {p.last!r}"
    logged = ev.redacted_json(ev.ClaimSeen(DESTINATION, LockId("d"), TxId("t"), block(3), PREIMAGE))
    assert secret.hex() not in shown
    assert secret.hex().encode() not in logged
    assert secret not in logged


def test_terms_of_an_unknown_lock_id_are_the_legs_own() -> None:
    assert Player().swap.destination.lock_terms() == DESTINATION_TERMS
