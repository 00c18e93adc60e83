"""Stellar's private keys as its wallets write them."""

from __future__ import annotations

from bridge.keys.keystore import SecretKey


class StellarKeys:
    """See `bridge.chains.wallet_keys.WalletKeys`."""

    form = "the secret seed S… (SEP-23; Freighter, Lobstr, the Stellar laboratory)"

    def text(self, key: SecretKey) -> str:
        """See `WalletKeys.text`."""
        from stellar_sdk import Keypair

        return Keypair.from_raw_ed25519_seed(key.reveal()).secret

    def key(self, text: str) -> SecretKey:
        """See `WalletKeys.key`."""
        from stellar_sdk import Keypair
        from stellar_sdk.exceptions import SdkError

        try:
            return SecretKey(Keypair.from_secret(text.strip()).raw_secret_key())
        except (SdkError, ValueError):
            raise ValueError("it is not a secret seed: 56 letters and digits that begin with S") from None
