"""A lock counts only if it is exactly what we would have made; recorded ones of a real core do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stellar_sdk import (
    Asset,
    BumpSequence,
    Claimant,
    ClaimPredicate,
    CreateAccount,
    CreateClaimableBalance,
    ManageData,
    Network,
    Payment,
    SetOptions,
    Signer,
    xdr,
)
from stellar_sdk.operation import Operation

from relayers.stellar import htlc
from relayers.stellar.devnet.horizon import resources
from relayers.stellar.preimages import find_preimage
from relayers.stellar.recognition import balance_stands, gate_stands, issuer_problem, read_lock
from relayers.stellar.settings import StellarSettings
from tests.unit.stellar.world import PREIMAGE, LedgerWorld, keypair

RECORDING = Path(__file__).parents[2] / "vectors" / "stellar_core_gate_htlc.jsonl"
XLM = Asset.native()


@pytest.fixture
def world() -> LedgerWorld:
    return LedgerWorld("sender", "recipient", "stranger")


def test_the_locks_that_a_real_core_took_are_recognised_and_their_claims_show_the_preimage() -> None:
    ledger, hashlocks, revealed = 2, [], []
    for line in RECORDING.read_text().splitlines():
        step = json.loads(line)
        if step["op"] == "close":
            ledger = step["ledger"]
            continue
        envelope = xdr.TransactionEnvelope.from_xdr(step["envelope"])
        gate = read_lock(envelope, ledger + 1, StellarSettings("", Network.STANDALONE_NETWORK_PASSPHRASE))
        if gate is not None:
            assert (gate.terms.amount, gate.deposit) == (100 * 10**7, 25_000_000)
            hashlocks.append(gate.terms.hashlock)
        revealed += [each for each in hashlocks if find_preimage(envelope, each) is not None]
    assert len(hashlocks) == 4
    assert set(revealed) == {hashlocks[0], hashlocks[2], hashlocks[3]}


def test_what_we_make_is_recognised_with_all_its_terms(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    assert gate.terms == terms
    assert gate.address == keypair("gate").public_key
    asset = world.issue(world.stranger, "USD", world.sender, world.recipient)
    issued = world.terms(world.sender, world.recipient, asset=asset)
    assert world.lock(issued, world.sender, keypair("other gate")).terms == issued


def test_a_wallet_may_leave_the_sender_to_be_the_transactions_source(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    envelope = world.lock_envelope(terms, keypair("gate"), world.sender)
    for operation in envelope.transaction.operations:
        if operation.source is not None and operation.source.account_id == terms.sender:
            operation.source = None
    gate = read_lock(envelope.to_xdr_object(), world.network.header.sequence + 1, world.settings)
    assert gate is not None
    assert gate.terms == terms


def test_a_lock_inside_a_fee_bump_is_recognised(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    inner = world.lock_envelope(terms, keypair("gate"), world.sender)
    bumped = htlc.bump(inner, world.stranger, 200).to_xdr_object()
    gate = read_lock(bumped, world.network.header.sequence + 1, world.settings)
    assert gate is not None
    assert gate.balance_id == inner.transaction.get_claimable_balance_id(5)


def _replace(index: int, change: Callable[[Any], Operation]) -> Callable[[list[Any], LedgerWorld], None]:
    def tamper(operations: list[Any], _world: LedgerWorld) -> None:
        operations[index] = change(operations[index])

    return tamper


def _gate_options(**options: Any) -> Callable[[Any], Operation]:
    def change(old: Any) -> Operation:
        fields = {
            "signer": old.signer,
            "master_weight": old.master_weight,
            "low_threshold": old.low_threshold,
            "med_threshold": old.med_threshold,
            "high_threshold": old.high_threshold,
            "source": old.source,
        }
        return SetOptions(**(fields | options))

    return change


def _claimants(*claimants: Claimant) -> Callable[[Any], Operation]:
    return lambda old: CreateClaimableBalance(old.asset, old.amount, claimants, old.source)


def _early_refund(operations: list[Any], world: LedgerWorld) -> None:
    gate = operations[0].destination
    anytime = Claimant(world.sender.public_key)
    operations[5] = _claimants(Claimant(gate), anytime)(operations[5])


def _third_claimant(operations: list[Any], world: LedgerWorld) -> None:
    claimants = [*operations[5].claimants, Claimant(world.stranger.public_key)]
    operations[5] = _claimants(*claimants)(operations[5])


def _gate_only_before(operations: list[Any], world: LedgerWorld) -> None:
    gate, sender = operations[5].claimants
    hurry = ClaimPredicate.predicate_before_absolute_time(world.now + 60)
    operations[5] = _claimants(Claimant(gate.destination, hurry), sender)(operations[5])


TAMPERINGS: dict[str, Callable[[list[Any], LedgerWorld], None]] = {
    "a gate too poor for its reserve": _replace(
        0, lambda old: CreateAccount(old.destination, "2.4", old.source)
    ),
    "a sequence that the gate has passed": _replace(1, lambda old: BumpSequence(5, old.source)),
    "a sequence far ahead": _replace(1, lambda old: BumpSequence(1 << 60, old.source)),
    "another pre-authorised transaction": _replace(3, _gate_options(signer=Signer.pre_auth_tx(bytes(32), 2))),
    "a heavier preimage": _replace(2, _gate_options(signer=Signer.sha256_hash(PREIMAGE.hashlock(), 2))),
    "a master key that lives": _replace(4, _gate_options(master_weight=1)),
    "a low threshold": _replace(4, _gate_options(low_threshold=1)),
    "a medium threshold": _replace(4, _gate_options(med_threshold=1)),
    "a high threshold": _replace(4, _gate_options(high_threshold=1)),
    "a refund at any time": _early_refund,
    "a third claimant": _third_claimant,
    "a gate that must hurry": _gate_only_before,
    "one operation more": lambda operations, world: operations.append(
        ManageData("more", b"1", source=world.sender.public_key)
    ),
    "an operation in place of another": _replace(
        1, lambda old: Payment(old.source.account_id, XLM, "1", old.source)
    ),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_lock_with_anything_else_about_it_is_none(world: LedgerWorld, tampering: str) -> None:
    envelope = world.lock_envelope(world.terms(world.sender, world.recipient), keypair("gate"), world.sender)
    operations = list(envelope.transaction.operations)
    TAMPERINGS[tampering](operations, world)
    envelope.transaction.operations = operations
    ledger = world.network.header.sequence + 1
    assert read_lock(envelope.to_xdr_object(), ledger, world.settings) is None


def test_a_gate_in_the_ledger_is_compared_in_full(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    entry = world.entry(gate.address)
    assert entry is not None
    shown = resources.account(entry, (), (), world.network)
    assert gate_stands(terms, shown, world.passphrase)
    for change in (
        {"sequence": str(entry.sequence + 1)},
        {"thresholds": shown["thresholds"] | {"med_threshold": 1}},
        {"signers": shown["signers"][1:]},
        {"signers": [*shown["signers"], {"key": world.stranger.public_key, "weight": 1}]},
        {"signers": [each | {"weight": 2} for each in shown["signers"]]},
    ):
        assert not gate_stands(terms, shown | change, world.passphrase)


def test_a_balance_in_the_ledger_is_compared_in_full(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    raw = bytes.fromhex(gate.balance_id[8:])
    shown = resources.claimable_balance(world.network.state.peek(("balance", raw)), world.network)
    assert balance_stands(terms, gate.address, shown)
    late = {"not": {"abs_before": "2100-01-01T00:00:00Z", "abs_before_epoch": str(terms.deadline + 1)}}
    for change in (
        {"amount": "10.0000001"},
        {"asset": f"XLM:{world.stranger.public_key}"},
        {"claimants": shown["claimants"][:1]},
        {"claimants": [shown["claimants"][0], shown["claimants"][1] | {"predicate": late}]},
        {"claimants": [*shown["claimants"], shown["claimants"][0]]},
        {"flags": {"clawback_enabled": True}},
    ):
        assert not balance_stands(terms, gate.address, shown | change)


@pytest.mark.parametrize("flag", ["auth_required", "auth_revocable", "auth_clawback_enabled"])
def test_an_issuer_that_could_freeze_or_take_back_is_named(flag: str) -> None:
    free = dict.fromkeys(
        ("auth_required", "auth_revocable", "auth_immutable", "auth_clawback_enabled"), False
    )
    assert issuer_problem({"flags": free}) == ""
    assert flag in issuer_problem({"flags": free | {flag: True}})
    assert "does not exist" in issuer_problem(None)
