"""The HTLC rules that all chains of the bridge share, on ZION."""

from __future__ import annotations

from typing import Any

import pytest

from chain.rules.errors import Reason
from chain.rules.hashing import sha256
from chain.rules.locks import LockState
from chain.rules.params import COIN
from chain.rules.records import Transaction
from chain.wallet.keys import Key
from chain.wallet.transactions import consent_to_refund
from tests.unit.chain.harness import ALICE, BOB, CAROL, FEE, Sandbox, reason_of, resign

NEWCOMER = Key.from_secret(sha256(b"somebody without a coin"))


def locked(box: Sandbox, **terms: Any) -> Transaction:
    lock = box.make_lock(**terms)
    box.mine(lock)
    return lock


def test_a_lock_takes_the_amount_from_the_sender_and_stands_open(box: Sandbox) -> None:
    before = box.balance(ALICE)
    lock = locked(box, amount=7 * COIN)
    assert box.balance(ALICE) == before - 7 * COIN - FEE
    assert box.lock(lock.lock_id).state is LockState.OPEN
    assert box.chain.tip.locked == 7 * COIN
    assert box.supply_adds_up()


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 64])
def test_preimages_of_0_to_64_bytes_claim(box: Sandbox, length: int) -> None:
    preimage = bytes(range(length))
    lock = locked(box, preimage=preimage)
    before = box.balance(BOB)
    claim = box.claim(lock, CAROL, preimage)
    box.mine(claim)
    spent = box.lock(lock.lock_id)
    assert box.balance(BOB) == before + COIN
    assert (spent.state, spent.preimage, spent.spent_by) == (LockState.CLAIMED, preimage, CAROL.key_hash)
    assert (spent.spent_txid, spent.spent_height) == (claim.txid, box.chain.tip.height)
    assert box.supply_adds_up()


def test_a_preimage_of_65_bytes_is_refused_even_when_its_hash_fits(box: Sandbox) -> None:
    preimage = bytes(65)
    lock = locked(box, hashlock=sha256(preimage))
    claim = box.claim(lock, BOB, bytes(64))
    too_long = resign(BOB, claim, witness=claim.witness.__class__(aux=preimage))
    assert box.refused(box.forge(too_long)) is Reason.PREIMAGE_TOO_LONG


def test_a_wrong_preimage_is_refused(box: Sandbox) -> None:
    lock = locked(box)
    assert box.refused(box.forge(box.claim(lock, BOB, b"wrong"))) is Reason.WRONG_PREIMAGE


def test_a_preimage_padded_with_a_zero_is_another_preimage(box: Sandbox) -> None:
    lock = locked(box)
    assert box.refused(box.forge(box.claim(lock, BOB, b"secret\0"))) is Reason.WRONG_PREIMAGE


def test_anyone_may_claim_and_pays_the_fee_but_only_the_recipient_is_paid(box: Sandbox) -> None:
    lock = locked(box)
    bob, carol = box.balance(BOB), box.balance(CAROL)
    box.mine(box.claim(lock, CAROL))
    assert (box.balance(BOB), box.balance(CAROL)) == (bob + COIN, carol - FEE)


def test_a_claim_cannot_pay_anyone_but_the_recipient(box: Sandbox) -> None:
    lock = locked(box)
    stolen = box.claim(lock, CAROL, recipient=CAROL.key_hash)
    assert box.refused(box.forge(stolen)) is Reason.LOCK_TERMS_MISMATCH


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_claim_cannot_pay_another_amount(box: Sandbox, difference: int) -> None:
    lock = locked(box)
    claim = box.claim(lock, BOB, amount=COIN + difference)
    assert box.refused(box.forge(claim)) is Reason.LOCK_TERMS_MISMATCH


def test_a_recipient_without_a_coin_claims_with_the_fee_out_of_the_amount(box: Sandbox) -> None:
    lock = locked(box, recipient=NEWCOMER)
    box.mine(box.claim(lock, NEWCOMER))
    assert box.balance(NEWCOMER) == COIN - FEE
    assert box.supply_adds_up()


def test_a_stranger_without_a_coin_cannot_pay_for_a_claim(box: Sandbox) -> None:
    lock = locked(box)
    assert box.refused(box.forge(box.claim(lock, NEWCOMER))) is Reason.INSUFFICIENT_BALANCE


def test_the_fee_out_of_the_amount_cannot_exceed_the_amount(box: Sandbox) -> None:
    lock = locked(box, recipient=NEWCOMER)
    claim = box.claim(lock, NEWCOMER, fee=COIN + 1)
    assert box.refused(box.forge(claim)) is Reason.INSUFFICIENT_BALANCE


def test_a_claim_after_the_deadline_still_wins_while_nobody_refunded(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline + 50)
    box.mine(box.claim(lock, BOB))
    assert box.lock(lock.lock_id).state is LockState.CLAIMED


def test_a_lock_is_claimed_once(box: Sandbox) -> None:
    lock = locked(box)
    box.mine(box.claim(lock, BOB))
    assert box.refused(box.forge(box.claim(lock, BOB))) is Reason.LOCK_SPENT


def test_two_claims_in_one_block_are_refused(box: Sandbox) -> None:
    lock = locked(box)
    block = box.forge(box.claim(lock, BOB), box.claim(lock, CAROL))
    assert box.refused(block) is Reason.LOCK_SPENT


def test_a_lock_can_be_claimed_in_its_own_block(box: Sandbox) -> None:
    lock = box.make_lock()
    box.mine(lock, box.claim(lock, BOB))
    assert box.lock(lock.lock_id).state is LockState.CLAIMED
    assert box.supply_adds_up()


def test_a_claim_before_its_lock_in_the_block_is_refused(box: Sandbox) -> None:
    lock = box.make_lock()
    assert box.refused(box.forge(box.claim(lock, BOB), lock)) is Reason.UNKNOWN_LOCK


def test_a_refund_one_second_before_the_deadline_is_refused_and_at_the_deadline_taken(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline - 1)
    refund = box.refund(lock, ALICE)
    assert box.refused(box.forge(refund)) is Reason.DEADLINE_NOT_REACHED
    box.pass_median_time(lock.deadline)
    box.mine(refund)
    assert box.lock(lock.lock_id).state is LockState.REFUNDED


def test_anyone_may_refund_and_only_the_sender_is_paid(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline)
    alice, carol = box.balance(ALICE), box.balance(CAROL)
    box.mine(box.refund(lock, CAROL))
    spent = box.lock(lock.lock_id)
    assert (box.balance(ALICE), box.balance(CAROL)) == (alice + COIN, carol - FEE)
    assert (spent.spent_by, spent.preimage, spent.cooperative) == (CAROL.key_hash, None, False)


def test_a_refund_cannot_pay_anyone_but_the_sender(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline)
    stolen = box.refund(lock, CAROL, sender=CAROL.key_hash)
    assert box.refused(box.forge(stolen)) is Reason.LOCK_TERMS_MISMATCH


def test_a_refunded_lock_cannot_be_claimed(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline)
    box.mine(box.refund(lock, ALICE))
    assert box.refused(box.forge(box.claim(lock, BOB))) is Reason.LOCK_SPENT


def test_the_recipient_refunds_before_the_deadline_by_itself(box: Sandbox) -> None:
    lock = locked(box)
    alice = box.balance(ALICE)
    box.mine(box.cooperative_refund(lock, BOB))
    assert box.balance(ALICE) == alice + COIN
    assert box.lock(lock.lock_id).cooperative


def test_anyone_refunds_before_the_deadline_with_the_recipients_consent(box: Sandbox) -> None:
    lock = locked(box)
    consent = consent_to_refund(BOB, lock.lock_id)
    alice = box.balance(ALICE)
    box.mine(box.cooperative_refund(lock, CAROL, consent))
    assert box.balance(ALICE) == alice + COIN
    assert box.supply_adds_up()


def test_a_cooperative_refund_without_consent_is_refused(box: Sandbox) -> None:
    lock = locked(box)
    assert box.refused(box.forge(box.cooperative_refund(lock, ALICE))) is Reason.BAD_CONSENT


def test_a_consent_for_one_lock_does_not_refund_another(box: Sandbox) -> None:
    first = locked(box)
    second = locked(box, amount=2 * COIN)
    consent = consent_to_refund(BOB, first.lock_id)
    assert box.refused(box.forge(box.cooperative_refund(second, ALICE, consent))) is Reason.BAD_CONSENT


def test_the_senders_own_consent_is_none(box: Sandbox) -> None:
    lock = locked(box)
    consent = consent_to_refund(ALICE, lock.lock_id)
    assert box.refused(box.forge(box.cooperative_refund(lock, ALICE, consent))) is Reason.BAD_CONSENT


def test_an_identical_lock_is_refused_while_open_and_for_ever_after(box: Sandbox) -> None:
    deadline = box.chain.median_time + 1_000
    lock = locked(box, deadline=deadline)
    again = box.make_lock(deadline=deadline)
    assert again.lock_id == lock.lock_id
    assert box.refused(box.forge(again)) is Reason.LOCK_EXISTS
    box.mine(box.claim(lock, BOB))
    assert box.refused(box.forge(again)) is Reason.LOCK_EXISTS


@pytest.mark.parametrize(
    "other",
    [{"amount": 2 * COIN}, {"recipient": CAROL}, {"preimage": b"other"}, {"deadline": 2_000_000_000}],
)
def test_any_other_term_makes_another_lock(box: Sandbox, other: dict[str, Any]) -> None:
    lock = box.make_lock()
    assert box.make_lock(**other).lock_id != lock.lock_id


def test_a_stranger_may_reuse_a_hashlock_without_harm(box: Sandbox) -> None:
    lock = locked(box)
    copy = locked(box, sender=CAROL, amount=1)
    box.mine(box.claim(copy, BOB))
    assert box.lock(lock.lock_id).state is LockState.OPEN
    assert len(box.queries.locks_of(sha256(b"secret"), 10)) == 2


def test_a_lock_whose_deadline_has_passed_can_never_land(box: Sandbox) -> None:
    late = box.make_lock(deadline=box.chain.median_time)
    assert box.refused(box.forge(late)) is Reason.LOCK_DEADLINE_PASSED
    assert reason_of(lambda: box.mempool.add(late)) is Reason.LOCK_DEADLINE_PASSED


def test_the_fee_and_nonce_of_a_lock_do_not_change_its_id(box: Sandbox) -> None:
    terms: dict[str, Any] = {"deadline": 1_800_000_000}
    assert box.make_lock(fee=5_000, nonce=9, **terms).lock_id == box.make_lock(**terms).lock_id


def test_spending_a_lock_that_never_was_is_refused(box: Sandbox) -> None:
    never = box.make_lock()
    assert box.refused(box.forge(box.claim(never, BOB))) is Reason.UNKNOWN_LOCK
