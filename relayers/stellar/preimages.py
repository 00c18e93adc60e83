"""Preimages in the open: a hash(x) signature is the preimage itself.

It shows in the decorated signatures of an envelope or of a fee bump around it, and whether the
transaction succeeded makes no difference: it was published either way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator

from stellar_sdk import xdr

from bridge.chains.preimages import opening
from bridge.protocol.types import MAX_PREIMAGE_BYTES, Preimage

_ED25519_BYTES = 64


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


def strings_in(envelope: xdr.TransactionEnvelope) -> list[bytes]:
    """Return what all decorated signatures show, whatever their hints say."""
    return [each.signature.signature for each in signatures_of(envelope)]


def secrets_in(envelope: xdr.TransactionEnvelope, hashlocks: Container[bytes]) -> list[bytes]:
    """Return what the signatures show that may be a secret: all but plain ed25519 signatures, that is
    whatever is not 64 bytes long, has the hint of a hash(x) signer (the end of its own hash), or opens one of
    `hashlocks`: a preimage of 64 bytes may be an ed25519 signature too."""
    found = []
    for each in signatures_of(envelope):
        shown, hint = each.signature.signature, each.hint.signature_hint
        digest = hashlib.sha256(shown).digest()
        if len(shown) != _ED25519_BYTES or hint == digest[-4:] or digest in hashlocks:
            found.append(shown)
    return found


def find_preimage(envelope: xdr.TransactionEnvelope, hashlock: bytes) -> Preimage | None:
    """Return the preimage of `hashlock` that some signature of the envelope reveals, or None."""
    return opening(hashlock, strings_in(envelope))


def opening_in_bytes(raw: bytes, hashlocks: Container[bytes]) -> list[bytes]:
    """Return the byte strings of an envelope that cannot be decoded which open one of `hashlocks`: XDR puts
    everything at multiples of four bytes, and before a string of variable length its length."""
    found = []
    for at in range(0, len(raw) - 3, 4):
        length = int.from_bytes(raw[at : at + 4])
        if length <= MAX_PREIMAGE_BYTES:
            shown = raw[at + 4 : at + 4 + length]
            if hashlib.sha256(shown).digest() in hashlocks:
                found.append(shown)
    return found
