"""Cardano's private keys as its tools write them."""

from __future__ import annotations

import json

from bridge.keys.keystore import SECRET_BYTES, SecretKey

TYPE = "PaymentSigningKeyShelley_ed25519"
"""How cardano-cli calls a payment key in its text envelope."""


class CardanoKeys:
    """See `bridge.chains.wallet_keys.WalletKeys`."""

    form = "the text envelope of cardano-cli (payment.skey)"

    def text(self, key: SecretKey) -> str:
        """See `WalletKeys.text`."""
        import cbor2

        return json.dumps(
            {"type": TYPE, "description": "Payment Signing Key", "cborHex": cbor2.dumps(key.reveal()).hex()}
        )

    def key(self, text: str) -> SecretKey:
        """See `WalletKeys.key`. Extended keys have no 32 bytes to sign with, and are refused."""
        import cbor2

        try:
            envelope = json.loads(text)
            named, raw = envelope["type"], cbor2.loads(bytes.fromhex(envelope["cborHex"]))
        except (ValueError, TypeError, LookupError, cbor2.CBORDecodeError):
            raise ValueError("it is not a text envelope of cardano-cli") from None
        if named != TYPE or not isinstance(raw, bytes) or len(raw) != SECRET_BYTES:
            raise ValueError(f"it is not a plain payment key ({TYPE})")
        return SecretKey(raw)
