"""Every rule of consensus: a block that breaks it, and it alone, is refused with the rule's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from chain.mining.template import solve, with_nonce
from chain.rules.block import MAX_BLOCK_BYTES, Block, pack_transactions
from chain.rules.errors import Reason, RuleBrokenError
from chain.rules.header import compact_to_target
from chain.rules.params import COIN, FUTURE_LIMIT, MAIN, MAX_AMOUNT, MAX_BLOCK_TRANSACTIONS
from chain.rules.records import RAW_BYTES, ZERO20, Kind, Transaction, Witness, decode_transaction
from chain.rules.signatures import verify_signature
from chain.state import evaluation
from chain.wallet.transactions import build_anchor, sign
from kernels import cosmic_harmony
from tests.unit.chain.harness import ALICE, BOB, CAROL, FEE, MINER, Sandbox, reason_of, resign

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_an_honest_block_is_accepted(box: Sandbox) -> None:
    change = box.accept(box.forge(box.transfer(ALICE, BOB)))
    assert [len(block) for block in change.connected] == [2]
    assert box.supply_adds_up()


# headers ----------------------------------------------------------------------------------------------


def test_an_unknown_parent(box: Sandbox) -> None:
    assert box.refused(box.forge(previous=bytes(32))) is Reason.UNKNOWN_PARENT


def test_a_child_of_an_invalid_block(box: Sandbox) -> None:
    bad = box.forge(amount=1)
    assert box.refused(bad) is Reason.BAD_COINBASE_AMOUNT
    child = box.forge(previous=bad.id, height=bad.header.height + 1)
    assert box.refused(child) is Reason.INVALID_ANCESTOR


def test_an_invalid_block_is_remembered(box: Sandbox) -> None:
    bad = box.forge(amount=1)
    box.refused(bad)
    assert box.refused(bad) is Reason.KNOWN_INVALID


def test_an_unknown_version(box: Sandbox) -> None:
    assert box.refused(box.forge(version=2)) is Reason.BAD_BLOCK_VERSION


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_height_that_does_not_follow(box: Sandbox, difference: int) -> None:
    height = box.chain.tip.height + 1 + difference
    assert box.refused(box.forge(height=height)) is Reason.BAD_HEIGHT


def test_an_easier_target(box: Sandbox) -> None:
    assert box.refused(box.forge(target=0x207FFFFF)) is Reason.BAD_TARGET


def test_too_little_work(box: Sandbox) -> None:
    block = box.forge(mined=False)
    target = compact_to_target(block.header.target)
    failing = next(n for n in range(1000) if not cosmic_harmony.verify(block.header.raw, n, target))
    assert box.refused(with_nonce(block, failing)) is Reason.BAD_WORK


def test_a_time_not_after_the_median_time_past(box: Sandbox) -> None:
    median = box.chain.median_time
    assert box.refused(box.forge(time=median)) is Reason.TIME_TOO_OLD
    box.accept(box.forge(time=median + 1))


def test_a_time_beyond_the_future_limit_is_refused_now_and_accepted_later(box: Sandbox) -> None:
    block = box.forge(time=box.now + FUTURE_LIMIT + 1)
    assert box.refused(block) is Reason.TIME_TOO_NEW
    box.now += 1
    assert box.accept(block).connected


# the body as a whole ----------------------------------------------------------------------------------


def test_no_transaction_at_all(box: Sandbox) -> None:
    block = box.forge(mined=False)
    empty = Block(
        replace(block.header, merkle_root=cosmic_harmony.merkle_root(np.empty((0, 32), np.uint8))),
        block.bodies[:0],
        block.witnesses[:0],
    )
    assert box.refused(solve(empty)) is Reason.EMPTY_BLOCK


def test_too_many_transactions(box: Sandbox) -> None:
    count = MAX_BLOCK_TRANSACTIONS + 1

    def repeat(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows, count, axis=0)

    block = box.forge(bodies=repeat, witnesses=repeat)
    assert box.refused(block) is Reason.TOO_MANY_TRANSACTIONS


def test_another_merkle_root(box: Sandbox) -> None:
    assert box.refused(box.forge(root=bytes(32))) is Reason.BAD_MERKLE_ROOT


def test_a_repeated_last_transaction_changes_the_merkle_root(box: Sandbox) -> None:
    """Duplicated leaves cannot make a second block with the same id."""
    block = box.forge(box.transfer(ALICE, BOB), box.transfer(BOB, ALICE))
    bodies, witnesses = (np.vstack([rows, rows[-1:]]) for rows in (block.bodies, block.witnesses))
    twice = Block(block.header, bodies, witnesses)
    assert twice.id == block.id
    assert box.refused(twice) is Reason.BAD_MERKLE_ROOT
    assert box.accept(block).connected, "and the honest block is not held invalid for it"


def test_another_witness_commitment(box: Sandbox) -> None:
    assert box.refused(box.forge(commitment=bytes(31) + b"\x01")) is Reason.BAD_WITNESS_COMMITMENT


def test_a_block_without_a_coinbase(box: Sandbox) -> None:
    transfer = box.transfer(ALICE, BOB)
    bodies, witnesses = pack_transactions([transfer])
    block = box.forge(bodies=lambda _: bodies, witnesses=lambda _: witnesses)
    assert box.refused(block) is Reason.COINBASE_MISPLACED


def test_a_second_coinbase(box: Sandbox) -> None:
    second = Transaction(Kind.COINBASE, 3, box.chain.tip.height + 1, 1, 0, ZERO20, MINER.key_hash)
    assert box.refused(box.forge(second)) is Reason.COINBASE_MISPLACED


def test_a_coinbase_of_another_height(box: Sandbox) -> None:
    block = box.forge(coinbase=lambda tx: replace(tx, nonce=tx.nonce + 1))
    assert box.refused(block) is Reason.BAD_COINBASE_HEIGHT


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_coinbase_that_pays_more_or_less(box: Sandbox, difference: int) -> None:
    transfer = box.transfer(ALICE, BOB)
    honest = int(box.forge(transfer).bodies[0, 2])
    assert box.refused(box.forge(transfer, amount=honest + difference)) is Reason.BAD_COINBASE_AMOUNT


def test_a_coinbase_with_a_sender_fee_or_signature(box: Sandbox) -> None:
    for changed in (partial(replace, sender=ALICE.key_hash), partial(replace, fee=1)):
        block = box.forge(coinbase=changed)
        assert box.refused(block) is Reason.FIELD_NOT_ZERO
    signed = box.forge(coinbase=lambda tx: tx.with_witness(Witness(b"\x01" * 64)))
    assert box.refused(signed) is Reason.BAD_WITNESS


def test_fees_that_overflow_together(box: Sandbox) -> None:
    rich = [box.transfer(ALICE, BOB, fee=MAX_AMOUNT, nonce=box.nonce(ALICE) + i) for i in range(16)]
    assert box.refused(box.forge(*rich, amount=0)) is Reason.FEE_SUM_OVERFLOW


# one transaction --------------------------------------------------------------------------------------


def _anchor(box: Sandbox) -> Transaction:
    return build_anchor(ALICE, box.params, nonce=box.nonce(ALICE), root=b"\x07" * 32, tree_size=9, fee=FEE)


FIELDS: list[tuple[str, Callable[[Sandbox], Transaction], Reason]] = [
    ("kind 0", lambda box: resign(ALICE, box.transfer(ALICE, BOB), kind=0), Reason.BAD_KIND),
    ("kind 8", lambda box: resign(ALICE, box.transfer(ALICE, BOB), kind=8), Reason.BAD_KIND),
    ("another chain", lambda box: resign(ALICE, box.transfer(ALICE, BOB), chain_id=1), Reason.WRONG_CHAIN),
    ("amount 0", lambda box: box.transfer(ALICE, BOB, 0), Reason.AMOUNT_OUT_OF_RANGE),
    ("lock of 0", lambda box: box.make_lock(amount=0), Reason.AMOUNT_OUT_OF_RANGE),
    ("amount", lambda box: box.transfer(ALICE, BOB, MAX_AMOUNT + 1), Reason.AMOUNT_OUT_OF_RANGE),
    ("fee", lambda box: box.transfer(ALICE, BOB, fee=MAX_AMOUNT + 1), Reason.FEE_OUT_OF_RANGE),
    ("nobody", lambda box: resign(ALICE, box.transfer(ALICE, BOB), recipient=ZERO20), Reason.ZERO_RECIPIENT),
    ("lock for nobody", lambda box: resign(ALICE, box.make_lock(), recipient=ZERO20), Reason.ZERO_RECIPIENT),
    (
        "transfer's hash",
        lambda box: resign(ALICE, box.transfer(ALICE, BOB), hash=b"\x01" * 32),
        Reason.FIELD_NOT_ZERO,
    ),
    (
        "transfer's deadline",
        lambda box: resign(ALICE, box.transfer(ALICE, BOB), deadline=1),
        Reason.FIELD_NOT_ZERO,
    ),
    (
        "anchor's recipient",
        lambda box: resign(ALICE, _anchor(box), recipient=BOB.key_hash),
        Reason.FIELD_NOT_ZERO,
    ),
    ("anchor's deadline", lambda box: resign(ALICE, _anchor(box), deadline=1), Reason.FIELD_NOT_ZERO),
    ("aux in a transfer", lambda box: sign(ALICE, box.transfer(ALICE, BOB), b"x"), Reason.BAD_WITNESS),
    ("aux in a lock", lambda box: sign(ALICE, box.make_lock(), b"x"), Reason.BAD_WITNESS),
    (
        "half a consent",
        lambda box: sign(
            ALICE, replace(box.refund(box.make_lock(), ALICE), kind=Kind.HTLC_COOPERATIVE_REFUND), b"x"
        ),
        Reason.BAD_WITNESS,
    ),
    (
        "another's key",
        lambda box: resign(BOB, box.transfer(ALICE, CAROL)),
        Reason.WRONG_KEY,
    ),
    (
        "a signature of something else",
        lambda box: replace(box.transfer(ALICE, BOB, COIN + 1), witness=box.transfer(ALICE, BOB).witness),
        Reason.BAD_SIGNATURE,
    ),
    (
        "no signature",
        lambda box: box.transfer(ALICE, BOB).with_witness(Witness(public_key=ALICE.public_key)),
        Reason.BAD_SIGNATURE,
    ),
    ("nonce too low", lambda box: box.transfer(BOB, CAROL, nonce=1), Reason.BAD_NONCE),
    ("nonce too high", lambda box: box.transfer(ALICE, CAROL, nonce=2), Reason.BAD_NONCE),
    (
        "more than there is",
        lambda box: box.transfer(ALICE, BOB, 1_000 * COIN - FEE + 1),
        Reason.INSUFFICIENT_BALANCE,
    ),
    ("a lock of more", lambda box: box.make_lock(amount=1_000 * COIN - FEE + 1), Reason.INSUFFICIENT_BALANCE),
]


@pytest.mark.parametrize(("make", "reason"), [row[1:] for row in FIELDS], ids=[row[0] for row in FIELDS])
def test_a_transaction_that_breaks_a_rule(
    box: Sandbox, make: Callable[[Sandbox], Transaction], reason: Reason
) -> None:
    assert box.refused(box.forge(make(box))) is reason


def test_the_whole_balance_can_be_spent(box: Sandbox) -> None:
    box.mine(box.transfer(ALICE, BOB, 1_000 * COIN - FEE))
    assert box.balance(ALICE) == 0


def test_a_signature_with_high_s_is_refused(box: Sandbox) -> None:
    honest = box.transfer(ALICE, BOB)
    r, s = honest.witness.signature[:32], int.from_bytes(honest.witness.signature[32:], "big")
    high = replace(honest.witness, signature=r + (CURVE_ORDER - s).to_bytes(32, "big"))
    assert box.refused(box.forge(honest.with_witness(high))) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("word", [14, 15])
def test_reserved_words_are_zero(box: Sandbox, word: int) -> None:
    def set_word(bodies: np.ndarray) -> None:
        bodies[1, word] = 1

    block = box.forge(box.transfer(ALICE, BOB), bodies=set_word)
    assert box.refused(block) is Reason.RESERVED_NOT_ZERO


@pytest.mark.parametrize(("shift", "reason"), [(8, Reason.BAD_VERSION), (16, Reason.RESERVED_NOT_ZERO)])
def test_version_and_flags_are_fixed(box: Sandbox, shift: int, reason: Reason) -> None:
    def flip(bodies: np.ndarray) -> None:
        bodies[1, 0] ^= np.uint64(2 << shift)

    assert box.refused(box.forge(box.transfer(ALICE, BOB), bodies=flip)) is reason


@pytest.mark.parametrize("position", [98, 150, 194, 195, 199])
def test_unused_witness_bytes_are_zero(box: Sandbox, position: int) -> None:
    """Nobody but the signer can change a witness: the same body has one witness per signature."""

    def set_byte(witnesses: np.ndarray) -> None:
        witnesses.view(np.uint8)[1, position] = 1

    block = box.forge(box.transfer(ALICE, BOB), witnesses=set_byte)
    assert box.refused(block) is Reason.BAD_WITNESS


def test_nonces_in_one_block_follow_each_other(box: Sandbox) -> None:
    second, first = box.transfer(ALICE, BOB, nonce=1), box.transfer(ALICE, BOB, nonce=0)
    assert box.refused(box.forge(second, first)) is Reason.BAD_NONCE
    assert box.refused(box.forge(first, first)) is Reason.BAD_NONCE
    box.accept(box.forge(first, second))


def test_a_transaction_is_not_taken_twice(box: Sandbox) -> None:
    transfer = box.transfer(ALICE, BOB)
    box.mine(transfer)
    assert box.refused(box.forge(transfer)) is Reason.BAD_NONCE


def test_the_coinbase_cannot_be_spent_in_its_own_block(box: Sandbox) -> None:
    box.mine()
    mine = box.transfer(MINER, BOB, box.balance(MINER) - FEE + 1)
    assert box.refused(box.forge(mine)) is Reason.INSUFFICIENT_BALANCE


def test_a_refusal_names_the_transaction_at_fault(box: Sandbox) -> None:
    good, bad = box.transfer(ALICE, BOB), box.transfer(BOB, CAROL, nonce=5)
    with pytest.raises(RuleBrokenError) as refusal:
        box.chain.accept_block(box.forge(good, bad))
    assert refusal.value.index == 2


def test_signatures_the_mempool_checked_are_not_checked_again_but_others_are(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bytes] = []
    real = verify_signature

    def count(public_key: bytes, signature: bytes, digest: bytes) -> bool:
        checked.append(digest)
        return real(public_key, signature, digest)

    monkeypatch.setattr(evaluation, "verify_signature", count)
    known, fresh = box.transfer(ALICE, BOB), box.transfer(BOB, CAROL)
    box.mempool.add(known)
    checked.clear()
    box.accept(box.forge(known, fresh))
    assert checked == [fresh.txid]


def test_a_cached_body_under_another_witness_is_checked(box: Sandbox) -> None:
    known = box.transfer(ALICE, BOB)
    box.mempool.add(known)
    forged = known.with_witness(Witness(b"\x01" * 64, ALICE.public_key))
    assert box.refused(box.forge(forged)) is Reason.BAD_SIGNATURE


# blocks as bytes --------------------------------------------------------------------------------------


def test_a_block_survives_its_encoding(box: Sandbox) -> None:
    block = box.forge(box.transfer(ALICE, BOB))
    again = Block.decode(block.encode())
    assert (again.id, again.encode()) == (block.id, block.encode())


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:91], lambda _: b""])
def test_bytes_that_are_no_block(box: Sandbox, change: Callable[[bytes], bytes]) -> None:
    data = change(box.forge().encode())
    assert reason_of(lambda: Block.decode(data)) is Reason.MALFORMED


def test_a_block_that_is_too_large(box: Sandbox) -> None:
    assert reason_of(lambda: Block.decode(bytes(MAX_BLOCK_BYTES + 1))) is Reason.TOO_LARGE


def test_a_transaction_survives_its_encoding_and_shows_no_preimage(box: Sandbox) -> None:
    claim = box.claim(box.make_lock(), BOB, b"secret")
    assert decode_transaction(claim.raw) == claim
    assert b"secret".hex() not in repr(claim)
    assert "secret" not in repr(claim)


@pytest.mark.parametrize("length", [0, RAW_BYTES - 1, RAW_BYTES + 1])
def test_bytes_that_are_no_transaction(length: int) -> None:
    assert reason_of(lambda: decode_transaction(bytes(length))) is Reason.MALFORMED


def test_main_and_dev_blocks_do_not_mix(box: Sandbox) -> None:
    assert MAIN.chain_id != box.params.chain_id
    transfer = resign(ALICE, box.transfer(ALICE, BOB), chain_id=MAIN.chain_id)
    assert reason_of(lambda: box.mempool.add(transfer)) is Reason.WRONG_CHAIN
