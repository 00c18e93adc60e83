"""Keys of local devnets, which everybody can derive from public labels. Never use them elsewhere."""

from __future__ import annotations

import hashlib

_PREFIX = b"Rainbow Bridge devnet key, public and worthless: "


def devnet_key(label: str) -> bytes:
    """Return the 32-byte secp256k1 (or ed25519 seed) devnet key of a label; the same on every machine."""
    return hashlib.sha256(_PREFIX + label.encode()).digest()
