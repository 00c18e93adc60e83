"""Random bytes and random histories against the HTLC program: money is never made, lost or misdirected."""

from __future__ import annotations

import hashlib
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.instruction import AccountMeta, Instruction
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction_metadata import FailedTransactionMetadata

from relayers.solana import program
from tests.unit.solana.bank import NOW, SOL, Bank

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)).map(lambda word: struct.pack("<Q", word))


@QUICK
@given(
    data=st.one_of(st.binary(max_size=140), st.tuples(WORDS, st.binary(max_size=130)).map(b"".join)),
    picks=st.lists(st.integers(0, 5), max_size=8),
    signs=st.booleans(),
)
def test_malformed_calls_take_nothing_from_a_lock(data: bytes, picks: list[int], signs: bool) -> None:
    bank = _BANKS.setdefault("one", Bank(program.program_bytes()))
    terms = bank.terms()
    if not bank.is_open(terms):
        bank.lock(terms)
    vault = bank.vault(terms)
    known = [
        vault,
        bank.thief.pubkey(),
        bank.sender.pubkey(),
        bank.recipient.pubkey(),
        bank.program,
        SYSTEM_PROGRAM,
    ]
    thief = bank.thief.pubkey()
    metas = [
        AccountMeta(known[pick], is_signer=signs and known[pick] == thief, is_writable=pick < 4)
        for pick in picks
    ]
    before = bank.lamports(vault)
    had = bank.lamports(bank.thief)
    result = bank.send([Instruction(bank.program, data, metas)], bank.thief)
    assert bank.lamports(vault) == before
    assert bank.lamports(bank.thief) <= had
    assert bank.is_open(terms)
    assert isinstance(result, FailedTransactionMetadata)


_BANKS: dict[str, Bank] = {}


@QUICK
@given(
    secret=st.binary(max_size=64),
    amount=st.integers(SOL // 1000, 3 * SOL),
    lifetime=st.integers(1, 10**9),
    steps=st.lists(
        st.tuples(st.sampled_from(["claim", "wrong", "refund", "early"]), st.integers(-2, 2)), max_size=6
    ),
)
def test_any_history_pays_exactly_one_side_exactly_once(
    secret: bytes, amount: int, lifetime: int, steps: list[tuple[str, int]]
) -> None:
    bank = Bank(program.program_bytes(3))
    terms = bank.terms(secret, amount=amount, deadline=NOW + lifetime)
    bank.lock(terms)
    sender, recipient = bank.lamports(bank.sender), bank.lamports(bank.recipient)
    rent = bank.svm.minimum_balance_for_rent_exemption(program.SOL_VAULT_BYTES)
    spent = ""
    for step, offset in steps:
        now = terms.deadline + offset
        bank.set_time(now)
        match step:
            case "claim":
                calls, signers, good = bank.claim(terms, secret), [bank.thief], True
            case "wrong":
                calls, signers, good = bank.claim(terms, secret[:-1] + b"no"), [bank.thief], False
                good = hashlib.sha256(secret[:-1] + b"no").digest() == terms.hashlock
            case "refund":
                calls, signers, good = bank.refund(terms), [bank.thief], now >= terms.deadline
            case _:
                calls = bank.refund(terms, cooperative=True)
                signers, good = [bank.thief, bank.recipient], True
        result = bank.send(calls, *signers)
        assert isinstance(result, FailedTransactionMetadata) is (bool(spent) or not good)
        if good and not spent:
            spent = step
    paid = bank.lamports(bank.recipient) - recipient, bank.lamports(bank.sender) - sender
    match spent:
        case "":
            assert paid == (0, 0)
            assert bank.is_open(terms)
        case "claim":
            assert paid == (amount, rent)
        case _:
            assert paid == (0, amount + rent)
