"""Addresses: bech32m text over a 20-byte key hash.

The codec follows BIP-173 and BIP-350's reference algorithm; tests run the BIPs' vectors against it.
Payload: one 5-bit version symbol (0), then the key hash in 32 symbols.
"""

from __future__ import annotations

from chain.rules.errors import AddressError
from chain.rules.hashing import keccak256
from chain.rules.types import KeyHash

PREFIX = "zion"
ADDRESS_VERSION = 0
KEY_HASH_BYTES = 20

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_MAX_LENGTH = 90
_CHECKSUM_SYMBOLS = 6


def key_hash(public_key: bytes) -> KeyHash:
    """Return the 20-byte key hash of a compressed public key: the last 20 bytes of its keccak-256."""
    return KeyHash(keccak256(public_key)[12:])


def encode_address(hash20: bytes) -> str:
    """Return the "zion1…" address of a key hash."""
    if len(hash20) != KEY_HASH_BYTES:
        raise AddressError(f"a key hash has {KEY_HASH_BYTES} bytes, not {len(hash20)}")
    return bech32m_encode(PREFIX, [ADDRESS_VERSION, *_regroup(hash20, 8, 5, pad=True)])


def decode_address(text: str) -> KeyHash:
    """Return the key hash of an address. Raises `AddressError` with what is wrong."""
    prefix, symbols = bech32m_decode(text.strip())
    if prefix != PREFIX:
        raise AddressError(f"the address begins with {prefix!r}", hint=f"ZION addresses begin with {PREFIX}1")
    if not symbols or symbols[0] != ADDRESS_VERSION:
        raise AddressError("unknown address version", hint="upgrade, or check the address")
    payload = bytes(_regroup(bytes(symbols[1:]), 5, 8, pad=False))
    if len(payload) != KEY_HASH_BYTES:
        raise AddressError(f"the address holds {len(payload)} bytes, not {KEY_HASH_BYTES}")
    return KeyHash(payload)


def bech32m_encode(prefix: str, symbols: list[int]) -> str:
    """Return prefix ‖ "1" ‖ symbols ‖ checksum."""
    values = [*_expand(prefix), *symbols]
    checksum = _polymod([*values, *[0] * _CHECKSUM_SYMBOLS]) ^ _BECH32M
    tail = [(checksum >> 5 * (5 - i)) & 31 for i in range(_CHECKSUM_SYMBOLS)]
    return prefix + "1" + "".join(_CHARSET[s] for s in [*symbols, *tail])


def bech32m_decode(text: str) -> tuple[str, list[int]]:
    """Return prefix and symbols. Raises `AddressError`."""
    hint = "copy the whole address again"
    if len(text) > _MAX_LENGTH or any(not 33 <= ord(c) <= 126 for c in text):
        raise AddressError("the address is too long or holds characters that cannot be in one", hint=hint)
    if text.lower() != text and text.upper() != text:
        raise AddressError("the address mixes upper and lower case", hint=hint)
    text = text.lower()
    prefix, separator, data = text.rpartition("1")
    if not separator or not prefix or len(data) < _CHECKSUM_SYMBOLS:
        raise AddressError("the address is incomplete", hint=hint)
    if any(c not in _CHARSET for c in data):
        raise AddressError("the address holds a character outside the bech32 alphabet", hint=hint)
    symbols = [_CHARSET.index(c) for c in data]
    if _polymod([*_expand(prefix), *symbols]) != _BECH32M:
        raise AddressError("the address has a typing error (its checksum does not match)", hint=hint)
    return prefix, symbols[:-_CHECKSUM_SYMBOLS]


def _polymod(values: list[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for i, generator in enumerate(_GENERATORS):
            if (top >> i) & 1:
                checksum ^= generator
    return checksum


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _regroup(data: bytes, width_in: int, width_out: int, *, pad: bool) -> list[int]:
    """Regroup bits; without padding, left-over bits must be fewer than a group and zero."""
    accumulator, bits, out = 0, 0, []
    for value in data:
        accumulator = (accumulator << width_in) | value
        bits += width_in
        while bits >= width_out:
            bits -= width_out
            out.append((accumulator >> bits) & ((1 << width_out) - 1))
        accumulator &= (1 << bits) - 1
    if pad and bits:
        out.append((accumulator << (width_out - bits)) & ((1 << width_out) - 1))
    if not pad and (bits >= width_in or accumulator):
        raise AddressError("the address is padded wrongly", hint="copy the whole address again")
    return out
