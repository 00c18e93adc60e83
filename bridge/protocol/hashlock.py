"""Hashlocks: SHA-256 of a preimage, the same on every chain."""

from __future__ import annotations

import re

from bridge.protocol.refusals import ProtocolError
from bridge.protocol.types import HASHLOCK_BYTES, Preimage

NEW_PREIMAGE_BYTES = 32
"""Bytes of the preimages that our clients make; chains accept 0 to 64."""

_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")


def new_preimage(random_bytes: bytes) -> Preimage:
    """Return a preimage made of 32 bytes of the caller's cryptographic random source (`secrets`).

    Raises:
        ProtocolError: if there are not exactly 32 bytes, or all are equal (a broken random source).
    """
    if len(random_bytes) != NEW_PREIMAGE_BYTES:
        raise ProtocolError(
            f"a new preimage takes {NEW_PREIMAGE_BYTES} random bytes, not {len(random_bytes)}",
            hint="pass secrets.token_bytes(32)",
        )
    if len(set(random_bytes)) == 1:
        raise ProtocolError("the random bytes are all equal: the random source is broken")
    return Preimage(random_bytes)


def check(preimage: Preimage, hashlock: bytes) -> None:
    """Raise `ProtocolError` unless the preimage opens the hashlock. The error shows no byte of the secret."""
    if not preimage.opens(hashlock):
        raise ProtocolError(
            f"the preimage does not open the hashlock {hashlock.hex()}",
            hint="take the preimage from the recovery file of this swap",
        )


def parse_hashlock(text: str) -> bytes:
    """Return the 32 bytes of a hashlock written in hex, with or without 0x.

    Raises:
        ProtocolError: for anything else, and for the hash of the empty preimage, which everybody knows.
    """
    match = _HEX.fullmatch(text)
    if match is None:
        raise ProtocolError(
            f"a hashlock is {HASHLOCK_BYTES} bytes in hex",
            hint="send SHA-256 of your preimage, 64 hex digits",
        )
    hashlock = bytes.fromhex(match.group(1))
    if Preimage(b"").opens(hashlock):
        raise ProtocolError(
            "this is the hash of an empty preimage, which everybody knows",
            hint="make a preimage of 32 random bytes",
        )
    return hashlock
