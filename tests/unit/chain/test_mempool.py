"""The mempool's rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.mempool.limits import MAX_PER_SENDER
from chain.mempool.pool import Mempool, replacement_fee
from chain.mining.template import solve
from chain.rules.errors import Reason
from chain.rules.params import COIN, MIN_FEE
from chain.wallet.transactions import build_transfer
from tests.unit.chain.harness import ALICE, BOB, CAROL, FEE, TREASURY, Sandbox, reason_of, resign


def test_a_transaction_twice_is_known_not_refused(box: Sandbox) -> None:
    transfer = box.transfer(ALICE, BOB)
    assert not box.mempool.add(transfer).known
    assert box.mempool.add(transfer).known
    assert len(box.mempool) == 1


def test_blocks_take_the_highest_fees_first_but_keep_each_senders_order(box: Sandbox) -> None:
    cheap_first = box.transfer(ALICE, BOB, fee=2_000, nonce=0)
    dear_second = box.transfer(ALICE, BOB, fee=90_000, nonce=1)
    middle = box.transfer(BOB, CAROL, fee=5_000)
    for tx in (dear_second, middle, cheap_first):
        box.mempool.add(tx)
    assert box.mempool.best() == [middle, cheap_first, dear_second]
    assert box.mempool.best(limit=1) == [middle]


def test_a_nonce_after_a_gap_waits_for_the_gap_to_close(box: Sandbox) -> None:
    later = box.transfer(ALICE, BOB, nonce=1)
    box.mempool.add(later)
    assert box.mempool.best() == []
    assert box.mempool.next_nonce(ALICE.key_hash, 0) == 0
    box.mempool.add(box.transfer(ALICE, BOB, nonce=0))
    assert box.mempool.next_nonce(ALICE.key_hash, 0) == 2
    box.mine_pool()
    assert len(box.mempool) == 0


def test_a_used_nonce_is_refused(box: Sandbox) -> None:
    box.mine(box.transfer(ALICE, BOB))
    other = box.transfer(ALICE, CAROL, nonce=0)
    assert reason_of(lambda: box.mempool.add(other)) is Reason.NONCE_TOO_LOW


def test_a_nonce_too_far_ahead_is_refused(box: Sandbox) -> None:
    far = box.transfer(ALICE, BOB, nonce=MAX_PER_SENDER)
    assert reason_of(lambda: box.mempool.add(far)) is Reason.NONCE_TOO_HIGH


def test_a_fee_below_the_minimum_is_refused(box: Sandbox) -> None:
    low = box.transfer(ALICE, BOB, fee=MIN_FEE - 1)
    assert reason_of(lambda: box.mempool.add(low)) is Reason.FEE_TOO_LOW


def test_a_higher_fee_replaces_the_same_nonce_and_a_slightly_higher_one_does_not(box: Sandbox) -> None:
    old = box.transfer(ALICE, BOB, fee=20_000)
    box.mempool.add(old)
    needed = replacement_fee(20_000)
    assert needed == 22_000
    short = box.transfer(ALICE, CAROL, fee=needed - 1)
    assert reason_of(lambda: box.mempool.add(short)) is Reason.REPLACEMENT_UNDERPRICED
    new = box.transfer(ALICE, CAROL, fee=needed)
    assert box.mempool.add(new).replaced == (old.txid,)
    assert box.mempool.best() == [new]


def test_a_lock_replaced_with_a_higher_fee_keeps_its_id(box: Sandbox) -> None:
    slow = box.make_lock(deadline=1_800_000_000)
    box.mempool.add(slow)
    fast = box.make_lock(deadline=1_800_000_000, fee=9_000)
    box.mempool.add(fast)
    assert fast.lock_id == slow.lock_id
    box.mine_pool()
    assert box.lock(slow.lock_id).lock_txid == fast.txid


def test_the_same_lock_under_another_nonce_is_refused(box: Sandbox) -> None:
    box.mempool.add(box.make_lock(deadline=1_800_000_000))
    again = box.make_lock(deadline=1_800_000_000, nonce=1)
    assert reason_of(lambda: box.mempool.add(again)) is Reason.LOCK_EXISTS


def test_waiting_transactions_of_a_sender_cannot_exceed_its_balance(box: Sandbox) -> None:
    box.mempool.add(box.transfer(ALICE, BOB, 600 * COIN))
    more = box.transfer(ALICE, BOB, 400 * COIN, nonce=1)
    assert reason_of(lambda: box.mempool.add(more)) is Reason.INSUFFICIENT_BALANCE


def test_two_spends_of_one_lock_compete_by_fee(box: Sandbox) -> None:
    lock = box.make_lock()
    box.mine(lock)
    first = box.claim(lock, BOB)
    box.mempool.add(first)
    assert reason_of(lambda: box.mempool.add(box.claim(lock, CAROL))) is Reason.LOCK_SPEND_PENDING
    dearer = box.claim(lock, CAROL, fee=replacement_fee(FEE))
    assert box.mempool.add(dearer).replaced == (first.txid,)
    assert box.mempool.spender_of(lock.lock_id) == dearer.txid


def test_a_claim_of_a_lock_not_yet_in_a_block_is_refused(box: Sandbox) -> None:
    lock = box.make_lock()
    box.mempool.add(lock)
    assert reason_of(lambda: box.mempool.add(box.claim(lock, BOB))) is Reason.UNKNOWN_LOCK


def test_a_refund_before_the_deadline_is_refused(box: Sandbox) -> None:
    lock = box.make_lock()
    box.mine(lock)
    assert reason_of(lambda: box.mempool.add(box.refund(lock, ALICE))) is Reason.DEADLINE_NOT_REACHED


def test_a_bad_signature_is_refused_and_not_remembered_as_good(box: Sandbox) -> None:
    transfer = box.transfer(ALICE, BOB)
    forged = resign(BOB, transfer)
    assert reason_of(lambda: box.mempool.add(forged)) is Reason.WRONG_KEY
    assert not box.mempool.add(transfer).known


def test_a_spend_included_from_elsewhere_removes_the_waiting_one(box: Sandbox) -> None:
    lock = box.make_lock()
    box.mine(lock)
    box.mempool.add(box.claim(lock, BOB))
    box.mine(box.claim(lock, CAROL))
    assert len(box.mempool) == 0


def test_a_waiting_lock_whose_deadline_passes_leaves_the_pool(box: Sandbox) -> None:
    deadline = box.chain.median_time + 3
    box.mempool.add(box.make_lock(deadline=deadline))
    while box.chain.median_time < deadline:
        box.mine()
    assert len(box.mempool) == 0


def test_the_rest_of_a_senders_queue_stays_when_its_first_is_included(box: Sandbox) -> None:
    txs = [box.transfer(ALICE, BOB, nonce=nonce) for nonce in range(3)]
    for tx in txs:
        box.mempool.add(tx)
    box.mine(txs[0])
    assert box.mempool.best() == txs[1:]


def test_orphaned_transactions_come_back(box: Sandbox) -> None:
    fork = box.chain.tip.id
    transfer = box.transfer(ALICE, BOB)
    box.mine(transfer)
    honest = box.forge(parent=fork, extra_nonce=1, amount=50 * COIN)
    box.accept(honest)
    second = box.forge(parent=honest.id, extra_nonce=2, amount=50 * COIN)
    change = box.accept(second)
    assert len(change.disconnected) == 1
    assert transfer.txid in box.mempool
    box.mine_pool()
    assert box.balance(BOB) == 1_001 * COIN


def test_a_full_pool_gives_room_to_those_who_pay_more(box: Sandbox, tmp_path: Path) -> None:
    pool = Mempool(box.chain, capacity=2)
    cheap, middle = box.transfer(ALICE, BOB, fee=2_000), box.transfer(BOB, CAROL, fee=3_000)
    pool.add(cheap)
    pool.add(middle)
    same = box.transfer(CAROL, ALICE, fee=2_000)
    assert reason_of(lambda: pool.add(same)) is Reason.MEMPOOL_FULL
    dear = box.transfer(CAROL, ALICE, fee=2_001)
    pool.add(dear)
    assert cheap.txid not in pool
    assert len(pool) == 2


def test_a_template_leaves_out_what_consensus_refuses(box: Sandbox) -> None:
    """The pool vouches for its transactions; even if it were wrong, mining goes on."""
    from chain.mining.template import assemble

    poor = build_transfer(ALICE, box.params, nonce=0, recipient=BOB.key_hash, amount=5_000 * COIN, fee=FEE)
    good = box.transfer(BOB, CAROL)
    box.now += 1
    with box.chain.store.scratch() as batch:
        block, left_out = assemble(box.chain, batch, CAROL.key_hash, [poor, good], box.now)
    assert left_out == [poor]
    assert box.accept(solve(block)).connected


@pytest.mark.parametrize("count", [0, 3])
def test_the_estimate_is_the_minimum_while_blocks_have_room(box: Sandbox, count: int) -> None:
    for nonce in range(count):
        box.mempool.add(box.transfer(TREASURY, BOB, nonce=box.nonce(TREASURY) + nonce, fee=50_000))
    assert box.mempool.fee_for_next_block() == MIN_FEE
