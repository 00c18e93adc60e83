"""How transactions fail, by their own names, and what the queue remembers (stellar-core v19.14.0)."""

from __future__ import annotations

import hashlib

import pytest
from stellar_sdk import (
    AccountMerge,
    Asset,
    AuthorizationFlag,
    BeginSponsoringFutureReserves,
    BumpSequence,
    ChangeTrust,
    Claimant,
    ClaimClaimableBalance,
    ClaimPredicate,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    Keypair,
    MuxedAccount,
    Payment,
    Preconditions,
    RevokeSponsorship,
    SetOptions,
    SetTrustLineFlags,
    SignedPayloadSigner,
    Signer,
    SignerKey,
    TransactionEnvelope,
    TrustLineFlags,
    xdr,
)

from relayers.stellar.devnet.queue import Submitted
from relayers.stellar.devnet.replay import codes_of
from tests.unit.stellar import gates
from tests.unit.stellar.world import LedgerWorld, keypair

XLM = Asset.native()
ANYBODY = ClaimPredicate.predicate_unconditional()
RESERVE = 5_000_000


@pytest.fixture
def world() -> LedgerWorld:
    return LedgerWorld("alice", "bob", "carol")


# What the queue owes and remembers


def test_a_fee_bump_that_its_payer_cannot_afford_beside_others_is_told_without_the_inner_result(
    world: LedgerWorld,
) -> None:
    poor = keypair("poor")
    world.apply(world.alice, [CreateAccount(poor.public_key, "1.001")])
    for sender, status in ((world.alice, Submitted.PENDING), (world.bob, Submitted.ERROR)):
        inner = world.build(sender, [BumpSequence(0)])
        told, frame = world.submit(gates.bump(inner, poor, 3000))
        assert told is status
    assert frame.result.names == ("txINSUFFICIENT_BALANCE",)
    assert codes_of(frame.result.to_xdr()) == "txINSUFFICIENT_BALANCE fee=200"
    assert xdr.TransactionResult.from_xdr(frame.result.to_xdr().to_xdr()) == frame.result.to_xdr()


def test_what_replaces_a_transaction_has_waited_as_long_as_it() -> None:
    names = [f"payer {n}" for n in range(11)]
    world = LedgerWorld(*names, max_operations=10)
    operations = [Payment(world.root.public_key, XLM, "0.0000001")]
    patient = world.keys[names[10]]
    world.submit(world.build(patient, operations, fee=100))

    def crowd() -> None:
        for name in names[:10]:
            world.submit(world.build(world.keys[name], operations, fee=5000))
        world.close()

    crowd()
    crowd()
    bumped = gates.bump(world.build(patient, operations, fee=100), patient, 1000)
    assert world.submit(bumped)[0] is Submitted.PENDING
    crowd()
    assert world.network.queue.pending()
    crowd()
    assert world.network.queue.pending() == []


def test_a_replacement_evicts_no_more_than_the_room_it_needs() -> None:
    names = [f"payer {n}" for n in range(18)]
    world = LedgerWorld(*names, max_operations=10)
    operations = [Payment(world.root.public_key, XLM, "0.0000001")]
    for index, name in enumerate(names[:17]):
        world.submit(world.build(world.keys[name], operations, fee=200 + index))
    large = world.build(world.keys[names[17]], operations * 3, fee=300)
    world.submit(large)
    assert world.submit(gates.bump(large, world.root, 5000))[0] is Submitted.PENDING
    fees = sorted(each.fee_bid for each in world.network.queue.pending())
    assert (len(fees), fees[0], fees[-1]) == (17, 201, 20_000)


# Preconditions and signatures of all kinds


def with_preconditions(
    world: LedgerWorld, conditions: Preconditions, *signers: Keypair, ahead: int = 1
) -> TransactionEnvelope:
    """Return a transaction of alice's that does nothing, `ahead` of her sequence."""
    entry = world.entry(world.alice)
    assert entry is not None
    envelope = world.build(world.alice, [BumpSequence(0)])
    envelope.transaction.sequence = entry.sequence + ahead
    envelope.transaction.preconditions = conditions
    del envelope.signatures[:]
    for signer in signers or (world.alice,):
        envelope.sign(signer)
    return envelope


def test_a_minimum_sequence_ends_where_the_account_has_come_and_begins_where_it_says(
    world: LedgerWorld,
) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    for least, ahead, code in ((1, 5, "txBAD_SEQ"), (0, 0, "txBAD_SEQ"), (-3, 5, "txSUCCESS")):
        conditions = Preconditions(min_sequence_number=entry.sequence + least)
        assert code in world.send(with_preconditions(world, conditions, ahead=ahead))


def test_a_fee_bump_carries_the_preconditions_of_what_is_inside(world: LedgerWorld) -> None:
    world.apply(world.alice, [BumpSequence(0)])
    inner = with_preconditions(world, Preconditions(min_sequence_ledger_gap=3))
    assert world.send(gates.bump(inner, world.bob, 200)) == (
        "ERROR",
        "txFEE_BUMP_INNER_FAILED",
        "txBAD_MIN_SEQ_AGE_OR_GAP",
    )
    world.close()
    world.close()
    assert world.send(gates.bump(inner, world.bob, 200))[0] == "txFEE_BUMP_INNER_SUCCESS"


def test_what_waits_for_age_or_gap_cannot_stand_behind_another(world: LedgerWorld) -> None:
    first = world.build(world.alice, [BumpSequence(0)])
    assert world.submit(first)[0] is Submitted.PENDING
    behind = with_preconditions(world, Preconditions(min_sequence_age=1), ahead=2)
    for envelope in (behind, gates.bump(behind, world.bob, 5000)):
        assert world.submit(envelope)[0] is Submitted.TRY_AGAIN_LATER


def test_extra_signers_may_be_two_different_ones_of_any_kind(world: LedgerWorld) -> None:
    bob = SignerKey.ed25519_public_key(world.bob.public_key)
    twice = Preconditions(extra_signers=[bob, bob])
    assert world.send(with_preconditions(world, twice, world.alice, world.bob)) == ("ERROR", "txMALFORMED")
    secret = b"any preimage"
    both = Preconditions(extra_signers=[bob, SignerKey.sha256_hash(hashlib.sha256(secret).digest())])
    envelope = with_preconditions(world, both, world.alice, world.bob)
    assert world.send(envelope) == ("ERROR", "txBAD_AUTH")
    envelope.sign_hashx(secret)
    assert world.send(envelope)[0] == "txSUCCESS"


def test_a_signed_payload_signs_for_another_message(world: LedgerWorld) -> None:
    payload = b"payload"
    signer = SignedPayloadSigner(world.bob.public_key, payload)
    conditions = Preconditions(extra_signers=[SignerKey.ed25519_signed_payload(signer)])
    envelope = with_preconditions(world, conditions, world.alice)
    assert world.send(envelope) == ("ERROR", "txBAD_AUTH")
    envelope.signatures.append(world.bob.sign_payload_decorated(payload))
    assert world.send(envelope)[0] == "txSUCCESS"


def test_a_multiplexed_source_and_destination_are_the_accounts_they_name(world: LedgerWorld) -> None:
    before = world.xlm(world.bob)
    to = MuxedAccount(world.bob.public_key, 7)
    envelope = world.build(world.alice, [Payment(to, XLM, "1")])
    envelope.transaction.source = MuxedAccount(world.alice.public_key, 9)
    del envelope.signatures[:]
    envelope.sign(world.alice)
    assert world.send(envelope)[0] == "txSUCCESS"
    assert world.xlm(world.bob) == before + 10**7


# Failures of claimable balances, merges and options by their own names


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("no line", "NO_TRUST"),
        ("full", "LINE_FULL"),
        ("frozen", "NOT_AUTHORIZED"),
        ("stranger", "CANNOT_CLAIM"),
        ("twice", "DOES_NOT_EXIST"),
    ],
)
def test_a_claim_fails_for_its_own_reason(world: LedgerWorld, case: str, code: str) -> None:
    issuer, holder = world.carol, world.bob
    asset = Asset("USD", issuer.public_key)
    world.apply(issuer, [SetOptions(set_flags=AuthorizationFlag(2))])
    create = world.build(
        issuer, [CreateClaimableBalance(asset, "10", [Claimant(holder.public_key, ANYBODY)])]
    )
    world.send(create)
    claim = [ClaimClaimableBalance(create.transaction.get_claimable_balance_id(0))]
    if case != "no line":
        world.apply(holder, [ChangeTrust(asset, "5" if case == "full" else "100")])
    if case == "frozen":
        freeze = SetTrustLineFlags(holder.public_key, asset, clear_flags=TrustLineFlags.AUTHORIZED_FLAG)
        world.apply(issuer, [freeze])
    if case == "twice":
        world.apply(holder, claim)
    who = world.alice if case == "stranger" else holder
    assert f"CLAIM_CLAIMABLE_BALANCE_{code}" in world.send(world.build(who, claim))


@pytest.mark.parametrize(
    ("how", "first", "then"),
    [
        ("rel", False, False),
        ("not rel", False, True),
        ("or", True, True),
        ("not or", False, False),
        ("and not", True, False),
        ("abs 0", False, False),
    ],
)
def test_predicates_of_all_kinds_hold_when_they_say(
    world: LedgerWorld, how: str, first: bool, then: bool
) -> None:
    """Claimable at 10 seconds after the making? And at 100?"""
    start = world.now + 5
    soon = ClaimPredicate.predicate_before_absolute_time(start + 50)
    never = ClaimPredicate.predicate_before_absolute_time(0)
    rel = ClaimPredicate.predicate_before_relative_time(10)
    predicate = {
        "rel": rel,
        "not rel": ClaimPredicate.predicate_not(ClaimPredicate.predicate_before_relative_time(50)),
        "or": ClaimPredicate.predicate_or(never, ANYBODY),
        "not or": ClaimPredicate.predicate_not(ClaimPredicate.predicate_or(never, ANYBODY)),
        "and not": ClaimPredicate.predicate_and(soon, ClaimPredicate.predicate_not(never)),
        "abs 0": never,
    }[how]
    claimants = [Claimant(world.bob.public_key, predicate)]
    create = world.build(world.alice, [CreateClaimableBalance(XLM, "1", claimants)] * 2)
    world.send(create)
    assert world.now == start
    for index, (at, good) in enumerate(((start + 10, first), (start + 100, then))):
        claim = [ClaimClaimableBalance(create.transaction.get_claimable_balance_id(index))]
        codes = world.send(world.build(world.bob, claim), at=at)
        assert (codes[0] == "txSUCCESS") is good, codes


@pytest.mark.parametrize("how", ["one", "three", "empty not", "negative", "relative negative"])
def test_malformed_predicates_are_refused(world: LedgerWorld, how: str) -> None:
    kind = xdr.ClaimPredicateType
    anybody = xdr.ClaimPredicate(kind.CLAIM_PREDICATE_UNCONDITIONAL)
    minus = xdr.Int64(-1)
    predicate = {
        "one": xdr.ClaimPredicate(kind.CLAIM_PREDICATE_AND, and_predicates=[anybody]),
        "three": xdr.ClaimPredicate(kind.CLAIM_PREDICATE_OR, or_predicates=[]),
        "empty not": xdr.ClaimPredicate(kind.CLAIM_PREDICATE_NOT, not_predicate=None),
        "negative": xdr.ClaimPredicate(kind.CLAIM_PREDICATE_BEFORE_ABSOLUTE_TIME, abs_before=minus),
        "relative negative": xdr.ClaimPredicate(kind.CLAIM_PREDICATE_BEFORE_RELATIVE_TIME, rel_before=minus),
    }[how]
    with_good = [Claimant(world.bob.public_key, ANYBODY)]
    envelope = world.build(world.alice, [CreateClaimableBalance(XLM, "1", with_good)]).to_xdr_object()
    assert envelope.v1 is not None
    body = envelope.v1.tx.operations[0].body.create_claimable_balance_op
    assert body is not None
    assert body.claimants[0].v0 is not None
    body.claimants[0].v0.predicate = predicate
    digest = _hash_of(envelope.v1.tx, world)
    envelope.v1.signatures = [world.alice.sign_decorated(digest).to_xdr_object()]
    status, frame = world.network.submit(envelope)
    assert (status, frame.result.names[-1]) == (Submitted.ERROR, "CREATE_CLAIMABLE_BALANCE_MALFORMED")


def _hash_of(tx: xdr.Transaction, world: LedgerWorld) -> bytes:
    tagged = xdr.TransactionSignaturePayloadTaggedTransaction(xdr.EnvelopeType.ENVELOPE_TYPE_TX, tx=tx)
    payload = xdr.TransactionSignaturePayload(xdr.Hash(world.network.network_id), tagged)
    return hashlib.sha256(payload.to_xdr_bytes()).digest()


def test_an_immutable_account_is_neither_merged_nor_changed(world: LedgerWorld) -> None:
    world.apply(world.alice, [SetOptions(set_flags=AuthorizationFlag(4))])
    merge = world.send(world.build(world.alice, [AccountMerge(world.bob.public_key)]))
    assert merge == ("txFAILED", "ACCOUNT_MERGE_IMMUTABLE_SET")
    for options in (SetOptions(clear_flags=AuthorizationFlag(4)), SetOptions(set_flags=AuthorizationFlag(1))):
        assert "SET_OPTIONS_CANT_CHANGE" in world.send(world.build(world.alice, [options]))
    assert world.send(world.build(world.alice, [SetOptions(home_domain="example.org")]))[0] == "txSUCCESS"


def test_merges_and_options_fail_for_their_own_reasons(world: LedgerWorld) -> None:
    nobody, required = keypair("nobody").public_key, AuthorizationFlag(1)
    for operation, code in (
        (AccountMerge(nobody), "ACCOUNT_MERGE_NO_ACCOUNT"),
        (AccountMerge(world.alice.public_key), "ACCOUNT_MERGE_MALFORMED"),
        (SetOptions(inflation_dest=nobody), "SET_OPTIONS_INVALID_INFLATION"),
        (SetOptions(set_flags=required, clear_flags=required), "SET_OPTIONS_BAD_FLAGS"),
        (SetOptions(set_flags=AuthorizationFlag(16)), "SET_OPTIONS_UNKNOWN_FLAG"),
        (SetOptions(set_flags=AuthorizationFlag(8)), "SET_OPTIONS_AUTH_REVOCABLE_REQUIRED"),
        (SetOptions(master_weight=256), "SET_OPTIONS_THRESHOLD_OUT_OF_RANGE"),
        (SetOptions(home_domain="bell\x07"), "SET_OPTIONS_INVALID_HOME_DOMAIN"),
        (SetOptions(signer=Signer.ed25519_public_key(nobody, 256)), "SET_OPTIONS_BAD_SIGNER"),
        (
            SetOptions(signer=Signer.ed25519_public_key(world.alice.public_key, 1)),
            "SET_OPTIONS_BAD_SIGNER",
        ),
        (BumpSequence(2**63 - 1), "BUMP_SEQUENCE_SUCCESS"),
        (BumpSequence(0), "txBAD_SEQ"),
    ):
        assert code in world.send(world.build(world.alice, [operation])), operation


def test_a_sponsored_balance_can_only_be_handed_on(world: LedgerWorld) -> None:
    create = world.build(
        world.alice, [CreateClaimableBalance(XLM, "1", [Claimant(world.bob.public_key, ANYBODY)])]
    )
    world.send(create)
    revoke = RevokeSponsorship.revoke_claimable_balance_sponsorship(
        create.transaction.get_claimable_balance_id(0)
    )
    assert "REVOKE_SPONSORSHIP_NOT_SPONSOR" in world.send(world.build(world.bob, [revoke]))
    assert "REVOKE_SPONSORSHIP_ONLY_TRANSFERABLE" in world.send(world.build(world.alice, [revoke]))
    hand_on = [
        BeginSponsoringFutureReserves(world.alice.public_key, source=world.carol.public_key),
        revoke,
        EndSponsoringFutureReserves(),
    ]
    world.apply(world.alice, hand_on, world.carol)
    alice, carol = world.entry(world.alice), world.entry(world.carol)
    assert alice is not None
    assert carol is not None
    assert (alice.num_sponsoring, carol.num_sponsoring) == (0, 1)


def test_sponsorships_do_not_chain(world: LedgerWorld) -> None:
    begin = [
        BeginSponsoringFutureReserves(world.bob.public_key),
        BeginSponsoringFutureReserves(world.carol.public_key, source=world.bob.public_key),
    ]
    codes = world.send(world.build(world.alice, begin, world.bob))
    assert "BEGIN_SPONSORING_FUTURE_RESERVES_RECURSIVE" in codes
    twice = [BeginSponsoringFutureReserves(world.bob.public_key)] * 2
    assert "BEGIN_SPONSORING_FUTURE_RESERVES_ALREADY_SPONSORED" in world.send(world.build(world.alice, twice))
    end = world.send(world.build(world.alice, [EndSponsoringFutureReserves()]))
    assert "END_SPONSORING_FUTURE_RESERVES_NOT_SPONSORED" in end
