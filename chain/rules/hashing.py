"""The two hashes of the protocol, from libraries."""

from __future__ import annotations

import hashlib

from eth_hash.auto import keccak


def keccak256(data: bytes) -> bytes:
    """Keccak-256 with the original padding, as in Ethereum."""
    return bytes(keccak(data))


def sha256(data: bytes) -> bytes:
    """SHA-256: hashlocks and the witness commitment."""
    return hashlib.sha256(data).digest()
