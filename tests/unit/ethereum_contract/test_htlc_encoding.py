"""relayers.evm.htlc by itself: what it refuses, and how it reads logs."""

import hashlib

import pytest

from relayers.evm import htlc
from relayers.evm.htlc import COIN, Claimed, EvmLockTerms, HtlcEncodingError, Locked, decode_log

MISTYPED = "0x" + "Aa" * 20
TOKEN = "0x" + "cc" * 20
HASHLOCK = hashlib.sha256(b"x").digest()


def terms(**changes: object) -> EvmLockTerms:
    values: dict[str, object] = {
        "sender": "0x" + "aa" * 20,
        "recipient": "0x" + "bb" * 20,
        "token": COIN,
        "amount": 1,
        "hashlock": HASHLOCK,
        "deadline": 1_700_000_000,
    }
    return EvmLockTerms(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"recipient": COIN}, "zero address"),
        ({"sender": "0x12"}, "not an address"),
        ({"token": "ETH"}, "not an address"),
        ({"recipient": MISTYPED}, "not an address"),  # a wrong checksum
        ({"amount": 0}, "amount"),
        ({"amount": -1}, "amount"),
        ({"amount": 2**96}, "amount"),
        ({"amount": 2**256, "token": TOKEN}, "amount"),
        ({"hashlock": b"short"}, "hashlock"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": 2**64}, "deadline"),
        ({"lane": -1}, "lane"),
        ({"lane": 2**32}, "lane"),
    ],
)
def test_terms_that_no_lock_can_have_are_refused_with_the_reason(
    changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(HtlcEncodingError, match=complaint):
        terms(**changes)


def test_addresses_compare_equal_however_they_were_written() -> None:
    assert terms(sender="0x" + "AA" * 20) == terms()
    assert terms().sender == "0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa"


def test_packed_words_keep_their_fields_apart() -> None:
    lock = terms(amount=2**96 - 1, deadline=2**64 - 1, lane=2**32 - 1)
    assert lock.payee == (2**96 - 1) << 160 | int("bb" * 20, 16)
    assert lock.payer == b"\xff" * 12 + b"\xaa" * 20


def test_batches_of_mixed_assets_parties_or_preimages_are_refused() -> None:
    with pytest.raises(HtlcEncodingError, match="one asset"):
        htlc.encode_lock_batch([])
    with pytest.raises(HtlcEncodingError, match="one asset"):
        htlc.encode_lock_batch([terms(), terms(token=TOKEN)])
    with pytest.raises(HtlcEncodingError, match="senders"):
        htlc.encode_lock_batch([terms(), terms(sender=TOKEN)])
    with pytest.raises(HtlcEncodingError, match="recipients"):
        htlc.encode_claim_batch([(terms(), bytes(32)), (terms(recipient=TOKEN), bytes(32))])
    with pytest.raises(HtlcEncodingError, match="32 bytes"):
        htlc.encode_claim_batch([(terms(), b"x")])


def test_claims_and_permits_that_cannot_work_are_refused_before_they_cost_gas() -> None:
    signed = {"nonce": 1, "expiry": 1, "signature": bytes(65)}
    with pytest.raises(HtlcEncodingError, match="65 bytes"):
        htlc.encode_claim(terms(), bytes(65))
    with pytest.raises(HtlcEncodingError, match="fee"):
        htlc.encode_claim_for(terms(amount=5), b"", fee=6, max_fee=9, **signed)  # type: ignore[arg-type]
    with pytest.raises(HtlcEncodingError, match="fee"):
        htlc.encode_claim_for(terms(amount=5), b"", fee=3, max_fee=2, **signed)  # type: ignore[arg-type]
    with pytest.raises(HtlcEncodingError, match="no permit"):
        htlc.encode_lock_with_permit(terms(), 1, bytes(65))
    with pytest.raises(HtlcEncodingError, match="64 bytes"):
        htlc.encode_lock_with_permit(terms(token=TOKEN), 1, bytes(64))
    for bad in (terms(), terms(token=TOKEN, lane=1)):
        with pytest.raises(HtlcEncodingError, match="lane 0"):
            htlc.encode_lock_with_permit2(bad, 1, 1, bytes(65))


def test_logs_are_read_from_bytes_and_from_hex_alike() -> None:
    lock = terms(lane=9)
    data = lock.payee.to_bytes(32, "big") + lock.payer
    for log in (
        {"topics": [htlc.TOPIC_LOCKED_COIN, HASHLOCK], "data": data},
        {"topics": ["0x" + htlc.TOPIC_LOCKED_COIN.hex(), "0x" + HASHLOCK.hex()], "data": "0x" + data.hex()},
    ):
        assert decode_log(log) == Locked(lock)


def test_logs_of_others_are_passed_over() -> None:
    assert decode_log({"topics": [], "data": b""}) is None
    assert decode_log({"topics": [bytes(32), bytes(32)], "data": b""}) is None
    assert decode_log({"topics": [htlc.TOPIC_CLAIMED], "data": bytes(32)}) is None
    assert decode_log({"topics": [htlc.TOPIC_CLAIMED, HASHLOCK], "data": bytes(32)}) == Claimed(
        HASHLOCK, bytes(32)
    )


def test_the_digest_is_the_one_that_wallets_sign() -> None:
    """Against eth-account's own signing: the signer recovered from our digest is the key that signed."""
    from eth_account import Account
    from eth_keys.datatypes import Signature

    account = Account.from_key(b"\x01" * 32)
    typed = htlc.cooperative_refund_typed_data(1, TOKEN, terms(), nonce=1, expiry=2)
    signed = account.sign_typed_data(full_message=typed).signature
    signature = Signature(signed[:64] + bytes([signed[64] - 27]))
    public = signature.recover_public_key_from_msg_hash(htlc.typed_data_digest(typed))
    assert public.to_checksum_address() == account.address
