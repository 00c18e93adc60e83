"""Which signatures of a transaction count for which signers, and with how much weight."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey
from stellar_sdk import xdr

from relayers.stellar.devnet.entries import Account, SignerId

ED25519 = xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519.value
PRE_AUTH_TX = xdr.SignerKeyType.SIGNER_KEY_TYPE_PRE_AUTH_TX.value
HASH_X = xdr.SignerKeyType.SIGNER_KEY_TYPE_HASH_X.value
SIGNED_PAYLOAD = xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519_SIGNED_PAYLOAD.value
MAX_WEIGHT = 255

Weighted = tuple[SignerId, int]


def signers_of(account: Account) -> list[Weighted]:
    """Return an account's signers with their weights, the master key first when it has any weight."""
    extra = [(signer.id, signer.weight) for signer in account.signers]
    master = [(SignerId(ED25519, account.id), account.master_weight)] if account.master_weight else []
    return master + extra


class SignatureChecker:
    """Checks one envelope's signatures and remembers which of them were of use.

    Signers are tried kind by kind: pre-authorised hashes (which need no signature), hash(x), ed25519,
    signed payloads. Checking stops as soon as the weight suffices, so surplus signatures stay unused.
    """

    def __init__(self, contents_hash: bytes, signatures: Sequence[xdr.DecoratedSignature]) -> None:
        self._hash = contents_hash
        self._signatures = [(each.hint.signature_hint, each.signature.signature) for each in signatures]
        self._used = [False] * len(signatures)

    def check(self, signers: Sequence[Weighted], needed: int) -> bool:
        """Tell whether these signers' signatures reach the weight; even 0 needs one signature that counts."""
        total = 0
        for key, weight in signers:
            if key.kind == PRE_AUTH_TX and key.key == self._hash:
                total += min(weight, MAX_WEIGHT)
                if total >= needed:
                    return True
        tests: tuple[tuple[int, Callable[[bytes, bytes, SignerId], bool]], ...] = (
            (HASH_X, _opens_hash),
            (ED25519, self._signs_transaction),
            (SIGNED_PAYLOAD, _signs_payload),
        )
        for kind, test in tests:
            left = [each for each in signers if each[0].kind == kind]
            for index, (hint, signature) in enumerate(self._signatures):
                found = next((each for each in left if test(hint, signature, each[0])), None)
                if found is None:
                    continue
                self._used[index] = True
                total += min(found[1], MAX_WEIGHT)
                if total >= needed:
                    return True
                left.remove(found)
        return False

    def all_used(self) -> bool:
        """Tell whether every signature was needed by some check."""
        return all(self._used)

    def _signs_transaction(self, hint: bytes, signature: bytes, key: SignerId) -> bool:
        return key.key[-4:] == hint and _verify(key.key, self._hash, signature)


def _opens_hash(hint: bytes, signature: bytes, key: SignerId) -> bool:
    return key.key[-4:] == hint and hashlib.sha256(signature).digest() == key.key


def _signs_payload(hint: bytes, signature: bytes, key: SignerId) -> bool:
    tail = key.payload[-4:].ljust(4, b"\0")
    wanted = bytes(a ^ b for a, b in zip(key.key[-4:], tail, strict=True))
    return wanted == hint and _verify(key.key, key.payload, signature)


def _verify(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(key).verify(message, signature)
    except (BadSignatureError, ValueError, TypeError):
        return False
    return True
