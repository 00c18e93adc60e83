"""Solana's private keys as its wallets write them."""

from __future__ import annotations

from bridge.keys.keystore import SecretKey


class SolanaKeys:
    """See `bridge.chains.wallet_keys.WalletKeys`."""

    form = "base58 of the key pair (Phantom, Solflare); import also takes the list in a file of solana-keygen"

    def text(self, key: SecretKey) -> str:
        """See `WalletKeys.text`."""
        from solders.keypair import Keypair

        return str(Keypair.from_seed(key.reveal()))

    def key(self, text: str) -> SecretKey:
        """See `WalletKeys.key`. The public half must belong to the secret one."""
        from solders.keypair import Keypair

        try:
            pair = (
                Keypair.from_json(text.strip())
                if text.lstrip().startswith("[")
                else Keypair.from_base58_string(text.strip())
            )
        except ValueError:
            raise ValueError("it is neither base58 of 64 bytes nor a list of 64 numbers") from None
        return SecretKey(pair.secret())
