"""What a transaction shows: the byte strings in its calldata that could be somebody's secret. Pure.

The contract's own log shows the preimage of every claim that succeeds. What only calldata shows is the rest:
a claim that reverted, a secret that was sent to another contract together with a lock's id. How it is encoded
is the caller's choice, so that every plausible reading is looked at: words of the ABI, byte strings with
their length before them at any place (offsets need not be canonical), and in short calldata every 32 bytes in
a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_hash.auto import keccak

from bridge.protocol.types import MAX_PREIMAGE_BYTES
from relayers.evm.known_locks import KnownLocks

MOST_STRINGS = 16_384
"""Byte strings looked at in one transaction. More takes over 512 KiB of calldata, which costs its sender
above 5 million gas (EIP-7623: at least 10 gas a byte) and no node takes into its pool (go-ethereum: 128
KiB)."""

SHORT = 8_192
"""Bytes of calldata up to which every 32 bytes in a row are looked at: a contract that is made while it
claims, or one that packs its arguments, aligns nothing."""

_WORD = 32
_LENGTH = re.compile(rb"(?=(\x00{31}[\x00-\x40]))", re.DOTALL)
"""A word that is at most `MAX_PREIMAGE_BYTES`, wherever it begins."""


def strings(data: bytes) -> tuple[tuple[bytes, ...], bool]:
    """Return the byte strings of 0 to 64 bytes that calldata shows, each once, and whether that is all."""
    found: dict[bytes, None] = {}
    candidates = _candidates(data)
    for candidate in candidates:
        found[candidate] = None
        if len(found) >= MOST_STRINGS:
            return tuple(found), next(candidates, None) is None
    return tuple(found), True


def _candidates(data: bytes) -> Iterator[bytes]:
    for whole in (data, data[4:]):
        if len(whole) <= MAX_PREIMAGE_BYTES:
            yield whole
    yield from _words(data, 4)
    for match in _LENGTH.finditer(data):
        start = match.start() + _WORD
        yield data[start : start + data[start - 1]]
    yield from _words(data, 0)
    if len(data) <= SHORT:
        for start in range(len(data) - _WORD + 1):
            yield data[start : start + _WORD]


def _words(data: bytes, first: int) -> Iterator[bytes]:
    for start in range(first, len(data), _WORD):
        word = data[start : start + _WORD]
        yield word
        if len(word) < _WORD:
            yield word.ljust(_WORD, b"\x00")  # as the EVM reads it


_PLAIN_CALLS = {
    keccak(signature.encode())[:4]: 4 + 32 * words
    for signature, words in (
        ("lockNative(uint256,bytes32)", 2),
        ("lockERC20(uint256,bytes32,address,uint256)", 4),
        ("claimNative(uint256,bytes32,bytes32)", 3),
        ("claimERC20(uint256,bytes32,address,uint256,address)", 5),
        ("refundNative(uint256,bytes32,bytes32)", 3),
        ("refundERC20(uint256,bytes32,address,uint256,address)", 5),
    )
}
"""The contract's plain functions, and how many bytes a call of each has."""

_TERMS = "(address,address,address,uint256,bytes32,uint64,uint32)"
_ENCODED_CALLS = {
    keccak(f"{name}({','.join(types)})".encode())[:4]: types
    for name, types in (
        ("claimBytes", ("bytes", _TERMS)),
        ("claimFor", ("bytes", _TERMS, "uint256", "uint256", "uint256", "uint256", "bytes")),
        ("cooperativeRefund", (_TERMS, "uint256", "uint256", "bytes")),
    )
}
"""Those that take byte strings, whose encoding is the caller's choice. The batches are not among them: they
show the preimages of locks too that they leave out."""


def is_plain_call(transaction: Mapping[str, Any], data: bytes, contract: str) -> bool:
    """Tell whether a transaction is nothing but one plain call of the contract. When it has succeeded, its
    log shows every word of it: the terms of the lock, and the preimage."""
    if str(transaction.get("to")).lower() != contract.lower():
        return False
    return _PLAIN_CALLS.get(data[:4]) == len(data) or _is_canonical(data)


def _is_canonical(data: bytes) -> bool:
    """Tell whether this is such a call in the one canonical encoding, with nothing before, between or
    after."""
    types = _ENCODED_CALLS.get(data[:4])
    if types is None or len(data) > 1_024:
        return False
    try:
        return encode(types, decode(types, data[4:])) == data[4:]
    except (DecodingError, EncodingError, ValueError):
        return False


def concerns_us(transaction: Mapping[str, Any], data: bytes, contract: str, locks: KnownLocks) -> bool:
    """Tell whether a transaction (as JSON-RPC gives it) names our contract or a lock that is remembered."""
    address = contract.lower()
    if str(transaction.get("to")).lower() == address or bytes.fromhex(address[2:]) in data:
        return True
    named = [
        entry.get("address")
        for key in ("accessList", "authorizationList")
        for entry in transaction.get(key) or ()
        if isinstance(entry, Mapping)
    ]
    if any(str(name).lower() == address for name in named):
        return True
    words = (data[start : start + _WORD] for first in (4, 0) for start in range(first, len(data) - 31, _WORD))
    return any(locks.has(word) for word in islice(words, MOST_STRINGS))
