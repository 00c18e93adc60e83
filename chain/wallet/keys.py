"""secp256k1 keys and signatures, by libsecp256k1 through coincurve.

Signatures are compact (r ‖ s, 64 bytes) and low-s: libsecp256k1 makes no others and refuses them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coincurve import PrivateKey as _Secret
from coincurve.ecdsa import der_to_cdata, serialize_compact

from chain.rules.address import encode_address, key_hash
from chain.rules.errors import WalletError
from chain.rules.params import DEV_TREASURY_SECRET
from chain.rules.types import KeyHash

PRIVATE_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A private key. It shows itself only as its address."""

    secret: bytes = field(repr=False)
    public_key: bytes
    key_hash: KeyHash = field(repr=False)

    @staticmethod
    def from_secret(secret: bytes) -> Key:
        """Make a key from 32 secret bytes. Raises `WalletError` if they are out of the curve's range."""
        try:
            if len(secret) != PRIVATE_KEY_BYTES:
                raise ValueError
            public_key = _Secret(secret).public_key.format(compressed=True)
        except ValueError:
            raise WalletError("not a private key", hint="a private key is 32 bytes, not zero") from None
        return Key(secret, public_key, key_hash(public_key))

    @staticmethod
    def generate() -> Key:
        """Make a key from the operating system's randomness."""
        return Key.from_secret(_Secret().secret)

    @property
    def address(self) -> str:
        """The "zion1…" address."""
        return encode_address(self.key_hash)

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest (RFC 6979 nonce): 64 bytes."""
        return bytes(serialize_compact(der_to_cdata(_Secret(self.secret).sign(digest, hasher=None))))

    def __repr__(self) -> str:
        """Shows only the address."""
        return f"Key({self.address})"


def dev_treasury_key() -> Key:
    """Return the key of the dev network's treasury. It is PUBLIC, and worth nothing on other networks."""
    return Key.from_secret(DEV_TREASURY_SECRET)
