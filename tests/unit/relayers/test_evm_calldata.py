"""What calldata shows: every plausible reading of it, and no more work than is bounded."""

from __future__ import annotations

import random
from typing import Any

import pytest
from eth_abi.abi import encode

from bridge.protocol.types import LockId
from relayers.evm.calldata import MOST_STRINGS, SHORT, concerns_us, is_plain_call, strings
from relayers.evm.htlc import (
    COIN,
    EvmLockTerms,
    encode_cancel_nonces,
    encode_claim,
    encode_claim_batch,
    encode_lock,
)
from relayers.evm.known_locks import KnownLocks

CONTRACT = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
SECRET = bytes(range(1, 33))
TERMS = EvmLockTerms("0x" + "11" * 20, "0x" + "22" * 20, COIN, 10**18, b"\7" * 32, 1_900_000_000)
SELECTOR = b"\xde\xad\xbe\xef"


def shown(data: bytes) -> tuple[bytes, ...]:
    return strings(data)[0]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64])
def test_a_secret_of_any_size_is_found_in_a_claim(size: int) -> None:
    secret = random.Random(size).randbytes(size)
    assert secret in shown(encode_claim(TERMS, secret).data)


@pytest.mark.parametrize("shift", [0, 1, 31])
@pytest.mark.parametrize("size", [0, 5, 32, 64])
def test_a_byte_string_is_found_wherever_its_offset_points(size: int, shift: int) -> None:
    secret = random.Random(size).randbytes(size)
    filler = b"\xff" * (SHORT + 32)  # too long for every 32 bytes in a row
    data = SELECTOR + filler + b"\xee" * shift + size.to_bytes(32, "big") + secret
    assert secret in shown(data)


def test_words_are_found_with_and_without_a_selector() -> None:
    filler = b"\xff" * SHORT
    assert SECRET in shown(SELECTOR + filler + SECRET)
    assert SECRET in shown(filler + SECRET)
    assert SECRET[:5] + bytes(27) in shown(SELECTOR + filler + SECRET[:5]), "as the EVM reads what is cut off"


def test_in_short_calldata_every_32_bytes_count() -> None:
    assert SECRET in shown(b"\xff" * 77 + SECRET + b"\xff" * 13)
    assert SECRET not in shown(b"\xff" * (SHORT + 13) + SECRET + b"\xff")


def test_a_strangers_large_calldata_costs_bounded_work_and_is_told_of() -> None:
    data = random.Random(1).randbytes(32 * (MOST_STRINGS + 10))
    found, is_all = strings(SELECTOR + data)
    assert len(found) == MOST_STRINGS
    assert not is_all
    assert strings(bytes(10**6))[1], "a million zeros are one string"


def test_only_plain_calls_show_nothing_beside_their_logs() -> None:
    to_us = {"to": CONTRACT.lower()}
    for call in (encode_lock(TERMS), encode_claim(TERMS, SECRET), encode_claim(TERMS, b"short")):
        assert is_plain_call(to_us, call.data, CONTRACT)
        assert not is_plain_call(to_us, call.data + b"\1", CONTRACT)
        assert not is_plain_call({"to": "0x" + "33" * 20}, call.data, CONTRACT)
    # It shows the preimages too of locks that it leaves out.
    assert not is_plain_call(to_us, encode_claim_batch([(TERMS, SECRET)]).data, CONTRACT)
    assert not is_plain_call(to_us, encode_cancel_nonces(0, 1).data, CONTRACT)


@pytest.mark.parametrize(
    ("transaction", "data"),
    [
        ({"to": CONTRACT}, b""),
        ({"to": CONTRACT.lower()}, b""),
        ({"to": "0x" + "33" * 20}, SELECTOR + encode(["address"], [CONTRACT])),
        ({"to": None}, bytes.fromhex(CONTRACT[2:])),
        ({"to": "0x" + "33" * 20, "accessList": [{"address": CONTRACT.lower(), "storageKeys": []}]}, b""),
        ({"to": "0x" + "33" * 20, "authorizationList": [{"address": CONTRACT.lower()}]}, b""),
        ({"to": "0x" + "33" * 20}, SELECTOR + b"\7" * 32),
    ],
)
def test_what_names_the_contract_or_a_lock_concerns_us(transaction: dict[str, Any], data: bytes) -> None:
    locks = KnownLocks()
    locks.add(LockId("0x" + "07" * 32), b"h" * 32)
    assert concerns_us(transaction, data, CONTRACT, locks)


def test_what_names_neither_does_not() -> None:
    transaction = {"to": "0x" + "33" * 20, "accessList": None, "authorizationList": ["odd"]}
    assert not concerns_us(transaction, SELECTOR + b"\7" * 32, CONTRACT, KnownLocks())
