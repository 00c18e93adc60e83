"""Rules of the ledger that the recordings touch little or not at all (CAPs and stellar-core 19)."""

from __future__ import annotations

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
    Clawback,
    CreateAccount,
    CreateClaimableBalance,
    EndSponsoringFutureReserves,
    LedgerBounds,
    ManageData,
    ManageSellOffer,
    Payment,
    Preconditions,
    RevokeSponsorship,
    SetOptions,
    SetTrustLineFlags,
    Signer,
    SignerKey,
    TimeBounds,
    TrustLineFlags,
)

from relayers.stellar.devnet.entries import UnsupportedFeatureError
from relayers.stellar.devnet.queue import Submitted
from tests.unit.stellar import gates
from tests.unit.stellar.world import LedgerWorld, keypair

XLM = Asset.native()
ANYBODY = ClaimPredicate.predicate_unconditional()
RESERVE = 5_000_000


@pytest.fixture
def world() -> LedgerWorld:
    return LedgerWorld("alice", "bob", "carol")


# Fees and the pool


def test_in_quiet_times_only_the_base_fee_is_charged(world: LedgerWorld) -> None:
    before = world.xlm(world.alice)
    world.send(world.build(world.alice, [Payment(world.bob.public_key, XLM, "1")], fee=5000))
    assert before - world.xlm(world.alice) == 10**7 + 100


def test_a_failed_transaction_pays_its_fee_and_uses_its_sequence(world: LedgerWorld) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    codes = world.send(world.build(world.alice, [Payment(world.bob.public_key, XLM, "5000")]))
    assert codes == ("txFAILED", "PAYMENT_UNDERFUNDED")
    after = world.entry(world.alice)
    assert after is not None
    assert (after.balance, after.sequence) == (entry.balance - 100, entry.sequence + 1)


def test_an_account_has_one_pending_transaction(world: LedgerWorld) -> None:
    first = world.build(world.alice, [Payment(world.bob.public_key, XLM, "1")])
    second = world.build(world.alice, [Payment(world.bob.public_key, XLM, "2")])
    assert world.submit(first)[0] is Submitted.PENDING
    assert world.submit(first)[0] is Submitted.DUPLICATE
    assert world.submit(second)[0] is Submitted.TRY_AGAIN_LATER


def test_a_fee_bump_replaces_a_pending_transaction_for_ten_times_its_rate(world: LedgerWorld) -> None:
    pending = world.build(world.alice, [Payment(world.bob.public_key, XLM, "1")], fee=100)
    world.submit(pending)
    rival = world.build(world.alice, [Payment(world.bob.public_key, XLM, "2")], fee=100)
    status, frame = world.submit(gates.bump(rival, world.carol, 999))
    assert (status, frame.result.names) == (Submitted.ERROR, ("txINSUFFICIENT_FEE",))
    assert frame.result.fee_charged == 2000
    assert world.submit(gates.bump(rival, world.carol, 1000))[0] is Submitted.PENDING
    before = world.xlm(world.bob)
    world.close()
    assert world.xlm(world.bob) == before + 2 * 10**7


def test_what_was_applied_is_not_taken_again_for_ten_ledgers(world: LedgerWorld) -> None:
    envelope = world.build(world.alice, [Payment(world.bob.public_key, XLM, "1")])
    world.send(envelope)
    for _ in range(9):
        assert world.submit(envelope)[0] is Submitted.TRY_AGAIN_LATER
        world.close()
    assert world.send(envelope) == ("ERROR", "txBAD_SEQ")


def test_when_a_ledger_is_full_the_best_payers_go_first_and_all_pay_the_lowest_of_their_bids() -> None:
    names = [f"payer {n}" for n in range(11)]
    world = LedgerWorld(*names, max_operations=10)
    for index, name in enumerate(names):
        key = world.keys[name]
        operations = [Payment(world.root.public_key, XLM, "0.0000001")]
        assert world.submit(world.build(key, operations, fee=200 + index))[0] is Submitted.PENDING
    world.close()
    applied = world.network.ledgers[-1].transactions
    assert len(applied) == 10
    assert {each.result.fee_charged for each in applied} == {201}
    (left,) = world.network.queue.pending()
    assert left.fee_bid == 200


def test_a_full_pool_evicts_the_cheapest_and_turns_away_who_does_not_beat_it() -> None:
    names = [f"payer {n}" for n in range(22)]
    world = LedgerWorld(*names, max_operations=10)
    operations = [Payment(world.root.public_key, XLM, "0.0000001")]
    for index, name in enumerate(names[:20]):
        world.submit(world.build(world.keys[name], operations, fee=200 + index))
    status, frame = world.submit(world.build(world.keys[names[20]], operations, fee=200))
    assert (status, frame.result.fee_charged) == (Submitted.ERROR, 200 + 1)
    assert world.submit(world.build(world.keys[names[21]], operations, fee=300))[0] is Submitted.PENDING
    assert min(each.fee_bid for each in world.network.queue.pending()) == 201


def test_a_transaction_passed_over_four_times_is_forgotten() -> None:
    names = [f"payer {n}" for n in range(11)]
    world = LedgerWorld(*names, max_operations=10)
    operations = [Payment(world.root.public_key, XLM, "0.0000001")]
    poor = world.build(world.keys[names[10]], operations, fee=100)
    world.submit(poor)
    for _ in range(4):
        assert world.network.queue.pending()
        for name in names[:10]:
            world.submit(world.build(world.keys[name], operations, fee=500))
        world.close()
    assert world.network.queue.pending() == []
    assert world.submit(poor)[0] is Submitted.TRY_AGAIN_LATER


def test_an_unneeded_signature_is_refused(world: LedgerWorld) -> None:
    codes = world.send(world.build(world.alice, [BumpSequence(0)], world.bob))
    assert codes == ("ERROR", "txBAD_AUTH_EXTRA")


# Time, ledgers, sequences


def test_time_bounds_hold_at_submission_and_at_the_close(world: LedgerWorld) -> None:
    payment = [Payment(world.bob.public_key, XLM, "1")]
    late = world.build(world.alice, payment, until=world.now + 9)
    assert world.send(late) == ("ERROR", "txTOO_LATE")
    in_time = world.build(world.alice, payment, until=world.now + 10)
    assert world.submit(in_time)[0] is Submitted.PENDING
    world.close(11)
    assert world.network.ledgers[-1].transactions == ()


def test_ledger_bounds_name_the_ledger_that_takes_it(world: LedgerWorld) -> None:
    head = world.network.header.sequence
    for bounds, codes in (
        (LedgerBounds(head + 2, 0), ("ERROR", "txTOO_EARLY")),
        (LedgerBounds(0, head + 1), ("ERROR", "txTOO_LATE")),
        (LedgerBounds(head + 1, head + 2), ("txSUCCESS", "BUMP_SEQUENCE_SUCCESS")),
    ):
        envelope = world.build(world.alice, [BumpSequence(0)])
        envelope.transaction.preconditions = Preconditions(ledger_bounds=bounds)
        del envelope.signatures[:]
        envelope.sign(world.alice)
        assert world.send(envelope) == codes


def test_a_minimum_sequence_lets_a_transaction_skip_ahead(world: LedgerWorld) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    envelope = world.build(world.alice, [BumpSequence(0)])
    envelope.transaction.sequence = entry.sequence + 1000
    envelope.transaction.preconditions = Preconditions(min_sequence_number=entry.sequence)
    del envelope.signatures[:]
    envelope.sign(world.alice)
    assert world.send(envelope)[0] == "txSUCCESS"
    after = world.entry(world.alice)
    assert after is not None
    assert after.sequence == entry.sequence + 1000


def test_a_minimum_sequence_age_and_gap_must_have_passed(world: LedgerWorld) -> None:
    world.apply(world.alice, [BumpSequence(0)])
    for preconditions in (Preconditions(min_sequence_age=6), Preconditions(min_sequence_ledger_gap=2)):
        envelope = world.build(world.alice, [BumpSequence(0)])
        envelope.transaction.preconditions = preconditions
        del envelope.signatures[:]
        envelope.sign(world.alice)
        assert world.send(envelope) == ("ERROR", "txBAD_MIN_SEQ_AGE_OR_GAP")
    world.close(10)
    assert world.send(envelope)[0] == "txSUCCESS"


def test_extra_signers_must_sign_too(world: LedgerWorld) -> None:
    wanted = SignerKey.ed25519_public_key(world.bob.public_key)
    envelope = world.build(world.alice, [BumpSequence(0)])
    envelope.transaction.preconditions = Preconditions(extra_signers=[wanted])
    del envelope.signatures[:]
    envelope.sign(world.alice)
    assert world.send(envelope) == ("ERROR", "txBAD_AUTH")
    envelope.sign(world.bob)
    assert world.send(envelope)[0] == "txSUCCESS"


def test_bumping_backwards_changes_nothing(world: LedgerWorld) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    world.apply(world.alice, [BumpSequence(5)])
    after = world.entry(world.alice)
    assert after is not None
    assert after.sequence == entry.sequence + 1


def test_an_account_whose_sequence_lies_ahead_cannot_be_merged_yet(world: LedgerWorld) -> None:
    ahead = (world.network.header.sequence + 3) << 32
    world.apply(world.alice, [BumpSequence(ahead)])
    merge = [AccountMerge(world.bob.public_key)]
    codes = world.send(world.build(world.alice, merge))
    assert codes == ("txFAILED", "ACCOUNT_MERGE_SEQNUM_TOO_FAR")
    world.close()
    world.close()
    assert world.send(world.build(world.alice, merge))[0] == "txSUCCESS"


# Signers


def test_a_pre_authorised_transaction_needs_no_signature_and_is_spent_even_if_it_fails(
    world: LedgerWorld,
) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    planned = world.build(world.alice, [Payment(world.bob.public_key, XLM, "5000")])
    planned.transaction.sequence = entry.sequence + 2
    del planned.signatures[:]
    world.apply(world.alice, [SetOptions(signer=Signer.pre_auth_tx(planned.hash(), 1))])
    assert world.send(planned) == ("txFAILED", "PAYMENT_UNDERFUNDED")
    after = world.entry(world.alice)
    assert after is not None
    assert (after.signers, after.subentries) == ([], 0)


def test_thresholds_count_weights(world: LedgerWorld) -> None:
    signer = Signer.ed25519_public_key(world.bob.public_key, 1)
    world.apply(world.alice, [SetOptions(signer=signer, med_threshold=2, high_threshold=2)])
    payment = [Payment(world.carol.public_key, XLM, "1")]
    alone = world.send(world.build(world.alice, payment))
    assert alone == ("ERROR", "txFAILED", "opBAD_AUTH")
    assert world.send(world.build(world.alice, payment, world.bob))[0] == "txSUCCESS"


def test_a_signer_costs_a_reserve_and_twenty_are_the_most(world: LedgerWorld) -> None:
    poor = keypair("poor")
    world.apply(world.alice, [CreateAccount(poor.public_key, "1.0001")])
    add = [SetOptions(signer=Signer.ed25519_public_key(world.bob.public_key, 1))]
    assert world.send(world.build(poor, add)) == ("txFAILED", "SET_OPTIONS_LOW_RESERVE")
    many = [
        SetOptions(signer=Signer.ed25519_public_key(keypair(f"signer {n}").public_key, 1)) for n in range(21)
    ]
    assert "SET_OPTIONS_TOO_MANY_SIGNERS" in world.send(world.build(world.alice, many))


# Reserves and sponsorship


def test_a_new_account_must_bring_two_reserves(world: LedgerWorld) -> None:
    new = keypair("new").public_key
    assert "CREATE_ACCOUNT_LOW_RESERVE" in world.send(
        world.build(world.alice, [CreateAccount(new, "0.9999999")])
    )
    assert world.send(world.build(world.alice, [CreateAccount(new, "1")]))[0] == "txSUCCESS"


def test_a_sponsor_pays_for_the_entries_of_another(world: LedgerWorld) -> None:
    new = keypair("new")
    operations = [
        BeginSponsoringFutureReserves(new.public_key),
        CreateAccount(new.public_key, "0"),
        ManageData("name", b"value", source=new.public_key),
        EndSponsoringFutureReserves(source=new.public_key),
    ]
    world.apply(world.alice, operations, new)
    sponsor, sponsored = world.entry(world.alice), world.entry(new)
    assert sponsor is not None
    assert sponsored is not None
    assert (sponsor.num_sponsoring, sponsored.num_sponsored, sponsored.balance) == (3, 3, 0)
    assert "ACCOUNT_MERGE_IS_SPONSOR" in world.send(
        world.build(world.alice, [AccountMerge(world.bob.public_key)])
    )
    revoke = [RevokeSponsorship.revoke_data_sponsorship(new.public_key, "name")]
    assert "REVOKE_SPONSORSHIP_LOW_RESERVE" in world.send(world.build(world.alice, revoke))
    world.apply(world.bob, [Payment(new.public_key, XLM, "2")])
    world.apply(world.alice, revoke)
    sponsor, sponsored = world.entry(world.alice), world.entry(new)
    assert sponsor is not None
    assert sponsored is not None
    assert (sponsor.num_sponsoring, sponsored.num_sponsored) == (2, 2)


def test_a_sponsorship_left_open_undoes_the_transaction(world: LedgerWorld) -> None:
    codes = world.send(world.build(world.alice, [BeginSponsoringFutureReserves(world.bob.public_key)]))
    assert codes == ("txBAD_SPONSORSHIP",)


@pytest.mark.parametrize("sponsored", [False, True])
def test_removing_an_entry_frees_the_reserve_of_whoever_paid_it(world: LedgerWorld, sponsored: bool) -> None:
    inner = [ManageData("name", b"value", source=world.bob.public_key)]
    wrapped = [
        BeginSponsoringFutureReserves(world.bob.public_key),
        *inner,
        EndSponsoringFutureReserves(source=world.bob.public_key),
    ]
    world.apply(world.alice, wrapped if sponsored else inner, world.bob)
    world.apply(world.bob, [ManageData("name", None)])
    for key in (world.alice, world.bob):
        entry = world.entry(key)
        assert entry is not None
        assert (entry.num_sponsoring, entry.num_sponsored, entry.subentries) == (0, 0, 0)


# Claimable balances


def test_a_balance_with_two_claimants_binds_two_reserves_of_its_maker(world: LedgerWorld) -> None:
    claimants = [Claimant(world.bob.public_key, ANYBODY), Claimant(world.carol.public_key, ANYBODY)]
    world.apply(world.alice, [CreateClaimableBalance(XLM, "1", claimants)])
    maker = world.entry(world.alice)
    assert maker is not None
    assert maker.num_sponsoring == 2
    poor = keypair("poor")
    world.apply(world.bob, [CreateAccount(poor.public_key, "2.5")])
    codes = world.send(world.build(poor, [CreateClaimableBalance(XLM, "1", claimants)]))
    assert codes == ("txFAILED", "CREATE_CLAIMABLE_BALANCE_LOW_RESERVE")


def test_relative_predicates_count_from_the_ledger_that_made_the_balance(world: LedgerWorld) -> None:
    within = ClaimPredicate.predicate_before_relative_time(100)
    create = world.build(
        world.alice, [CreateClaimableBalance(XLM, "1", [Claimant(world.bob.public_key, within)])]
    )
    balance_id = create.transaction.get_claimable_balance_id(0)
    world.send(create)
    made = world.now
    claim = [ClaimClaimableBalance(balance_id)]
    late = world.send(world.build(world.bob, claim), at=made + 100)
    assert late == ("txFAILED", "CLAIM_CLAIMABLE_BALANCE_CANNOT_CLAIM")


def test_predicates_combine(world: LedgerWorld) -> None:
    start = world.now
    window = ClaimPredicate.predicate_and(
        ClaimPredicate.predicate_not(ClaimPredicate.predicate_before_absolute_time(start + 50)),
        ClaimPredicate.predicate_before_absolute_time(start + 100),
    )
    create = world.build(
        world.alice, [CreateClaimableBalance(XLM, "1", [Claimant(world.bob.public_key, window)])]
    )
    balance_id = create.transaction.get_claimable_balance_id(0)
    world.send(create)
    claim = [ClaimClaimableBalance(balance_id)]
    assert world.send(world.build(world.bob, claim), at=start + 49)[0] == "txFAILED"
    assert world.send(world.build(world.bob, claim), at=start + 50)[0] == "txSUCCESS"


def test_a_malformed_balance_is_refused(world: LedgerWorld) -> None:
    twice = [Claimant(world.bob.public_key, ANYBODY), Claimant(world.bob.public_key, ANYBODY)]
    deep = ANYBODY
    for _ in range(4):
        deep = ClaimPredicate.predicate_not(deep)
    for claimants in ([], twice, [Claimant(world.bob.public_key, deep)]):
        codes = world.send(world.build(world.alice, [CreateClaimableBalance(XLM, "1", claimants)]))
        assert codes == ("ERROR", "txFAILED", "CREATE_CLAIMABLE_BALANCE_MALFORMED")


# Issuers


def test_an_issuer_with_flags_can_withhold_freeze_and_take_back(world: LedgerWorld) -> None:
    issuer, holder = world.carol, world.bob
    asset = Asset("USD", issuer.public_key)
    world.apply(issuer, [SetOptions(set_flags=AuthorizationFlag(1 | 2 | 8))])
    world.apply(holder, [ChangeTrust(asset)])
    pay = [Payment(holder.public_key, asset, "10")]
    assert "PAYMENT_NOT_AUTHORIZED" in world.send(world.build(issuer, pay))
    allow = SetTrustLineFlags(holder.public_key, asset, set_flags=TrustLineFlags.AUTHORIZED_FLAG)
    world.apply(issuer, [allow, *pay])
    freeze = SetTrustLineFlags(holder.public_key, asset, clear_flags=TrustLineFlags.AUTHORIZED_FLAG)
    world.apply(issuer, [freeze])
    back = [Payment(issuer.public_key, asset, "1")]
    assert "PAYMENT_SRC_NOT_AUTHORIZED" in world.send(world.build(holder, back))
    world.apply(issuer, [Clawback(asset, holder.public_key, "4")])
    line = world.line(holder, asset)
    assert line is not None
    assert line.balance == 6 * 10**7


def test_an_issuer_without_the_revocable_flag_cannot_revoke(world: LedgerWorld) -> None:
    asset = Asset("USD", world.carol.public_key)
    world.apply(world.bob, [ChangeTrust(asset)])
    freeze = SetTrustLineFlags(world.bob.public_key, asset, clear_flags=TrustLineFlags.AUTHORIZED_FLAG)
    assert "SET_TRUST_LINE_FLAGS_CANT_REVOKE" in world.send(world.build(world.carol, [freeze]))
    assert "CLAWBACK_NOT_CLAWBACK_ENABLED" in world.send(
        world.build(world.carol, [Clawback(asset, world.bob.public_key, "1")])
    )


def test_all_operations_or_none(world: LedgerWorld) -> None:
    operations = [
        Payment(world.bob.public_key, XLM, "1"),
        Payment(keypair("nobody").public_key, XLM, "1"),
        Payment(world.bob.public_key, XLM, "1"),
    ]
    before = world.xlm(world.bob)
    codes = world.send(world.build(world.alice, operations))
    assert codes == ("txFAILED", "PAYMENT_SUCCESS", "PAYMENT_NO_DESTINATION", "PAYMENT_SUCCESS")
    assert world.xlm(world.bob) == before


def test_what_is_not_emulated_is_said_loudly(world: LedgerWorld) -> None:
    offer = ManageSellOffer(XLM, Asset("USD", world.carol.public_key), "1", "1")
    with pytest.raises(UnsupportedFeatureError, match="MANAGE_SELL_OFFER"):
        world.submit(world.build(world.alice, [offer]))


def test_the_old_form_of_envelopes_is_still_taken(world: LedgerWorld) -> None:
    entry = world.entry(world.alice)
    assert entry is not None
    envelope = world.build(world.alice, [BumpSequence(0)])
    old = envelope.transaction
    old.v1 = False
    old.preconditions = Preconditions(TimeBounds(0, 0))
    assert world.send(envelope)[0] == "txSUCCESS"
