"""The attacks of the design, and what becomes of the money in each."""

from __future__ import annotations

import pytest
from stellar_sdk import (
    AccountMerge,
    Asset,
    ChangeTrust,
    ClaimClaimableBalance,
    CreateAccount,
    Payment,
    SetOptions,
)

from bridge.protocol.types import Preimage
from relayers.stellar import authorized, htlc
from relayers.stellar.assets import decimal, to_stellar
from relayers.stellar.authorized import Way
from relayers.stellar.preimages import find_preimage
from tests.unit.stellar.world import PREIMAGE, LedgerWorld, keypair


@pytest.fixture
def world() -> LedgerWorld:
    return LedgerWorld("sender", "recipient", "stranger")


def test_the_recipient_claims_and_later_takes_the_gates_deposit_too(world: LedgerWorld) -> None:
    gate = world.lock(world.terms(world.sender, world.recipient), world.sender)
    before = world.xlm(world.recipient)
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"
    assert world.xlm(world.recipient) == before + gate.terms.amount - 200
    world.pass_gate_sequence()
    closing = world.build(world.recipient, htlc.cleanup_operations(gate), preimage=PREIMAGE)
    assert world.send(closing)[0] == "txSUCCESS"
    assert world.entry(gate.address) is None
    assert world.xlm(world.recipient) == before + gate.terms.amount + gate.deposit - 300


def test_dust_on_the_gate_blocks_neither_claim_nor_refund_nor_the_native_reclaim(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    for step in ("claim", "refund"):
        gate = world.lock(terms, world.sender, keypair(f"gate {step}"))
        world.apply(world.stranger, [Payment(gate.address, Asset.native(), "0.0000007")])
        if step == "claim":
            assert world.claim(gate, world.recipient)[0] == "txSUCCESS"
            continue
        before = world.xlm(world.sender)
        assert world.refund(gate, world.sender, at=terms.deadline)[0] == "txSUCCESS"
        world.pass_gate_sequence()
        assert world.reclaim(gate, world.stranger)[0] == "txFEE_BUMP_INNER_SUCCESS"
        assert world.xlm(world.sender) == before + terms.amount + gate.deposit + 7 - 100


def test_issued_dust_on_the_gate_costs_the_deposit_at_worst_never_the_principal(world: LedgerWorld) -> None:
    issuer = world.stranger
    asset = world.issue(issuer, "USD", world.sender, world.recipient)
    terms = world.terms(world.sender, world.recipient, asset=asset)
    gate = world.lock(terms, world.sender)
    world.apply(issuer, [Payment(gate.address, to_stellar(asset), "0.0000001")])
    assert world.refund(gate, world.sender, at=terms.deadline)[0] == "txSUCCESS"
    line = world.line(world.sender, to_stellar(asset))
    assert line is not None
    assert line.balance == 100 * 10**7
    world.pass_gate_sequence()
    assert "CHANGE_TRUST_INVALID_LIMIT" in world.reclaim(gate, world.stranger)


def test_an_early_reclaim_and_an_early_refund_are_refused(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    world.pass_gate_sequence()
    assert "txTOO_EARLY" in world.reclaim(gate, world.sender)
    assert "CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM" in world.refund(gate, world.sender, at=terms.deadline - 1)
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"


def test_the_refund_is_good_in_the_very_second_of_the_deadline(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    assert world.refund(gate, world.sender, at=terms.deadline)[0] == "txSUCCESS"
    assert "CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST" in world.claim(gate, world.recipient)


def test_a_late_claim_wins_while_nobody_has_refunded(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    world.close(at=terms.deadline + 1000)
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"
    assert "CLAIM_CLAIMABLE_BALANCE_DOES_NOT_EXIST" in world.refund(gate, world.sender)


def test_a_reclaim_before_a_late_claim_makes_the_claim_impossible_and_leaves_the_refund(
    world: LedgerWorld,
) -> None:
    terms = world.terms(world.sender, world.recipient)
    gate = world.lock(terms, world.sender)
    world.pass_gate_sequence()
    world.close(at=terms.deadline)
    assert world.reclaim(gate, world.stranger)[0] == "txFEE_BUMP_INNER_SUCCESS"
    late = world.build(world.recipient, htlc.claim_operations(gate), preimage=PREIMAGE)
    assert world.send(late)[1] in {"txFAILED", "txBAD_AUTH_EXTRA"}
    assert world.refund(gate, world.sender)[0] == "txSUCCESS"


def test_a_sender_who_makes_a_reclaimed_gate_anew_gains_only_what_the_refund_gives(
    world: LedgerWorld,
) -> None:
    terms = world.terms(world.sender, world.recipient)
    key = keypair("gate")
    gate = world.lock(terms, world.sender, key)
    world.pass_gate_sequence()
    before = world.xlm(world.sender)
    world.close(at=terms.deadline)
    assert world.reclaim(gate, world.stranger)[0] == "txFEE_BUMP_INNER_SUCCESS"
    again = [
        CreateAccount(gate.address, "1"),
        ClaimClaimableBalance(gate.balance_id, source=gate.address),
        Payment(world.sender.public_key, Asset.native(), decimal(terms.amount), source=gate.address),
    ]
    world.apply(world.sender, again, key)
    assert world.xlm(world.sender) == before + gate.deposit + terms.amount - 10**7 - 300
    assert not world.balance_exists(gate.balance_id)


def test_a_gate_key_that_others_hold_lets_them_take_what_was_reclaimed_too_early(world: LedgerWorld) -> None:
    """Why the sender makes the gate's key: here the recipient made it, and steals after the reclaim."""
    terms = world.terms(world.sender, world.recipient)
    key = keypair("made by the recipient")
    gate = world.lock(terms, world.sender, key)
    world.pass_gate_sequence()
    world.close(at=terms.deadline)
    assert world.reclaim(gate, world.recipient)[0] == "txFEE_BUMP_INNER_SUCCESS"
    before = world.xlm(world.recipient)
    theft = [
        CreateAccount(gate.address, "1"),
        ClaimClaimableBalance(gate.balance_id, source=gate.address),
        Payment(world.recipient.public_key, Asset.native(), decimal(terms.amount), source=gate.address),
    ]
    world.apply(world.recipient, theft, key)
    assert world.xlm(world.recipient) == before + terms.amount - 10**7 - 300


def test_the_gates_own_key_can_do_nothing_while_the_gate_stands(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, world.recipient)
    key = keypair("gate")
    gate = world.lock(terms, world.sender, key)
    attempts = (
        [ClaimClaimableBalance(gate.balance_id, source=gate.address)],
        [SetOptions(master_weight=2, source=gate.address)],
        [Payment(world.sender.public_key, Asset.native(), "0.1", source=gate.address)],
        [AccountMerge(world.sender.public_key, source=gate.address)],
    )
    for operations in attempts:
        assert world.send(world.build(world.sender, operations, key))[0] == "ERROR"


@pytest.mark.parametrize("who", ["recipient", "preimage", "stranger"])
def test_neither_half_of_recipient_and_preimage_opens_the_gate(world: LedgerWorld, who: str) -> None:
    gate = world.lock(world.terms(world.sender, world.recipient), world.sender)
    operations = htlc.claim_operations(gate)
    if who == "recipient":
        envelope = world.build(world.recipient, operations)
    elif who == "preimage":
        envelope = world.build(world.sender, operations, preimage=PREIMAGE)
    else:
        envelope = world.build(world.stranger, operations, world.sender, preimage=PREIMAGE)
    assert world.send(envelope)[0] == "ERROR"
    assert world.balance_exists(gate.balance_id)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64])
def test_preimages_of_every_size_open_the_gate_and_show_on_the_ledger(world: LedgerWorld, size: int) -> None:
    preimage = Preimage(bytes(range(100, 100 + size)))
    gate = world.lock(world.terms(world.sender, world.recipient, preimage=preimage), world.sender)
    envelope = world.build(world.recipient, htlc.claim_operations(gate), preimage=preimage)
    assert world.send(envelope)[0] == "txSUCCESS"
    assert find_preimage(envelope.to_xdr_object(), gate.terms.hashlock) == preimage


def test_a_claim_that_fails_shows_the_preimage_all_the_same(world: LedgerWorld) -> None:
    gate = world.lock(world.terms(world.sender, world.recipient), world.sender)
    too_much = [*htlc.claim_operations(gate), Payment(gate.address, Asset.native(), "100000")]
    envelope = world.build(world.recipient, too_much, preimage=PREIMAGE)
    assert "PAYMENT_UNDERFUNDED" in world.send(envelope)
    (failed,) = world.network.ledgers[-1].transactions
    assert find_preimage(failed.frame.envelope, gate.terms.hashlock) == PREIMAGE
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"


@pytest.mark.parametrize("way", list(Way))
def test_of_the_two_that_a_recipient_signs_only_one_can_ever_pay_and_then_the_deposit_follows(
    world: LedgerWorld, way: Way
) -> None:
    recipient = world.recipient if way is Way.PAYMENT else keypair("newcomer")
    gate = world.lock(world.terms(world.sender, recipient), world.sender)
    before = world.xlm(recipient), world.xlm(world.stranger)
    pair = authorized.claims(gate, gate.sequence, way, world.passphrase)
    for inner in pair:
        htlc.sign_claim(inner, recipient, PREIMAGE)
    bumped = [htlc.bump(inner, world.stranger, 200) for inner in pair]
    assert world.send(bumped[0])[0] == "txFEE_BUMP_INNER_SUCCESS"
    assert world.send(bumped[1])[0] != "txFEE_BUMP_INNER_SUCCESS"
    assert find_preimage(bumped[0].to_xdr_object(), gate.terms.hashlock) == PREIMAGE
    world.pass_gate_sequence()
    for inner in (
        htlc.reclaim_transaction(gate.terms, gate.address, gate.sequence, world.passphrase),
        authorized.way_back(gate, world.passphrase),
    ):
        world.send(htlc.bump(inner, world.stranger, 200))
    assert world.entry(gate.address) is None
    assert world.xlm(recipient) == before[0] + gate.terms.amount + gate.deposit
    assert world.xlm(world.stranger) == before[1] - 500 - 300 - 200


def test_issued_dust_on_the_gate_keeps_back_the_deposit_of_an_authorised_claim_until_the_recipient_comes(
    world: LedgerWorld,
) -> None:
    asset = world.issue(world.stranger, "USD", world.sender, world.recipient)
    gate = world.lock(world.terms(world.sender, world.recipient, asset=asset), world.sender)
    inner, _ = authorized.claims(gate, gate.sequence, Way.PAYMENT, world.passphrase)
    htlc.sign_claim(inner, world.recipient, PREIMAGE)
    assert world.send(htlc.bump(inner, world.sender, 200))[0] == "txFEE_BUMP_INNER_SUCCESS"
    world.apply(world.stranger, [Payment(gate.address, to_stellar(asset), "0.5")])
    world.pass_gate_sequence()
    planned = authorized.way_back(gate, world.passphrase)
    assert "CHANGE_TRUST_INVALID_LIMIT" in world.send(htlc.bump(planned, world.stranger, 200))
    operations = htlc.cleanup_operations(gate, gate_holds=5_000_000)
    assert world.send(world.build(world.recipient, operations, preimage=PREIMAGE))[0] == "txSUCCESS"


def test_less_than_an_accounts_reserve_can_only_be_paid_into_one_that_exists(world: LedgerWorld) -> None:
    terms = world.terms(world.sender, keypair("newcomer"), amount="0.9")
    assert authorized.ways(terms) == (Way.PAYMENT,)


def test_an_issued_asset_is_locked_claimed_and_its_gate_closed(world: LedgerWorld) -> None:
    asset = world.issue(world.stranger, "LONGCODE", world.sender, world.recipient, amount="50")
    gate = world.lock(world.terms(world.sender, world.recipient, asset=asset), world.sender)
    assert gate.deposit == 6 * 5_000_000
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"
    line = world.line(world.recipient, to_stellar(asset))
    assert line is not None
    assert line.balance == 60 * 10**7
    world.apply(world.stranger, [Payment(gate.address, to_stellar(asset), "0.5")])
    world.pass_gate_sequence()
    operations = htlc.cleanup_operations(gate, gate_holds=5_000_000)
    assert world.send(world.build(world.recipient, operations, preimage=PREIMAGE))[0] == "txSUCCESS"
    assert world.entry(gate.address) is None


def test_a_recipient_who_closed_its_trustline_cannot_be_paid_and_can_open_it_again(
    world: LedgerWorld,
) -> None:
    asset = world.issue(world.stranger, "USD", world.sender)
    gate = world.lock(world.terms(world.sender, world.recipient, asset=asset), world.sender)
    assert "PAYMENT_NO_TRUST" in world.claim(gate, world.recipient)
    world.apply(world.recipient, [ChangeTrust(to_stellar(asset))])
    assert world.claim(gate, world.recipient)[0] == "txSUCCESS"
