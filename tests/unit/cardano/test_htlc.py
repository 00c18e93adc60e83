"""Locks as the watcher reads them: one that is odd equals nobody's terms, and none is misread."""

from __future__ import annotations

from pathlib import Path

import cbor2
import msgspec
import pytest
from pycardano import Address, Network, ScriptHash, VerificationKeyHash

from bridge.chains.errors import ActionRefusedError, BadAddressError, PortUnavailableError
from bridge.chains.port import Claimed, Locked, Refunded
from bridge.protocol.types import Amount, BlockHeight, BlockRef, LockTerms, Preimage, TxId, UnixSeconds
from relayers.cardano import htlc
from relayers.cardano.chain_view import HtlcTx, Output, Spent
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
    tx = HtlcTx(TxId("11" * 32), BLOCK, (Spent(output(), claim),), (output(),))
    assert READER.events(tx) == [
        Claimed(BLOCK, tx.tx_id, LOCK_ID, Preimage(PREIMAGE)),
        Locked(BLOCK, tx.tx_id, LOCK_ID, TERMS),
    ]
    for redeemer in (RefundRedeemer(), GiveBackRedeemer()):
        tx = HtlcTx(TxId("11" * 32), BLOCK, (Spent(output(), redeemer.to_cbor()),), ())
        assert READER.events(tx) == [Refunded(BLOCK, tx.tx_id, LOCK_ID)]


BROKEN = {
    "a wrong preimage": ClaimRedeemer(bytes(32)).to_cbor(),
    "no redeemer": None,
    "no CBOR": b"\xff",
    "a number": b"\x01",
    "a claim without a preimage": cbor2.dumps(cbor2.CBORTag(121, [])),
    "a preimage that is too long": cbor2.dumps(cbor2.CBORTag(121, [bytes(65)])),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_claim_that_cannot_be_is_no_event_but_a_broken_service(how: str) -> None:
    tx = HtlcTx(TxId("11" * 32), BLOCK, (Spent(output(), BROKEN[how]),), ())
    with pytest.raises(PortUnavailableError):
        READER.events(tx)
    assert PREIMAGE.hex() not in repr(tx)


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
