"""Addresses: BIP-350's vectors for the codec, then our own rules."""

from __future__ import annotations

import pytest

from chain.rules.address import bech32m_decode, bech32m_encode, decode_address, encode_address
from chain.rules.errors import AddressError

VALID_BECH32M = (
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
)
INVALID_BECH32M = (
    "\x201xj0phk",
    "\x7f1g6xzxy",
    "\x801vctc34",
    "an84characterslonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11d6pts4",
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
)


@pytest.mark.parametrize("text", VALID_BECH32M)
def test_the_valid_strings_of_bip_350(text: str) -> None:
    prefix, symbols = bech32m_decode(text)
    assert bech32m_encode(prefix, symbols) == text.lower()


@pytest.mark.parametrize("text", INVALID_BECH32M)
def test_the_invalid_strings_of_bip_350(text: str) -> None:
    with pytest.raises(AddressError):
        bech32m_decode(text)


def test_an_address_begins_with_zion1_and_survives_the_round_trip() -> None:
    text = encode_address(bytes(range(20)))
    assert text.startswith("zion1")
    assert decode_address(text) == bytes(range(20))
    assert decode_address(f" {text.upper()}\n") == bytes(range(20))


def test_every_single_wrong_character_is_noticed() -> None:
    text = encode_address(bytes(range(20)))
    for position in range(5, len(text)):
        for wrong in "qpz9":
            if text[position] != wrong:
                with pytest.raises(AddressError):
                    decode_address(text[:position] + wrong + text[position + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zion1",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        bech32m_encode("zion", [1] + [0] * 32),
        bech32m_encode("zion", [0] * 31),
        bech32m_encode("zion", [0] * 34),
        encode_address(bytes(20))[:-1] + "Q",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(AddressError) as refusal:
        decode_address(text)
    assert len(refusal.value.message) > 10


def test_only_20_bytes_make_an_address() -> None:
    with pytest.raises(AddressError):
        encode_address(bytes(19))
