"""Signatures: secp256k1 by libsecp256k1 through coincurve.

Signatures are compact (r ‖ s, 64 bytes) and low-s: libsecp256k1 makes no others and refuses them.
"""

from __future__ import annotations

from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, deserialize_compact


def verify_signature(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    """Tell whether a compact, low-s signature of a 32-byte digest holds. Malformed input is False."""
    try:
        key = PublicKey(public_key)
        return bool(key.verify(cdata_to_der(deserialize_compact(signature)), digest, hasher=None))
    except ValueError:
        return False
