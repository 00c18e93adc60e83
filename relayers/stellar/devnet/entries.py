"""Ledger entries of the emulator and the keys that they live under.

Entries are mutable records that only `LedgerTxn` hands out, always as private copies. Accounts are named
by their raw 32-byte ed25519 key; amounts are stroops (10^-7), times Unix seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from stellar_sdk import xdr

from kernels.errors import RainbowError

INT64_MAX = 2**63 - 1
UINT32_MAX = 2**32 - 1
ACCOUNT_SUBENTRY_LIMIT = 1000
"""Subentries an account may own (CAP-0024)."""


class UnsupportedFeatureError(RainbowError):
    """The transaction uses what this emulator does not have: the order book, liquidity pools."""


class AssetId(NamedTuple):
    """An asset: its code padded with zeros to 4 or 12 bytes, and its issuer. `NATIVE` is empty."""

    code: bytes
    issuer: bytes

    @property
    def is_native(self) -> bool:
        """Tell whether this is XLM."""
        return not self.code

    def is_valid(self) -> bool:
        """Tell whether the code is well formed: ASCII letters and digits, zeros only at the end,
        1–4 characters in the short form and 5–12 in the long one."""
        if self.is_native:
            return True
        stripped = self.code.rstrip(b"\0")
        if not stripped.isalnum() or not stripped.isascii():
            return False
        return len(stripped) > 4 if len(self.code) == 12 else bool(stripped)

    def to_xdr(self) -> xdr.Asset:
        """Return the asset as XDR."""
        if self.is_native:
            return xdr.Asset(xdr.AssetType.ASSET_TYPE_NATIVE)
        if len(self.code) == 4:
            short = xdr.AlphaNum4(xdr.AssetCode4(self.code), account_xdr(self.issuer))
            return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM4, alpha_num4=short)
        long = xdr.AlphaNum12(xdr.AssetCode12(self.code), account_xdr(self.issuer))
        return xdr.Asset(xdr.AssetType.ASSET_TYPE_CREDIT_ALPHANUM12, alpha_num12=long)


NATIVE = AssetId(b"", b"")


def asset_id(asset: xdr.Asset | xdr.TrustLineAsset | xdr.ChangeTrustAsset) -> AssetId:
    """Read an asset. Raises `UnsupportedFeatureError` for pool shares."""
    if asset.alpha_num4 is not None:
        return AssetId(asset.alpha_num4.asset_code.asset_code4, account_key(asset.alpha_num4.issuer))
    if asset.alpha_num12 is not None:
        return AssetId(asset.alpha_num12.asset_code.asset_code12, account_key(asset.alpha_num12.issuer))
    if asset.type == xdr.AssetType.ASSET_TYPE_NATIVE:
        return NATIVE
    raise UnsupportedFeatureError("liquidity pools are not emulated")


def account_key(account: xdr.AccountID) -> bytes:
    """Return the raw key of an account id."""
    assert account.account_id.ed25519 is not None  # noqa: S101 - the only kind there is
    return account.account_id.ed25519.uint256


def muxed_key(account: xdr.MuxedAccount) -> bytes:
    """Return the raw key of a possibly multiplexed account: the memo id names no other account."""
    if account.med25519 is not None:
        return account.med25519.ed25519.uint256
    assert account.ed25519 is not None  # noqa: S101
    return account.ed25519.uint256


def account_xdr(key: bytes) -> xdr.AccountID:
    """Return the account id of a raw key."""
    return xdr.AccountID(xdr.PublicKey(xdr.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, ed25519=xdr.Uint256(key)))


class SignerId(NamedTuple):
    """A signer key: its kind and its bytes; `payload` only for signed-payload signers.

    The tuple orders as the ledger does: by kind, then by bytes.
    """

    kind: int
    key: bytes
    payload: bytes = b""


def signer_id(key: xdr.SignerKey) -> SignerId:
    """Read a signer key."""
    kind = key.type.value
    if key.ed25519 is not None:
        return SignerId(kind, key.ed25519.uint256)
    if key.pre_auth_tx is not None:
        return SignerId(kind, key.pre_auth_tx.uint256)
    if key.hash_x is not None:
        return SignerId(kind, key.hash_x.uint256)
    assert key.ed25519_signed_payload is not None  # noqa: S101
    signed = key.ed25519_signed_payload
    return SignerId(kind, signed.ed25519.uint256, signed.payload)


@dataclass
class Signer:
    """One extra signer of an account; `sponsor` pays its reserve when it is not the account itself."""

    id: SignerId
    weight: int
    sponsor: bytes | None = None


@dataclass
class Account:
    """An account entry."""

    id: bytes
    balance: int
    sequence: int
    flags: int = 0
    home_domain: bytes = b""
    inflation_dest: bytes | None = None
    master_weight: int = 1
    thresholds: tuple[int, int, int] = (0, 0, 0)
    """Low, medium, high."""
    signers: list[Signer] = field(default_factory=list)
    subentries: int = 0
    num_sponsoring: int = 0
    num_sponsored: int = 0
    buying_liabilities: int = 0
    selling_liabilities: int = 0
    sequence_ledger: int = 0
    sequence_time: int = 0
    sponsor: bytes | None = None
    last_modified: int = 0

    def copy(self) -> Account:
        """Return an independent copy."""
        return replace(self, signers=[replace(signer) for signer in self.signers])


@dataclass
class TrustLine:
    """A trustline entry."""

    account: bytes
    asset: AssetId
    balance: int = 0
    limit: int = 0
    flags: int = 0
    buying_liabilities: int = 0
    selling_liabilities: int = 0
    sponsor: bytes | None = None
    last_modified: int = 0

    def copy(self) -> TrustLine:
        """Return an independent copy."""
        return replace(self)


@dataclass
class Data:
    """A data entry of an account."""

    account: bytes
    name: bytes
    value: bytes
    sponsor: bytes | None = None
    last_modified: int = 0

    def copy(self) -> Data:
        """Return an independent copy."""
        return replace(self)


@dataclass
class ClaimableBalance:
    """A claimable balance; relative predicates were made absolute when it was created."""

    id: bytes
    asset: AssetId
    amount: int
    claimants: tuple[tuple[bytes, xdr.ClaimPredicate], ...]
    clawback: bool = False
    sponsor: bytes | None = None
    last_modified: int = 0

    def copy(self) -> ClaimableBalance:
        """Return an independent copy (predicates are never changed in place)."""
        return replace(self)


@dataclass
class ContractEntry:
    """Contract data or contract code (Soroban), with its time to live."""

    key: bytes
    """The ledger key, as XDR."""
    data: xdr.LedgerEntryData
    """Never changed in place."""
    live_until: int
    """The last ledger in which it is live."""
    last_modified: int = 0

    def copy(self) -> ContractEntry:
        """Return an independent copy."""
        return replace(self)


Entry = Account | TrustLine | Data | ClaimableBalance | ContractEntry
Key = tuple[Any, ...]


def account(key: bytes) -> Key:
    """Ledger key of an account."""
    return ("account", key)


def trustline(owner: bytes, asset: AssetId) -> Key:
    """Ledger key of a trustline."""
    return ("trustline", owner, asset)


def data(owner: bytes, name: bytes) -> Key:
    """Ledger key of a data entry."""
    return ("data", owner, name)


def claimable_balance(balance_id: bytes) -> Key:
    """Ledger key of a claimable balance."""
    return ("balance", balance_id)


def contract(key: bytes) -> Key:
    """Ledger key of contract data or code; `key` is its XDR."""
    return ("contract", key)


def key_of(entry: Entry) -> Key:
    """Return the key that an entry lives under."""
    if isinstance(entry, ContractEntry):
        return contract(entry.key)
    if isinstance(entry, Account):
        return account(entry.id)
    if isinstance(entry, TrustLine):
        return trustline(entry.account, entry.asset)
    if isinstance(entry, Data):
        return data(entry.account, entry.name)
    return claimable_balance(entry.id)
