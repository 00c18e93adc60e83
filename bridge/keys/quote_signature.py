"""The ed25519 signatures of quotes and of accepted swaps: the bridge signs, its clients check."""

from __future__ import annotations

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bridge.keys.keystore import SecretKey

SIGNATURE_CONTEXT = b"rainbow-quote-v1\n"
"""Goes before the signed text, so that the signature fits nothing else."""

RECEIPT_CONTEXT = b"rainbow-receipt-v1\n"
"""The same for the receipts of accepted swaps: no quote passes for one, nor the other way round."""

LOG_NAME = "rainbow-bridge/"
"""What the names of transparency logs begin with; the key's first 16 digits follow."""


class QuoteSigner:
    """Signs quotes with the bridge's ed25519 key."""

    def __init__(self, key: SecretKey) -> None:
        self._key = SigningKey(key.reveal())

    @property
    def public_key(self) -> str:
        """The verifying key, hex."""
        return bytes(self._key.verify_key).hex()

    def sign(self, text: str) -> str:
        """Return the signature over a quote's JSON text, hex."""
        return self._key.sign(SIGNATURE_CONTEXT + text.encode()).signature.hex()

    def sign_receipt(self, text: str) -> str:
        """Return the signature over the receipt of an accepted swap, hex."""
        return self._key.sign(RECEIPT_CONTEXT + text.encode()).signature.hex()

    def sign_note(self, text: str) -> bytes:
        """Return the bare signature over a tree head's text, which begins with the log's name. Nothing else
        that this key signs begins so: the contexts of quotes and receipts differ."""
        if not text.startswith(f"{LOG_NAME}{self.public_key[:16]}\n"):
            raise ValueError("this is not a tree head of this log")
        return self._key.sign(text.encode()).signature

    def __repr__(self) -> str:
        return f"QuoteSigner({self.public_key})"


def signature_is_valid(public_key: str, text: str, signature: str) -> bool:
    """Check a quote's signature; for clients."""
    return _is_valid(SIGNATURE_CONTEXT, public_key, text, signature)


def receipt_is_valid(public_key: str, text: str, signature: str) -> bool:
    """Check the signature of an accepted swap's receipt; for clients, and for the bridge itself."""
    return _is_valid(RECEIPT_CONTEXT, public_key, text, signature)


def _is_valid(context: bytes, public_key: str, text: str, signature: str) -> bool:
    try:
        VerifyKey(bytes.fromhex(public_key)).verify(context + text.encode(), bytes.fromhex(signature))
    except (BadSignatureError, ValueError):
        return False
    return True
