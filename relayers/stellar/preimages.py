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


def find_preimage(envelope: xdr.TransactionEnvelope, hashlock: bytes) -> Preimage | None:
    """Return the preimage of `hashlock` that some signature of the envelope reveals, or None."""
    for each in signatures_of(envelope):
        revealed = each.signature.signature
        hinted = each.hint.signature_hint == hashlock[-4:]
        if hinted and len(revealed) <= MAX_PREIMAGE_BYTES and hashlib.sha256(revealed).digest() == hashlock:
            return Preimage(revealed)
    return None
