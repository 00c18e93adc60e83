"""How wallets of a chain write a private key: what `rainbow keys export` shows and `import` takes.

A family offers it as `wallet_keys`; one that has none keeps its keys in keystores alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from bridge.keys.keystore import SecretKey


class WalletKeys(Protocol):
    """The text form of a family's private keys."""

    @property
    def form(self) -> str:
        """What the text is and which wallets take it, for people."""
        ...

    def text(self, key: SecretKey) -> str:
        """Return a key as wallets of the chain import it."""
        ...

    def key(self, text: str) -> SecretKey:
        """Return the key that a wallet exported. Raises `ValueError`, without the text in it."""
        ...


@runtime_checkable
class HasWalletKeys(Protocol):
    """A family whose keys have a text form."""

    @property
    def wallet_keys(self) -> WalletKeys:
        """See `WalletKeys`."""
        ...


@dataclass(frozen=True)
class HexKeys:
    """A key on secp256k1 as 64 hexadecimal digits, with or without 0x."""

    form: str

    def text(self, key: SecretKey) -> str:
        """See `WalletKeys.text`."""
        return "0x" + key.reveal().hex()

    def key(self, text: str) -> SecretKey:
        """See `WalletKeys.key`."""
        from bridge.keys.keystore import SECP256K1_ORDER

        digits = text.strip().removeprefix("0x")
        try:
            key = SecretKey(bytes.fromhex(digits))
        except ValueError:
            raise ValueError("it is not 64 hexadecimal digits") from None
        if not 0 < int.from_bytes(key.reveal(), "big") < SECP256K1_ORDER:
            raise ValueError("it is not a number below the order of secp256k1")
        return key
