"""What one transaction did to our locks and what it showed: read from its bytes, or set aside."""

from __future__ import annotations

import msgspec
import pytest
from stellar_sdk import Address, ManageData, Payment, scval, xdr
from stellar_sdk import Asset as StellarAsset

from bridge.chains.port import Claimed, Locked, Refunded, Revealed, SetAside, Spent
from bridge.protocol.types import LockId, Preimage
from relayers.stellar import contract
from relayers.stellar.contract import NotOursError
from relayers.stellar.ledgers import Applied
from relayers.stellar.reading import MOST_STRINGS, Reader, UnprovenError
from tests.unit.soroban import made
from tests.unit.soroban.made import BLOCK, PASSPHRASE, SECRET, SETTINGS, Code, applied

TERMS = made.terms()
LOCK = contract.lock_id(TERMS, PASSPHRASE)
CLAIM = contract.claim_call(TERMS, SECRET, PASSPHRASE)
REFUND = contract.refund_call(TERMS, PASSPHRASE)


@pytest.fixture
def reader() -> Reader:
    return Reader(SETTINGS)


def shown(reader: Reader, tx: Applied) -> set[bytes]:
    return {each.preimage.reveal() for each in reader.read(tx, BLOCK).events if isinstance(each, Revealed)}


def test_a_lock_a_claim_and_a_refund_are_what_the_contract_says(reader: Reader) -> None:
    lock = applied(contract.lock_call(TERMS, PASSPHRASE), [made.lock_event(TERMS)])
    assert reader.read(lock, BLOCK).events == (Locked(BLOCK, lock.tx_id, LOCK, TERMS),)
    claim = applied(CLAIM, [made.claim_event(TERMS, SECRET.reveal())], changes=[made.removed(TERMS)])
    assert reader.read(claim, BLOCK).events == (Claimed(BLOCK, claim.tx_id, LOCK, SECRET),)
    refund = applied(REFUND, [made.refund_event(TERMS)], changes=[made.removed(TERMS)], bump=True)
    assert reader.read(refund, BLOCK).events == (Refunded(BLOCK, refund.tx_id, LOCK),)


def test_a_call_that_another_contract_makes_is_ours_too_and_shows_all_that_stands_in_it(
    reader: Reader,
) -> None:
    other = b"some other secret"
    tx = applied(
        made.router_call(scval.to_bytes(other), scval.to_vec([scval.to_bytes(SECRET.reveal())])),
        [made.claim_event(TERMS, SECRET.reveal())],
    )
    read = reader.read(tx, BLOCK)
    assert read.events[-1] == Claimed(BLOCK, tx.tx_id, LOCK, SECRET)
    assert other in shown(reader, tx)
    assert SECRET.reveal() not in shown(reader, tx)  # told by the claim


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64])
def test_what_a_failed_claim_shows_is_published_all_the_same(reader: Reader, size: int) -> None:
    preimage = Preimage(bytes(range(1, size + 1)))
    terms = made.terms(preimage)
    call = contract.claim_call(terms, preimage, PASSPHRASE)
    for bump in (False, True):
        tx = applied(call, code=Code.txFAILED, bump=bump)
        read = reader.read(tx, BLOCK)
        assert preimage.reveal() in shown(reader, tx)
        assert all(isinstance(event, Revealed) for event in read.events)
        assert read.aside is None


def test_a_secret_is_found_wherever_a_transaction_of_ours_puts_it(reader: Reader) -> None:
    secret = SECRET.reveal()
    named = contract.id_value(LOCK)
    reader.known.remember(LOCK, TERMS.hashlock)
    entry = xdr.SorobanAuthorizationEntry(
        xdr.SorobanCredentials(
            xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_ADDRESS,
            address=xdr.SorobanAddressCredentials(
                Address(TERMS.recipient).to_xdr_sc_address(),
                xdr.Int64(1),
                xdr.Uint32(9),
                scval.to_vec([scval.to_bytes(secret)]),
            ),
        ),
        contract.lock_authorisation(TERMS, PASSPHRASE),
    )
    signed = made.router_call(named)
    signed.auth = [entry]
    places = {
        "an argument": applied(made.router_call(named, scval.to_bytes(secret)), code=Code.txFAILED),
        "a text": applied(made.router_call(named, scval.to_string(secret)), code=Code.txFAILED),
        "a map": applied(
            made.router_call(named, scval.to_map({scval.to_uint32(1): scval.to_bytes(secret)})),
            code=Code.txFAILED,
        ),
        "a signature of an authorisation": applied(signed, code=Code.txFAILED),
        "a signature": applied(REFUND, [made.refund_event(TERMS)], hashx=secret),
        "a signature of the fee bump": applied(
            REFUND, [made.refund_event(TERMS)], bump=True, outer_hashx=secret
        ),
    }
    for place, tx in places.items():
        assert secret in shown(reader, tx), place
    # A classic transaction that names nothing of ours is not looked at.
    assert reader.read(applied(ManageData("x", secret)), BLOCK).events == ()


def test_a_classic_transaction_that_names_a_lock_we_remember_is_looked_at(reader: Reader) -> None:
    tx = applied(ManageData("preimage of", bytes.fromhex(LOCK)), hashx=SECRET.reveal())
    assert reader.read(tx, BLOCK).events == ()
    reader.known.remember(LOCK, TERMS.hashlock)
    assert SECRET.reveal() in shown(reader, tx)


def test_a_strangers_transaction_is_passed_over(reader: Reader) -> None:
    reader.known.remember(LOCK, TERMS.hashlock)
    payment = Payment(made.key("b").public_key, StellarAsset.native(), "1")
    assert reader.read(applied(payment), BLOCK).events == ()
    call = made.router_call(scval.to_bytes(SECRET.reveal()))
    assert reader.read(applied(call), BLOCK).events == ()


def test_events_that_the_result_does_not_vouch_for_are_not_believed(reader: Reader) -> None:
    for told in ([], [made.refund_event(TERMS)], [made.claim_event(TERMS, b"x")]):
        tx = applied(CLAIM, [made.claim_event(TERMS, SECRET.reveal())], told=told)
        with pytest.raises(UnprovenError):
            reader.read(tx, BLOCK)


def test_another_contract_cannot_speak_for_ours(reader: Reader) -> None:
    stranger = made.event(made.topics("refund", TERMS), scval.to_bool(False), by=made.ROUTER)
    tx = applied(made.router_call(contract.id_value(LOCK), scval.to_address(made.CONTRACT)), [stranger])
    assert not [each for each in reader.read(tx, BLOCK).events if not isinstance(each, Revealed)]


def test_an_entry_that_went_without_a_word_is_spent_and_not_refunded(reader: Reader) -> None:
    tx = applied(CLAIM, changes=[made.removed(TERMS)])
    found = [each for each in reader.read(tx, BLOCK).events if isinstance(each, Spent)]
    assert [each.lock_id for each in found] == [LOCK]


def test_a_claim_whose_preimage_does_not_open_a_lock_that_we_know_is_no_claim(reader: Reader) -> None:
    reader.known.remember(LOCK, TERMS.hashlock)
    tx = applied(CLAIM, [made.claim_event(TERMS, b"something else")])
    kinds = {type(each) for each in reader.read(tx, BLOCK).events}
    assert Spent in kinds
    assert Claimed not in kinds


def test_what_cannot_be_decoded_is_set_aside_with_the_locks_that_it_names(reader: Reader) -> None:
    reader.known.remember(LOCK, TERMS.hashlock)
    whole = applied(CLAIM, [made.claim_event(TERMS, SECRET.reveal())])
    for change in (
        {"envelope": whole.envelope[:3] + b"\x63" + whole.envelope[4:]},
        {"meta": b"\x00\x00\x00\x09" + whole.meta[4:]},
        {"result": whole.result[:11] + b"\x7f" + whole.result[12:]},
    ):
        tx = msgspec.structs.replace(whole, **change)
        read = reader.read(tx, BLOCK)
        assert read.aside == SetAside(BLOCK, tx.tx_id, read.aside.reason if read.aside else "", (LOCK,))
        assert SECRET.reveal() in {
            each.preimage.reveal() for each in read.events if isinstance(each, Revealed)
        }
        assert repr(SECRET.reveal())[2:-1] not in (read.aside.reason if read.aside else "")


def test_an_event_of_ours_that_we_do_not_know_is_set_aside_and_the_others_count(reader: Reader) -> None:
    odd = made.event(made.topics("upgrade", TERMS), scval.to_void())
    tx = applied(CLAIM, [odd, made.claim_event(TERMS, SECRET.reveal())])
    read = reader.read(tx, BLOCK)
    assert Claimed(BLOCK, tx.tx_id, LOCK, SECRET) in read.events
    assert read.aside is not None


def test_a_transaction_of_countless_strings_is_set_aside(reader: Reader) -> None:
    many = scval.to_vec([scval.to_bytes(b"")] * (MOST_STRINGS + 1))
    read = reader.read(applied(contract.call(made.CONTRACT, "claim", [many]), code=Code.txFAILED), BLOCK)
    assert read.aside is not None


def test_a_lock_is_only_read_with_the_id_of_its_terms() -> None:
    other = made.topics("lock", made.terms(deadline=5))
    data = scval.to_vec(contract.term_values(TERMS, PASSPHRASE)[2:])
    with pytest.raises(NotOursError):
        contract.read_event(other, data, SETTINGS)


def test_remembered_locks_are_bounded_and_the_newest_stay(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relayers.stellar.known.MOST", 3)
    names = [LockId(f"{number:064x}") for number in range(5)]
    for name in names:
        reader.known.remember(name, b"\x01" * 32)
    assert [reader.known.hashlock(name) is None for name in names] == [True, True, False, False, False]
    assert reader.known.secrets == {b"\x01" * 32: 3}
