"""The mempool against those who pay with fees that nobody can collect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import chain.mempool.pool as pool_module
from chain.mempool.entries import Verdict
from chain.mempool.limits import MAX_PER_SENDER
from chain.mempool.pool import QUEUE_SECONDS, READY_SECONDS, Mempool
from chain.mempool.ready import SenderRun
from chain.rules.errors import Reason
from chain.rules.hashing import sha256
from chain.rules.params import COIN, MIN_FEE
from chain.rules.records import Transaction, Witness
from chain.rules.types import KeyHash
from chain.wallet.keys import Key
from chain.wallet.transactions import consent_to_refund
from tests.unit.chain.harness import ALICE, BOB, CAROL, FEE, Sandbox, reason_of


class Seconds:
    """A pool's clock under a test's control."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(box: Sandbox) -> Seconds:
    clock = Seconds()
    box.mempool = Mempool(box.chain, clock=clock)
    return clock


def funded(box: Sandbox, count: int, amount: int = 1_000 * COIN) -> list[Key]:
    keys = [Key.from_secret(sha256(b"stranger %d" % i)) for i in range(count)]
    box.fund(*keys, amount=amount)
    return keys


def locked(box: Sandbox, *, seconds: int = 30) -> Transaction:
    """Alice locks 500 ZION for Bob."""
    lock = box.make_lock(ALICE, BOB, amount=500 * COIN, deadline=box.chain.median_time + seconds)
    box.mine(lock)
    return lock


# a claim cannot be pinned --------------------------------------------------------------------------------


def test_a_gapped_copy_of_a_claim_displaces_nothing_and_the_claim_is_mined(box: Sandbox) -> None:
    lock = locked(box)
    victim = box.claim(lock, BOB)
    box.mempool.add(victim)
    gapped = box.claim(lock, CAROL, fee=900 * COIN, nonce=box.nonce(CAROL) + 1)
    outcome = box.mempool.admit(gapped)
    assert (outcome.verdict, outcome.replaced) == (Verdict.QUEUED, ())
    assert box.mempool.spender_of(lock.lock_id) == victim.txid
    assert box.mempool.best() == [victim]
    box.mine_pool()
    assert box.lock(lock.lock_id).state == "CLAIMED"
    assert box.mempool.admit(box.transfer(CAROL, BOB)).verdict is Verdict.ACCEPTED
    assert gapped.txid not in box.mempool, "its lock is spent: the gap closed, and it is forgotten"


def test_a_claim_that_was_outbid_comes_back_when_the_bidder_takes_its_bid_away(box: Sandbox) -> None:
    lock = locked(box)
    victim = box.claim(lock, BOB)
    box.mempool.add(victim)
    bid = box.claim(lock, CAROL, fee=2 * COIN)
    assert box.mempool.add(bid).replaced == (victim.txid,)
    away = box.transfer(CAROL, ALICE, 1, fee=3 * COIN)
    assert box.mempool.add(away).replaced == (bid.txid,)
    assert box.mempool.spender_of(lock.lock_id) == victim.txid
    box.mine_pool()
    assert box.lock(lock.lock_id).state == "CLAIMED"
    assert box.balance(CAROL) == 1_000 * COIN - 3 * COIN - 1, "taking the bid away was paid for"


def test_what_waits_behind_an_outbid_claim_waits_apart_and_comes_back_with_it(box: Sandbox) -> None:
    lock = locked(box)
    claim = box.claim(lock, BOB)
    behind = box.transfer(BOB, CAROL, nonce=claim.nonce + 1)
    box.mempool.add(claim)
    box.mempool.add(behind)
    box.mempool.add(box.claim(lock, CAROL, fee=COIN))
    assert not box.mempool.is_ready(behind.txid)
    assert behind.txid in box.mempool
    box.mempool.add(box.transfer(CAROL, ALICE, 1, fee=2 * COIN))
    assert box.mempool.is_ready(claim.txid)
    assert box.mempool.is_ready(behind.txid)


def test_a_claim_goes_before_a_refund_whatever_the_refund_pays(box: Sandbox) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline)
    refund = box.refund(lock, ALICE, fee=100 * COIN)
    box.mempool.add(refund)
    claim = box.claim(lock, BOB)
    assert box.mempool.add(claim).replaced == (refund.txid,)
    dearer = box.refund(lock, ALICE, fee=400 * COIN)
    assert reason_of(lambda: box.mempool.add(dearer)) is Reason.LOCK_SPEND_PENDING
    consented = box.cooperative_refund(lock, ALICE, consent_to_refund(BOB, lock.lock_id), fee=400 * COIN)
    assert reason_of(lambda: box.mempool.add(consented)) is Reason.LOCK_SPEND_PENDING
    box.mine_pool()
    assert box.lock(lock.lock_id).state == "CLAIMED"


def test_a_refund_that_stood_by_comes_back_when_the_claim_expires(box: Sandbox, seconds: Seconds) -> None:
    lock = locked(box)
    box.pass_median_time(lock.deadline)
    claim = box.claim(lock, BOB)
    box.mempool.add(claim)
    seconds.now = READY_SECONDS / 2
    refund = box.refund(lock, ALICE)
    assert reason_of(lambda: box.mempool.add(refund)) is Reason.LOCK_SPEND_PENDING
    seconds.now = READY_SECONDS
    assert box.mempool.best() == []
    assert box.mempool.admit(refund).verdict is Verdict.ACCEPTED


def test_a_claim_behind_cheap_transactions_does_not_outbid_by_a_fee_that_waits_for_them(
    box: Sandbox,
) -> None:
    """A miner gets it only with those before it: what counts is the least fee among them."""
    lock = locked(box)
    victim = box.claim(lock, BOB, fee=5_000)
    box.mempool.add(victim)
    box.mempool.add(box.transfer(CAROL, ALICE, fee=MIN_FEE))
    behind = box.claim(lock, CAROL, fee=900 * COIN, nonce=box.nonce(CAROL) + 1)
    assert reason_of(lambda: box.mempool.add(behind)) is Reason.LOCK_SPEND_PENDING
    assert box.mempool.spender_of(lock.lock_id) == victim.txid


def test_a_broken_witness_of_a_strangers_making_censors_nothing(box: Sandbox) -> None:
    lock = locked(box)
    claim = box.claim(lock, BOB)
    broken = claim.with_witness(replace(claim.witness, signature=bytes(64)))
    other_preimage = claim.with_witness(replace(claim.witness, aux=b"guess"))
    assert broken.txid == claim.txid
    assert len({broken.wtxid, claim.wtxid, other_preimage.wtxid}) == 3
    refused = box.mempool.admit(broken)
    assert (refused.reason, refused.provably_wrong) == (Reason.BAD_SIGNATURE, True)
    assert box.mempool.admit(other_preimage).reason is Reason.WRONG_PREIMAGE
    assert box.mempool.admit(claim).verdict is Verdict.ACCEPTED
    assert box.mempool.admit(broken).reason is Reason.BAD_SIGNATURE, "while the good one waits, too"
    assert box.mempool.admit(other_preimage).reason is Reason.WRONG_PREIMAGE
    assert box.mempool.by_wtxid(claim.wtxid) == claim
    assert box.mempool.by_wtxid(broken.wtxid) is None
    assert box.chain.signatures.holds(claim.txid, claim.witness_bytes)


def test_an_unsigned_transaction_is_provably_wrong_and_a_poor_one_is_not(box: Sandbox) -> None:
    unsigned = box.transfer(ALICE, BOB).with_witness(Witness())
    assert box.mempool.admit(unsigned).provably_wrong
    poor = box.mempool.admit(box.transfer(ALICE, BOB, 5_000 * COIN))
    assert (poor.reason, poor.provably_wrong) == (Reason.INSUFFICIENT_BALANCE, False)


# nothing is filled or set without paying --------------------------------------------------------------------


def test_gapped_transactions_fill_nothing_evict_nobody_and_set_no_fee(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_BLOCK_TRANSACTIONS", 40)
    box.mempool = Mempool(box.chain, capacity=100, queue_capacity=80)
    strangers = funded(box, 4)
    honest = box.transfer(BOB, ALICE, fee=5_000)
    box.mempool.add(honest)
    for stranger in strangers:
        for nonce in range(1, MAX_PER_SENDER):
            box.mempool.admit(box.transfer(stranger, ALICE, 1, fee=15 * COIN, nonce=nonce))
    assert box.mempool.gapped_count == 80
    assert box.mempool.best() == [honest]
    assert box.mempool.fee_for_next_block() == MIN_FEE
    assert box.mempool.admit(box.transfer(CAROL, ALICE, fee=MIN_FEE)).verdict is Verdict.ACCEPTED


def test_a_full_queue_keeps_room_for_a_sender_with_little_in_it(box: Sandbox) -> None:
    box.mempool = Mempool(box.chain, queue_capacity=20)
    for nonce in range(1, 40):
        box.mempool.admit(box.transfer(ALICE, BOB, 1, nonce=nonce))
    assert box.mempool.gapped_count == 20
    assert box.mempool.admit(box.transfer(BOB, ALICE, 1, nonce=1)).verdict is Verdict.QUEUED
    assert box.mempool.gapped_count == 20
    assert box.mempool.admit(box.transfer(ALICE, BOB, 1, nonce=41)).reason is Reason.MEMPOOL_FULL


def test_fees_behind_a_cheap_nonce_neither_evict_nor_set_the_estimate(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "MAX_BLOCK_TRANSACTIONS", 31)
    box.mempool = Mempool(box.chain, capacity=30)
    strangers = funded(box, 15)
    for stranger in strangers:
        box.mempool.add(box.transfer(stranger, ALICE, 1, fee=2_000))
        box.mempool.add(box.transfer(stranger, ALICE, 1, fee=50 * COIN, nonce=1))
    assert box.mempool.fee_for_next_block() == 2_001
    more = box.transfer(strangers[0], ALICE, 1, fee=900 * COIN, nonce=2)
    assert reason_of(lambda: box.mempool.add(more)) is Reason.MEMPOOL_FULL
    assert not box.mempool.add(box.transfer(BOB, ALICE, fee=2_001)).replaced
    assert len(box.mempool) == 30


def test_gapped_transactions_expire_after_three_hours_and_ready_ones_after_three_days(
    box: Sandbox, seconds: Seconds
) -> None:
    ready, gapped = box.transfer(ALICE, BOB), box.transfer(BOB, ALICE, nonce=1)
    box.mempool.add(ready)
    box.mempool.add(gapped)
    seconds.now = QUEUE_SECONDS - 1
    box.mempool.best()
    assert gapped.txid in box.mempool
    seconds.now = QUEUE_SECONDS
    box.mempool.best()
    assert (gapped.txid in box.mempool, ready.txid in box.mempool) == (False, True)
    seconds.now = READY_SECONDS
    assert box.mempool.best() == []
    assert len(box.mempool) == 0


def test_what_waits_behind_an_expired_transaction_is_gapped(box: Sandbox, seconds: Seconds) -> None:
    box.mempool.add(box.transfer(ALICE, BOB))
    seconds.now = 10.0
    behind = box.transfer(ALICE, BOB, nonce=1)
    box.mempool.add(behind)
    seconds.now = READY_SECONDS
    assert box.mempool.best() == []
    assert box.mempool.gapped_count == 1
    assert not box.mempool.is_ready(behind.txid)


def test_a_gapped_transaction_is_checked_again_when_its_gap_closes(box: Sandbox) -> None:
    later = box.transfer(ALICE, BOB, 900 * COIN, nonce=1)
    box.mempool.add(later)
    box.mempool.add(box.transfer(ALICE, CAROL, 600 * COIN, nonce=0))
    assert later.txid not in box.mempool, "the balance does not cover both"
    assert len(box.mempool.best()) == 1


def test_a_payment_in_a_block_counts_for_the_senders_who_wait(box: Sandbox) -> None:
    box.mempool.add(box.transfer(ALICE, BOB, 900 * COIN))
    box.mine(box.transfer(CAROL, ALICE, 500 * COIN))
    assert box.mempool.admit(box.transfer(ALICE, BOB, 500 * COIN, nonce=1)).verdict is Verdict.ACCEPTED
    box.mine_pool()
    assert box.balance(BOB) == 2_400 * COIN


def test_what_a_block_makes_unaffordable_leaves_the_pool(box: Sandbox) -> None:
    """Alice's second payment waits; a block holds another first one of hers, which leaves too little."""
    box.mempool.add(box.transfer(ALICE, BOB, 100 * COIN))
    second = box.transfer(ALICE, BOB, 800 * COIN, nonce=1)
    box.mempool.add(second)
    box.mine(box.transfer(ALICE, CAROL, 500 * COIN))
    assert second.txid not in box.mempool
    assert box.mempool.best() == []


def test_a_replacement_that_the_rest_of_the_run_cannot_follow_is_refused(box: Sandbox) -> None:
    box.mempool.add(box.transfer(ALICE, BOB, 100 * COIN))
    box.mempool.add(box.transfer(ALICE, BOB, 800 * COIN, nonce=1))
    dear = box.transfer(ALICE, CAROL, 300 * COIN, fee=2 * FEE + FEE, nonce=0)
    assert reason_of(lambda: box.mempool.add(dear)) is Reason.INSUFFICIENT_BALANCE
    assert len(box.mempool.best()) == 2


def test_admission_does_not_slow_down_with_the_number_of_senders(tmp_path: Path) -> None:
    """Counted, not timed: a full pool looks at the weakest end alone, and not at every sender."""
    box = Sandbox(tmp_path / "chain")
    box.mine()
    strangers = funded(box, 300, amount=COIN)
    box.mempool = Mempool(box.chain, capacity=200)
    for i, stranger in enumerate(strangers[:200]):
        box.mempool.add(box.transfer(stranger, ALICE, 1, fee=2_000 + i, nonce=0))
    ready = box.mempool._ready
    looks = 0

    class Counting(dict[KeyHash, SenderRun]):
        def get(self, key: KeyHash, default: object = None) -> object:  # type: ignore[override]
            nonlocal looks
            looks += 1
            return super().get(key, default)

        def values(self) -> object:  # type: ignore[override]
            raise AssertionError("walked over all senders")

        items = values  # type: ignore[assignment]

    ready.runs = Counting(ready.runs)
    for stranger in strangers[200:]:
        box.mempool.add(box.transfer(stranger, ALICE, 1, fee=9_000, nonce=0))
    assert looks < 100 * 10
    assert len(box.mempool) == 200
    box.close()
