"""Locks as the watcher reads them: one that is odd equals nobody's terms, and none is misread."""

from __future__ import annotations

from pathlib import Path

import cbor2
import msgspec
import pytest
from pycardano import Address, Network, ScriptHash, VerificationKeyHash

from bridge.chains.errors import ActionRefusedError, BadAddressError
from bridge.chains.port import Claimed, Locked, Refunded, Revealed, Spent
from bridge.protocol.types import Amount, BlockHeight, BlockRef, LockTerms, Preimage, TxId, UnixSeconds
from relayers.cardano import htlc
from relayers.cardano.chain_view import HtlcTx, Output, SpentOutput
from relayers.cardano.devnet.treasury import DEMO_TOKEN
from relayers.cardano.script import (
    ClaimRedeemer,
    GiveBackRedeemer,
    RefundRedeemer,
    validator_address,
    validator_hash,
)
from relayers.cardano.settings import ADA, NETWORKS, CardanoSettings
from relayers.cardano.settings import Network as Kind
from tests import instances
from tests.unit.cardano.world import ALICE, BOB, CAROL, HASHLOCK, PREIMAGE

ROOT = Path(__file__).parents[3]
SETTINGS = CardanoSettings("", Kind.DEV, assets=(ADA, DEMO_TOKEN))
READER = htlc.Reader(SETTINGS)
PLACE = validator_address(Network.TESTNET)
TERMS = LockTerms(
    instances.CARDANO,
    PLACE,
    ALICE.address,
    BOB.address,
    ADA,
    Amount(5_000_000),
    HASHLOCK,
    UnixSeconds(1_900_000_000),
)
DATUM = htlc.datum_of(TERMS).to_cbor().hex()
MOMENT = TERMS.deadline * 1000
OTHER_UNIT = "22" * 28 + "aa"


def output(
    *amounts: tuple[str, int], address: str = PLACE, datum: str | None = DATUM, has_script: bool = False
) -> Output:
    held = dict(amounts or (("lovelace", 5_000_000),))
    lovelace = held.pop("lovelace")
    return Output(TxId("00" * 32), 0, address, lovelace, held, datum, has_script)


def test_a_lock_is_read_back_with_exactly_its_terms() -> None:
    assert READER.terms(output()) == TERMS


def test_a_lock_of_tokens_is_read_with_the_tokens_name() -> None:
    terms = READER.terms(output(("lovelace", 2_000_000), (DEMO_TOKEN.contract, 7)))
    assert terms == msgspec.structs.replace(TERMS, asset=DEMO_TOKEN, amount=7)


ODD = {
    "a lovelace less": output(("lovelace", 4_999_999)),
    "dust tokens": output(("lovelace", 5_000_000), (OTHER_UNIT, 1)),
    "two kinds of tokens": output(("lovelace", 5_000_000), (OTHER_UNIT, 1), (DEMO_TOKEN.contract, 7)),
    "a stake part in the address": output(
        address=str(Address(validator_hash(), VerificationKeyHash(CAROL.key), network=Network.TESTNET))
    ),
}


@pytest.mark.parametrize("how", ODD)
def test_an_odd_lock_has_terms_of_its_own_and_can_be_given_back(how: str) -> None:
    terms = READER.terms(ODD[how])
    assert terms is not None
    assert terms != TERMS
    assert htlc.id_of(terms, SETTINGS) != htlc.id_of(TERMS, SETTINGS)
    assert (terms.sender, terms.hashlock, terms.deadline) == (TERMS.sender, TERMS.hashlock, TERMS.deadline)


def encoded(*fields: object, tag: int = 121) -> str:
    return cbor2.dumps(cbor2.CBORTag(tag, list(fields))).hex()


NO_LOCKS = {
    "no datum, or its hash alone": output(datum=None),
    "another address": output(address=ALICE.address),
    "another constructor": output(datum=encoded(ALICE.key, BOB.key, HASHLOCK, 1, tag=122)),
    "a field too many": output(datum=encoded(ALICE.key, BOB.key, HASHLOCK, 1, 1)),
    "a short key": output(datum=encoded(ALICE.key[:-1], BOB.key, HASHLOCK, 1)),
    "a short hashlock": output(datum=encoded(ALICE.key, BOB.key, HASHLOCK[:-1], 1)),
    "a deadline before all time": output(datum=encoded(ALICE.key, BOB.key, HASHLOCK, 0)),
    "a deadline that is not a number": output(datum=encoded(ALICE.key, BOB.key, HASHLOCK, b"1")),
    "no CBOR": output(datum="ff"),
    "no hex": output(datum="zz"),
    "a reference script": output(has_script=True),
}


SAME_LOCKS = {
    "the general constructor": cbor2.dumps(cbor2.CBORTag(102, [0, [ALICE.key, BOB.key, HASHLOCK, MOMENT]])),
    "lists of known length": cbor2.dumps(cbor2.CBORTag(121, [ALICE.key, BOB.key, HASHLOCK, MOMENT])),
    "a bignum": bytes.fromhex("d87984581c")
    + ALICE.key
    + b"\x58\x1c"
    + BOB.key
    + b"\x58\x20"
    + HASHLOCK
    + b"\xc2\x48"
    + MOMENT.to_bytes(8, "big"),
}


@pytest.mark.parametrize("how", SAME_LOCKS)
def test_a_lock_is_the_same_in_every_encoding_of_its_datum(how: str) -> None:
    assert READER.terms(output(datum=SAME_LOCKS[how].hex())) == TERMS


@pytest.mark.parametrize("how", NO_LOCKS)
def test_what_is_no_lock_is_not_read_as_one(how: str) -> None:
    assert READER.terms(NO_LOCKS[how]) is None


def test_a_deadline_within_a_second_counts_from_the_next_slot() -> None:
    terms = READER.terms(output(datum=encoded(ALICE.key, BOB.key, HASHLOCK, 1_500)))
    assert terms is not None
    assert terms.deadline == 2


def test_the_id_of_a_lock_names_its_network() -> None:
    assert htlc.id_of(TERMS, SETTINGS) != htlc.id_of(TERMS, CardanoSettings("", Kind.PREPROD))


BLOCK = BlockRef(BlockHeight(1), "b", "a", UnixSeconds(0))
LOCK_ID = htlc.id_of(TERMS, SETTINGS)


def test_what_a_transaction_did_is_read_from_redeemers_and_outputs() -> None:
    claim = ClaimRedeemer(PREIMAGE).to_cbor()
    tx = HtlcTx(TxId("11" * 32), BLOCK, (SpentOutput(output(), (claim,)),), (output(),))
    assert READER.events(tx) == [
        Claimed(BLOCK, tx.tx_id, LOCK_ID, Preimage(PREIMAGE)),
        Locked(BLOCK, tx.tx_id, LOCK_ID, TERMS),
    ]
    for redeemer, start, signers in (
        (RefundRedeemer(), TERMS.deadline, frozenset[bytes]()),
        (GiveBackRedeemer(), None, frozenset({BOB.key})),
    ):
        spent = SpentOutput(output(), (redeemer.to_cbor(),))
        tx = HtlcTx(TxId("11" * 32), BLOCK, (spent,), (), start, signers)
        assert READER.events(tx) == [Refunded(BLOCK, tx.tx_id, LOCK_ID)]


FORMS_OF_0 = ("d879", "d86682{00}", "d8669f{1800}", "d86682{190000}", "d86682{c240}", "d86682{c24100}")
"""Constructor 0 with its number written in several ways; what follows are its fields."""
LONG = b"".join(bytes([0x58, 16]) + PREIMAGE[part : part + 16] for part in (0, 16))
FORMS_OF_PREIMAGE = (b"\x58\x20" + PREIMAGE, b"\x59\x00\x20" + PREIMAGE, b"\x5f" + LONG + b"\xff")


def claims() -> dict[str, bytes]:
    found = {}
    for form in FORMS_OF_0:
        head = bytes.fromhex(form.replace("{", "").replace("}", ""))
        end = b"\xff" if form.startswith("d8669f") else b""
        for preimage in FORMS_OF_PREIMAGE:
            for fields in (b"\x81" + preimage, b"\x98\x01" + preimage, b"\x9f" + preimage + b"\xff"):
                found[(head + fields + end).hex()] = head + fields + end
    return found


@pytest.mark.parametrize("redeemer", claims().values(), ids=range(len(claims())))
def test_a_claim_is_a_claim_in_every_encoding_that_the_ledger_has_for_it(redeemer: bytes) -> None:
    tx = HtlcTx(TxId("11" * 32), BLOCK, (SpentOutput(output(), (redeemer,)),), ())
    assert READER.events(tx) == [Claimed(BLOCK, tx.tx_id, LOCK_ID, Preimage(PREIMAGE))]


REFUNDS = {
    "d87a80": 1,
    "d87b80": 2,
    "d866820180": 1,
    "d866820280": 2,
    "d87a9fff": 1,
    "d8669f0280ff": 2,
}


@pytest.mark.parametrize("redeemer", REFUNDS)
def test_a_refund_is_one_only_if_the_ledger_could_have_taken_it_as_one(redeemer: str) -> None:
    spent = SpentOutput(output(), (bytes.fromhex(redeemer),))
    late, early = TERMS.deadline, TERMS.deadline - 1
    for start in (None, early, late):
        for signers in (frozenset[bytes](), frozenset({ALICE.key}), frozenset({BOB.key})):
            (event,) = READER.events(HtlcTx(TxId("11" * 32), BLOCK, (spent,), (), start, signers))
            shown = start == late if REFUNDS[redeemer] == 1 else BOB.key in signers
            assert type(event) is (Refunded if shown else Spent)


def test_what_a_transaction_shows_is_handed_on_but_what_its_events_say_already() -> None:
    spent = SpentOutput(output(), (ClaimRedeemer(PREIMAGE).to_cbor(),))
    shown = (PREIMAGE, b"", b"another", bytes(32), bytes(65), ALICE.key, HASHLOCK)
    tx = HtlcTx(TxId("11" * 32), BLOCK, (spent,), (output(),), None, frozenset(), shown)
    secrets = [event.preimage for event in READER.events(tx) if isinstance(event, Revealed)]
    assert secrets == [Preimage(b""), Preimage(b"another")]


def test_what_a_failed_transaction_shows_is_handed_on() -> None:
    tx = HtlcTx(TxId("11" * 32), BLOCK, (), (), shown=(PREIMAGE,), failed=True)
    assert READER.events(tx) == [Revealed(BLOCK, tx.tx_id, Preimage(PREIMAGE))]


BROKEN = {
    "a wrong preimage": ClaimRedeemer(bytes(32)).to_cbor(),
    "a claim with more than a preimage": cbor2.dumps(cbor2.CBORTag(121, [PREIMAGE, 1])),
    "something after a claim": ClaimRedeemer(PREIMAGE).to_cbor() + b"\x00",
    "a constructor that the HTLC lacks": cbor2.dumps(cbor2.CBORTag(124, [])),
    "a high constructor": cbor2.dumps(cbor2.CBORTag(1280, [PREIMAGE])),
    "a refund with a field": cbor2.dumps(cbor2.CBORTag(122, [PREIMAGE])),
    "a preimage as a list": cbor2.dumps(cbor2.CBORTag(121, [[PREIMAGE]])),
    "a preimage as text": cbor2.dumps(cbor2.CBORTag(121, [PREIMAGE.decode()])),
    "as deep as a transaction is large": b"\xd8\x79\x81" * 5_000 + b"\x80",
    "no CBOR": b"\xff",
    "a number": b"\x01",
    "a claim without a preimage": cbor2.dumps(cbor2.CBORTag(121, [])),
    "a preimage that is too long": cbor2.dumps(cbor2.CBORTag(121, [bytes(65)])),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_neither_claim_nor_refund_is_a_spend_and_no_more(how: str) -> None:
    everything = TERMS.deadline, frozenset({ALICE.key, BOB.key})
    tx = HtlcTx(TxId("11" * 32), BLOCK, (SpentOutput(output(), (BROKEN[how],)),), (), *everything)
    (event,) = READER.events(tx)
    assert isinstance(event, Spent)
    assert event.lock_id == LOCK_ID
    assert len(event.reason) > 10
    assert PREIMAGE.hex() not in repr(tx) + event.reason
    assert repr(PREIMAGE)[2:-1] not in repr(tx) + event.reason


def test_a_spend_without_a_redeemer_or_with_two_that_differ_is_a_spend_and_no_more() -> None:
    claim, back = ClaimRedeemer(PREIMAGE).to_cbor(), GiveBackRedeemer().to_cbor()
    for redeemers in ((), (claim, back)):
        spent = SpentOutput(output(), redeemers)
        (event,) = READER.events(HtlcTx(TxId("11" * 32), BLOCK, (spent,), (), None, frozenset({BOB.key})))
        assert isinstance(event, Spent)
    same = cbor2.dumps(cbor2.CBORTag(102, [0, [PREIMAGE]]))
    spent = SpentOutput(output(), (claim, same))
    (event,) = READER.events(HtlcTx(TxId("11" * 32), BLOCK, (spent,), ()))
    assert isinstance(event, Claimed)


def test_a_wallets_address_becomes_the_one_that_the_validator_pays() -> None:
    base = Address(VerificationKeyHash(BOB.key), VerificationKeyHash(CAROL.key), network=Network.TESTNET)
    assert htlc.parse_address(str(base), Network.TESTNET) == BOB.address


@pytest.mark.parametrize(
    "address",
    [
        str(Address(VerificationKeyHash(BOB.key), network=Network.MAINNET)),
        str(Address(ScriptHash(bytes(28)), network=Network.TESTNET)),
        str(Address(staking_part=VerificationKeyHash(BOB.key), network=Network.TESTNET)),
        PLACE,
        "",
        BOB.address + "q",
    ],
)
def test_an_address_that_cannot_be_paid_is_refused(address: str) -> None:
    with pytest.raises(BadAddressError) as refusal:
        htlc.parse_address(address, Network.TESTNET)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "change",
    [{"amount": 0}, {"hashlock": b""}, {"deadline": 0}, {"contract": ALICE.address}, {"sender": PLACE}],
)
def test_impossible_terms_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ActionRefusedError) as refusal:
        htlc.id_of(msgspec.structs.replace(TERMS, **change), SETTINGS)
    assert refusal.value.hint


def test_the_package_ships_the_committed_blueprint() -> None:
    committed = (ROOT / "contracts/cardano/plutus.json").read_bytes()
    assert committed == (ROOT / "relayers/cardano/plutus.json").read_bytes()


def test_slots_and_times_agree_with_the_public_networks() -> None:
    # Slot and time of well-known blocks: the first of mainnet's Shelley era, and preprod's.
    main = CardanoSettings("", Kind.MAINNET)
    assert main.time_of(4_492_800) == 1_596_059_091
    assert main.slot_at(main.time_of(100_000_000)) == 100_000_000
    assert CardanoSettings("", Kind.PREPROD).time_of(86_400) == 1_655_769_600
    assert NETWORKS[Kind.MAINNET].magic == 764_824_073


def test_settings_and_preimages_do_not_show_secrets() -> None:
    settings = CardanoSettings("https://u:pw@host/api/v0", Kind.PREPROD, project_id="preprodSECRET")
    assert "SECRET" not in repr(settings)
    assert "pw" not in repr(settings)
    assert "7777" not in repr(Preimage(b"\x77" * 32))
