"""The step plan as a table: one row per situation of an intent, and what must hold in every situation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from bridge.chains.actions import CancelAction, ClaimAction
from bridge.chains.port import FeeLevel, SignedTx, Tip, TxState, TxStatus
from bridge.engine.decisions import Decision, Go, Hold, Withdraw
from bridge.engine.intent_snapshot import IntentSnapshot
from bridge.engine.outbox_settings import OutboxSettings
from bridge.engine.step_plan import (
    Expired,
    Landed,
    NotLanded,
    Pending,
    Replace,
    Resend,
    Sign,
    Step,
    Wait,
    Withdrawn,
    can_outbid,
    first_bid,
    is_worth_a_look,
    plan_step,
)
from bridge.engine.tx_reasons import EXPIRED, REJECTED
from bridge.protocol.types import (
    Address,
    Amount,
    BlockHeight,
    BlockRef,
    LockId,
    Purpose,
    SwapId,
    TxId,
    UnixSeconds,
)
from bridge.store.records import Intent, IntentState, StoredTx, StoredTxState
from tests import instances
from tests.unit.samples import preimage, swap

HEIGHT, NOW, DEPTH = 100, 1_800_000_000, 3
TIP = Tip(BlockRef(BlockHeight(HEIGHT), "b100", "b99", UnixSeconds(NOW)), UnixSeconds(NOW))
SETTINGS = OutboxSettings(bump_blocks=3, urgent_bump_blocks=1, max_bumps=5)
ACTION = ClaimAction(swap().source.terms, preimage())
CANCEL = CancelAction()
GO = Go(ACTION, DEPTH)
URGENT = Go(ACTION, DEPTH, urgent_from=NOW)
NOT_YET_URGENT = Go(ACTION, DEPTH, urgent_from=NOW + 1)
HOLD = Hold("not now", DEPTH)
WITHDRAW = Withdraw("not any more", DEPTH)

UNKNOWN, PENDING = TxStatus(TxState.UNKNOWN), TxStatus(TxState.PENDING)
REPLACED = TxStatus(TxState.REPLACED)


def included(confirmations: int) -> TxStatus:
    return TxStatus(TxState.INCLUDED, at(HEIGHT - confirmations + 1), confirmations)


def failed(height: int) -> TxStatus:
    return TxStatus(TxState.FAILED, at(height), HEIGHT - height + 1, "out of gas")


def at(height: int) -> BlockRef:
    return BlockRef(BlockHeight(height), f"b{height}", f"b{height - 1}", UnixSeconds(NOW))


def intent(
    purpose: Purpose = Purpose.CLAIM,
    state: IntentState = IntentState.BROADCAST,
    *,
    cancel: bool = False,
    batch_leader: int | None = None,
) -> Intent:
    return Intent(
        id=1,
        subject="swap1",
        swap_id=SwapId("swap1"),
        leg="source",
        purpose=purpose,
        lock_id=LockId(""),
        chain=instances.ZION,
        action="",
        state=state,
        attempt=0,
        cancel=cancel,
        owner="",
        fence=0,
        lease_until_ms=0,
        not_before_ms=0,
        batch_leader=batch_leader,
        reason="",
        pays=Address(""),
        counted_from=0,
        created_ms=0,
        updated_ms=0,
    )


SENT = StoredTx(
    id=7,
    intent_id=1,
    chain=instances.ZION,
    signed=SignedTx(
        TxId("tx7"), b"", Address("bridge"), 4, {"price": 10}, Amount(1), signed_height=BlockHeight(HEIGHT)
    ),
    attempt=0,
    cancels=False,
    state=StoredTxState.BROADCAST,
    block_height=None,
    block_id="",
    replaced_by="",
    reason="",
    signed_ms=0,
    sent_ms=1,
)


def tx(base: StoredTx = SENT, **changes: object) -> StoredTx:
    """Return a transaction like another one, with changes of itself or of what was signed."""
    of_signed = {name: changes.pop(name) for name in SignedTx.__struct_fields__ if name in changes}
    return msgspec.structs.replace(base, signed=msgspec.structs.replace(base.signed, **of_signed), **changes)


LATER = tx(id=8, tx_id="tx8", attempt=1)
NEXT_IN_LINE = tx(id=8, tx_id="tx8", sequence=5)
SIGNED = tx(state=StoredTxState.SIGNED, sent_ms=None)
UNNUMBERED = tx(sequence=None)
OLD = tx(signed_height=HEIGHT - 3)
CANCELLING = tx(id=8, tx_id="tx8", cancels=True)
IN_BLOCK = tx(state=StoredTxState.INCLUDED, block_height=99, block_id="b99")
REVERTED = tx(reason="reverted: out of gas", block_height=99)
DISPLACED = tx(reason="another transaction used its sequence", block_height=99)
HOUR = 3600


def snapshot(of: Intent, *txs: tuple[StoredTx, TxStatus]) -> IntentSnapshot:
    return IntentSnapshot(
        of, tuple(stored for stored, _ in txs), statuses={stored.id: status for stored, status in txs}
    )


CLAIM, LOCK = intent(), intent(Purpose.LOCK)

TABLE: dict[str, tuple[IntentSnapshot, Decision, Step | type[Wait]]] = {
    # nothing was signed yet
    "new and wanted": (snapshot(intent(state=IntentState.PLANNED)), GO, Sign(ACTION)),
    "new, wanted and urgent": (snapshot(CLAIM), URGENT, Sign(ACTION, urgent=True)),
    "new, and urgent a second later": (snapshot(CLAIM), NOT_YET_URGENT, Sign(ACTION)),
    "new and not now": (snapshot(CLAIM), HOLD, Wait("not now", postpone=True)),
    "new and not any more": (snapshot(CLAIM), WITHDRAW, Withdrawn("not any more")),
    "all dead and wanted": (snapshot(CLAIM, (tx(state=StoredTxState.DEAD), PENDING)), GO, Sign(ACTION)),
    "a dead lock and wanted": (snapshot(LOCK, (tx(state=StoredTxState.DEAD), PENDING)), GO, Sign(ACTION)),
    # it waits for a block
    "a node has it": (snapshot(CLAIM, (SENT, PENDING)), GO, Wait),
    "a node has it, which is not stored": (snapshot(CLAIM, (SIGNED, PENDING)), GO, Pending(SIGNED)),
    "a node has it after a refusal": (
        snapshot(CLAIM, (tx(reason=f"{REJECTED}?"), PENDING)),
        GO,
        Pending(tx(reason=f"{REJECTED}?")),
    ),
    "no node has it": (snapshot(CLAIM, (SENT, UNKNOWN)), GO, Resend(SENT)),
    "a reorg took back what had reverted, below the one signed after it": (
        snapshot(CLAIM, (REVERTED, UNKNOWN), (NEXT_IN_LINE, PENDING)),
        GO,
        Resend(REVERTED),
    ),
    "the same, and it must no longer happen": (
        snapshot(CLAIM, (REVERTED, UNKNOWN), (NEXT_IN_LINE, PENDING)),
        WITHDRAW,
        Replace(REVERTED, CancelAction(), cancels=True),
    ),
    "what was replaced is not missed": (snapshot(CLAIM, (SENT, UNKNOWN), (LATER, PENDING)), GO, Wait),
    "no node has it, and not now": (snapshot(CLAIM, (SENT, UNKNOWN)), HOLD, Wait("not now")),
    "too late for the next block, though not yet expired": (
        snapshot(CLAIM, (tx(valid_until_height=HEIGHT), UNKNOWN)),
        GO,
        Wait,
    ),
    "waits too long": (snapshot(CLAIM, (OLD, PENDING)), GO, Replace(OLD, ACTION)),
    "waits a block less": (snapshot(CLAIM, (tx(signed_height=HEIGHT - 2), PENDING)), GO, Wait),
    "waits a block, and is urgent": (
        snapshot(CLAIM, (tx(signed_height=HEIGHT - 1), PENDING)),
        URGENT,
        Replace(tx(signed_height=HEIGHT - 1), ACTION),
    ),
    "waits too long, and not now": (snapshot(CLAIM, (OLD, PENDING)), HOLD, Wait("not now")),
    "waits too long with the highest bid": (snapshot(CLAIM, (tx(OLD, attempt=5), PENDING)), GO, Wait),
    "waits too long, never sent": (
        snapshot(CLAIM, (tx(OLD, sent_ms=None), UNKNOWN)),
        GO,
        Resend(tx(OLD, sent_ms=None)),
    ),
    "waits too long, refused by every node": (
        snapshot(CLAIM, (tx(OLD, sent_ms=None, reason=f"{REJECTED}?"), UNKNOWN)),
        GO,
        Replace(tx(OLD, sent_ms=None, reason=f"{REJECTED}?"), ACTION),
    ),
    "the newest of two is the one to send again": (
        snapshot(CLAIM, (SENT, UNKNOWN), (LATER, UNKNOWN)),
        GO,
        Resend(LATER),
    ),
    # it must not land any more
    "withdrawn while it waits": (
        snapshot(CLAIM, (SENT, PENDING)),
        WITHDRAW,
        Replace(SENT, CANCEL, cancels=True),
    ),
    "withdrawn without a sequence": (snapshot(CLAIM, (UNNUMBERED, PENDING)), WITHDRAW, Wait),
    "withdrawn, cancelled, lost": (
        snapshot(CLAIM, (SENT, PENDING), (CANCELLING, UNKNOWN)),
        WITHDRAW,
        Resend(CANCELLING),
    ),
    "withdrawn, cancelled, waits": (snapshot(CLAIM, (SENT, PENDING), (CANCELLING, PENDING)), WITHDRAW, Wait),
    "withdrawn, cancelled, waits too long": (
        snapshot(CLAIM, (SENT, PENDING), (tx(CANCELLING, signed_height=HEIGHT - 3), PENDING)),
        WITHDRAW,
        Replace(tx(CANCELLING, signed_height=HEIGHT - 3), CANCEL, cancels=True),
    ),
    # it is in a block
    "included": (snapshot(CLAIM, (SENT, included(1))), GO, Landed(SENT, 100, "b100", final=False)),
    "included, though withdrawn": (
        snapshot(CLAIM, (SENT, included(1))),
        WITHDRAW,
        Landed(SENT, 100, "b100", final=False),
    ),
    "included in another block than before": (
        snapshot(intent(state=IntentState.INCLUDED), (IN_BLOCK, included(1))),
        HOLD,
        Landed(IN_BLOCK, 100, "b100", final=False),
    ),
    "included as before": (
        snapshot(intent(state=IntentState.INCLUDED), (IN_BLOCK, included(2))),
        HOLD,
        Wait("it waits for more confirmations"),
    ),
    "a confirmation short of final": (
        snapshot(CLAIM, (SENT, included(DEPTH - 1))),
        HOLD,
        Landed(SENT, 99, "b99", final=False),
    ),
    "final": (snapshot(CLAIM, (SENT, included(DEPTH))), HOLD, Landed(SENT, 98, "b98", final=True)),
    "final, and the node does not say where": (
        snapshot(CLAIM, (SENT, TxStatus(TxState.INCLUDED, None, DEPTH))),
        HOLD,
        Landed(SENT, None, "", final=True),
    ),
    "included beside one that lost its sequence": (
        snapshot(CLAIM, (SENT, REPLACED), (LATER, included(1))),
        GO,
        Landed(LATER, 100, "b100", final=False),
    ),
    # it reverted, or another one used its sequence
    "reverted": (
        snapshot(CLAIM, (SENT, failed(99))),
        GO,
        NotLanded(SENT, "reverted: out of gas", 99, reverted=True, final=False),
    ),
    "reverted for good": (
        snapshot(CLAIM, (REVERTED, failed(98))),
        GO,
        NotLanded(REVERTED, "reverted: out of gas", 98, reverted=True, final=True),
    ),
    "reverted as noted: a claim is signed again": (snapshot(CLAIM, (REVERTED, failed(99))), GO, Sign(ACTION)),
    "reverted as noted: a claim that is not wanted waits": (
        snapshot(CLAIM, (REVERTED, failed(99))),
        WITHDRAW,
        Wait,
    ),
    "reverted as noted: a lock is never signed twice": (snapshot(LOCK, (REVERTED, failed(99))), GO, Wait),
    "displaced": (
        snapshot(CLAIM, (SENT, REPLACED)),
        GO,
        NotLanded(SENT, "another transaction used its sequence", 100, reverted=False, final=False),
    ),
    "displaced as noted": (snapshot(CLAIM, (DISPLACED, REPLACED)), GO, Sign(ACTION)),
    "displaced for good": (
        snapshot(CLAIM, (tx(DISPLACED, block_height=98), REPLACED)),
        GO,
        NotLanded(
            tx(DISPLACED, block_height=98),
            "another transaction used its sequence",
            98,
            reverted=False,
            final=True,
        ),
    ),
    "displaced as noted, another one waits": (
        snapshot(CLAIM, (DISPLACED, REPLACED), (LATER, UNKNOWN)),
        GO,
        Resend(LATER),
    ),
    # it can never land any more
    "its last height has passed": (
        snapshot(CLAIM, (tx(valid_until_height=HEIGHT - 1), UNKNOWN)),
        GO,
        Expired(tx(valid_until_height=HEIGHT - 1)),
    ),
    "its last time has passed": (
        snapshot(CLAIM, (tx(valid_until_time=NOW - 1), UNKNOWN)),
        GO,
        Expired(tx(valid_until_time=NOW - 1)),
    ),
    "its last height has passed, but a node has it": (
        snapshot(CLAIM, (tx(valid_until_height=HEIGHT - 1), PENDING)),
        GO,
        Wait,
    ),
    "a lock's last height has passed, but a reorg may reach it": (
        snapshot(LOCK, (tx(valid_until_height=HEIGHT - DEPTH), UNKNOWN)),
        GO,
        Wait,
    ),
    "a lock's last height has passed for any reorg": (
        snapshot(LOCK, (tx(valid_until_height=HEIGHT - DEPTH - 1), UNKNOWN)),
        GO,
        Expired(tx(valid_until_height=HEIGHT - DEPTH - 1)),
    ),
    "a lock's last time has passed in the block after it": (
        snapshot(LOCK, (tx(valid_until_time=NOW - 1, signed_height=HEIGHT - 1), UNKNOWN)),
        GO,
        Wait,
    ),
    "a lock's last time has passed two blocks later": (
        snapshot(LOCK, (tx(valid_until_time=NOW - 1, signed_height=HEIGHT - 2), UNKNOWN)),
        GO,
        Expired(tx(valid_until_time=NOW - 1, signed_height=HEIGHT - 2)),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_each_situation_has_one_step(name: str) -> None:
    situation, decision, expected = TABLE[name]
    step = plan_step(situation, TIP, decision, SETTINGS, numbered=True)
    if isinstance(expected, type):
        assert isinstance(step, expected)
        assert step == Wait(step.reason), "it is looked at again with the next block"
        assert step.reason
    else:
        assert step == expected


def test_a_transaction_without_a_sequence_is_outbid_only_where_accounts_have_sequences() -> None:
    situation = snapshot(CLAIM, (tx(OLD, sequence=None), PENDING))
    assert plan_step(situation, TIP, GO, SETTINGS, numbered=True) == Replace(tx(OLD, sequence=None), ACTION)
    assert isinstance(plan_step(situation, TIP, GO, SETTINGS, numbered=False), Wait)
    assert not can_outbid(UNNUMBERED, SETTINGS, numbered=False)


def test_a_status_that_is_missing_is_an_error_and_no_step() -> None:
    with pytest.raises(KeyError):
        plan_step(IntentSnapshot(CLAIM, (SENT,)), TIP, GO, SETTINGS, numbered=True)


# -- what must hold in every situation -------------------------------------------------------

STATUSES = (UNKNOWN, PENDING, REPLACED, included(1), included(DEPTH), failed(99), failed(90))
DECISIONS: tuple[Decision, ...] = (GO, URGENT, HOLD, WITHDRAW)
HISTORIES = (
    (HEIGHT, "", None),
    (HEIGHT, "reverted: out of gas", 1),
    (HEIGHT - 10, "", 1),
    (HEIGHT - 10, "", None),
    (HEIGHT - 10, f"{REJECTED}?", None),
)
"""Height when signed, reason, time of the first sending."""
LIMITS: tuple[dict[str, Any], ...] = (
    {},
    {"valid_until_height": HEIGHT - 1},
    {"valid_until_time": NOW - 1},
)
VARIANTS = tuple(
    tx(
        sequence=sequence,
        **until,
        cancels=cancels,
        signed_height=height,
        reason=reason,
        sent_ms=sent,
    )
    for sequence, until, cancels, (height, reason, sent) in itertools.product(
        (4, None), LIMITS, (False, True), HISTORIES
    )
)
SECONDS = ((LATER, UNKNOWN), (LATER, included(1)), (CANCELLING, PENDING))


def situations() -> Iterator[tuple[IntentSnapshot, Decision, bool, Step]]:
    """Every mix of purpose, decision and up to two transactions: some 27,000."""
    for purpose, decision, numbered in itertools.product(
        (Purpose.LOCK, Purpose.CLAIM), DECISIONS, (True, False)
    ):
        of = intent(purpose)
        mixes = [snapshot(of)]
        for first in itertools.product(VARIANTS, STATUSES):
            mixes += [snapshot(of, first), *(snapshot(of, first, second) for second in SECONDS)]
        for situation in mixes:
            step = plan_step(situation, TIP, decision, SETTINGS, numbered=numbered)
            yield situation, decision, numbered, step


def test_in_every_situation_nothing_is_sent_that_was_not_decided() -> None:
    seen: set[type] = set()
    for situation, decision, numbered, step in situations():
        seen.add(type(step))
        states = {situation.statuses[stored.id].state for stored in situation.alive}
        match step:
            case Sign():
                assert isinstance(decision, Go), situation
                assert states <= {TxState.FAILED, TxState.REPLACED}, "something may still land"
                assert not (situation.alive and situation.intent.purpose is Purpose.LOCK), "a second lock"
            case Replace():
                assert step.cancels is not isinstance(decision, Go), situation
                assert step.old.sequence is not None or numbered
                assert TxState.INCLUDED not in states
            case Resend():
                assert isinstance(decision, Go) or (step.tx.cancels and isinstance(decision, Withdraw))
                assert situation.statuses[step.tx.id].state is TxState.UNKNOWN
            case Expired():
                signed = step.tx.signed
                assert (signed.valid_until_height, signed.valid_until_time) != (None, None)
                assert situation.statuses[step.tx.id].state is TxState.UNKNOWN
            case Withdrawn():
                assert isinstance(decision, Withdraw)
                assert not situation.alive
            case Landed():
                assert situation.statuses[step.tx.id].state is TxState.INCLUDED
            case Wait(postpone=True):
                assert isinstance(decision, Hold)
                assert not situation.alive
            case _:
                pass
        if TxState.INCLUDED in states:
            assert isinstance(step, Landed), situation
    assert seen == {Sign, Replace, Resend, Expired, Withdrawn, Landed, NotLanded, Wait, Pending}


# -- the other questions ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "last", "expected"),
    [
        (snapshot(intent(state=IntentState.PLANNED)), ("b100", 50_000), True),
        (snapshot(CLAIM, (SENT, PENDING)), ("", 0), True),
        (snapshot(CLAIM, (SENT, PENDING)), ("b100", 50_000), False),
        (snapshot(CLAIM, (SENT, PENDING)), ("b99", 50_000), True),
        (snapshot(CLAIM, (SENT, PENDING)), ("b100", 40_000), True),
        (snapshot(CLAIM, (SENT, PENDING)), ("b100", 40_001), False),
        (snapshot(intent(state=IntentState.SIGNED), (SENT, PENDING)), ("b100", 50_000), True),
        (snapshot(intent(cancel=True), (SENT, PENDING)), ("b100", 50_000), True),
        (snapshot(intent(cancel=True), (SENT, PENDING), (CANCELLING, PENDING)), ("b100", 50_000), False),
    ],
)
def test_without_news_a_waiting_transaction_is_not_looked_up(
    situation: IntentSnapshot, last: tuple[str, int], expected: bool
) -> None:
    settings = OutboxSettings(look_ms=10_000)
    assert is_worth_a_look(situation, TIP, 50_000, settings, last) is expected


def test_a_claim_in_anothers_batch_is_looked_at_only_for_its_own_transactions() -> None:
    member = intent(state=IntentState.PLANNED, batch_leader=9)
    alone = IntentSnapshot(member, (), in_batch=True)
    assert not is_worth_a_look(alone, TIP, 0, SETTINGS, ("", 0))
    assert is_worth_a_look(IntentSnapshot(member, (SENT,), in_batch=True), TIP, 0, SETTINGS, ("", 0))


def test_what_expired_before_it_landed_is_followed_by_a_higher_bid() -> None:
    dead = tx(state=StoredTxState.DEAD, reason=EXPIRED)
    assert first_bid([]) == FeeLevel()
    assert (
        first_bid([tx(state=StoredTxState.DEAD, reason="another transaction used its sequence")])
        == FeeLevel()
    )
    assert first_bid([dead, tx(dead, fee={"price": 20}), SENT]) == FeeLevel(2, {"price": 20})


def test_of_a_height_and_a_time_the_one_that_passes_first_ends_a_transaction() -> None:
    for height, time in ((HEIGHT - 1, NOW + 1), (HEIGHT + 1, NOW - 1)):
        both = tx(valid_until_height=height, valid_until_time=time)
        step = plan_step(snapshot(CLAIM, (both, UNKNOWN)), TIP, GO, SETTINGS, numbered=True)
        assert step == Expired(both)
    later = tx(valid_until_height=HEIGHT + 1, valid_until_time=NOW + 1)
    assert plan_step(snapshot(CLAIM, (later, UNKNOWN)), TIP, GO, SETTINGS, numbered=True) == Resend(later)
