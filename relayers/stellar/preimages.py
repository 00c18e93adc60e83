"""Preimages in the open: a hash(x) signature is the preimage itself.

It shows in the decorated signatures of an envelope or of a fee bump around it, and whether the
transaction succeeded makes no difference: it was published either way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from stellar_sdk import xdr

from bridge.protocol.types import MAX_PREIMAGE_BYTES, Preimage


def signatures_of(envelope: xdr.TransactionEnvelope) -> Iterator[xdr.DecoratedSignature]:
    """Yield all decorated signatures of an envelope, of a fee bump those of the inner one first."""
    if envelope.fee_bump is not None:
        inner = envelope.fee_bump.tx.inner_tx.v1
        yield from inner.signatures if inner is not None else ()
        yield from envelope.fee_bump.signatures
    elif envelope.v1 is not None:
        yield from envelope.v1.signatures
    elif envelope.v0 is not None:
        yield from envelope.v0.signatures


def preimages_in(envelope: xdr.TransactionEnvelope) -> list[Preimage]:
    """Return everything in an envelope's signatures that is the preimage of some hash(x) signer.

    A signature's hint is the end of its signer: for hash(x) the end of the preimage's own hash (as
    stellar_sdk's `sign_hashx` makes it), for ed25519 that of a key, which agrees by chance once in 2^32.
    """
    found: dict[bytes, Preimage] = {}
    for each in signatures_of(envelope):
        shown = each.signature.signature
        digest = hashlib.sha256(shown).digest()
        if len(shown) <= MAX_PREIMAGE_BYTES and each.hint.signature_hint == digest[-4:]:
            found.setdefault(digest, Preimage(shown))
    return list(found.values())


def find_preimage(envelope: xdr.TransactionEnvelope, hashlock: bytes) -> Preimage | None:
    """Return the preimage of `hashlock` that some signature of the envelope reveals, or None."""
    for each in signatures_of(envelope):
        revealed = each.signature.signature
        hinted = each.hint.signature_hint == hashlock[-4:]
        if hinted and len(revealed) <= MAX_PREIMAGE_BYTES and hashlib.sha256(revealed).digest() == hashlock:
            return Preimage(revealed)
    return None
