"""secp256k1 keys and signatures, by libsecp256k1 through coincurve.

Signatures are compact (r ‖ s, 64 bytes) and low-s: libsecp256k1 makes no others and refuses them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from coincurve import PrivateKey as _Secret
from coincurve import PublicKey
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact, serialize_compact

from chain.rules.address import encode_address, key_hash
from chain.rules.errors import WalletError
from chain.rules.params import DEV_TREASURY_SECRET

PRIVATE_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A private key. It shows itself only as its address."""

    secret: bytes = field(repr=False)
    public_key: bytes
    key_hash: bytes = field(repr=False)

    @staticmethod
    def from_secret(secret: bytes) -> Key:
        """Make a key of 32 secret bytes. Raises `WalletError` if they are out of the curve's range."""
        try:
            if len(secret) != PRIVATE_KEY_BYTES:
                raise ValueError
            public_key = _Secret(secret).public_key.format(compressed=True)
        except ValueError:
            raise WalletError("not a private key", hint="a private key is 32 bytes, not zero") from None
        return Key(secret, public_key, key_hash(public_key))

    @staticmethod
    def generate() -> Key:
        """Make a key of the operating system's randomness."""
        return Key.from_secret(_Secret().secret)

    @property
    def address(self) -> str:
        """The "zion1…" address."""
        return encode_address(self.key_hash)

    def sign(self, digest: bytes) -> bytes:
        """Sign a 32-byte digest (RFC 6979 nonce): 64 bytes."""
        return bytes(serialize_compact(der_to_cdata(_Secret(self.secret).sign(digest, hasher=None))))

    def __repr__(self) -> str:
        """Shows the address alone."""
        return f"Key({self.address})"


def verify_signature(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    """Tell whether a compact, low-s signature of a 32-byte digest holds. Malformed input is False."""
    try:
        key = PublicKey(public_key)
        return bool(key.verify(cdata_to_der(deserialize_compact(signature)), digest, hasher=None))
    except ValueError:
        return False


class SignatureCache:
    """Transactions whose signatures were found good: transaction id → the exact witness.

    A block's validation asks here first, so what the mempool checked is not checked again. Bounded; the
    oldest entries leave first.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._good: OrderedDict[bytes, bytes] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._good)

    def holds(self, txid: bytes, witness: bytes) -> bool:
        """Tell whether this very witness was found good for this body."""
        return self._good.get(txid) == witness

    def missing(self, txids: list[bytes], witnesses: list[bytes]) -> list[int]:
        """Return the positions of those not found good before."""
        good = self._good.get
        pairs = zip(txids, witnesses, strict=True)
        return [i for i, (txid, witness) in enumerate(pairs) if good(txid) != witness]

    def add(self, txid: bytes, witness: bytes) -> None:
        """Remember a good one."""
        self._good[txid] = witness
        if len(self._good) > self._capacity:
            self._good.popitem(last=False)


def dev_treasury_key() -> Key:
    """Return the key of the dev network's treasury. EVERYBODY knows it: it is worth nothing elsewhere."""
    return Key.from_secret(DEV_TREASURY_SECRET)
