"""How assets are named: XLM, issued ones (CODE:ISSUER) and tokens with code of their own (C…). Pure."""

from __future__ import annotations

from functools import cache

from stellar_sdk import Asset as StellarAsset
from stellar_sdk import StrKey

from bridge.protocol.amounts import to_text
from bridge.protocol.types import Asset
from relayers.stellar.settings import DECIMALS

STROOPS = 10**7
INT64_MAX = 2**63 - 1
"""The most of any asset that we deal with in one lock: what accounts and trustlines hold."""


def is_contract(address: str) -> bool:
    """Tell whether an address is a contract's (C…): a smart account, say."""
    return StrKey.is_valid_contract(address)


def is_issued(asset: Asset) -> bool:
    """Tell whether an asset is issued by an account and held in trustlines: neither XLM nor a token with code
    of its own."""
    return bool(asset.contract) and not is_token(asset)


def is_token(asset: Asset) -> bool:
    """Tell whether an asset is a token with code of its own (SEP-41), named by its contract."""
    return is_contract(asset.contract)


def to_stellar(asset: Asset) -> StellarAsset:
    """Return the ledger's asset: XLM, or what `contract` names as CODE:ISSUER. Raises ValueError."""
    if not asset.contract:
        return StellarAsset.native()
    code, separator, issuer = asset.contract.partition(":")
    if not separator:
        raise ValueError(f"{asset.contract!r} names no issued asset; write it CODE:ISSUER")
    return StellarAsset(code, issuer)


@cache
def token_address(contract: str, passphrase: str) -> str:
    """Return the contract (C…) that moves an asset, named as in `Asset.contract`: its Stellar Asset Contract,
    or the token itself. Raises ValueError."""
    if is_contract(contract):
        return contract
    if contract and ":" not in contract:
        raise ValueError(f"{contract!r} names no asset; write it CODE:ISSUER, or a token's contract (C…)")
    named = StellarAsset.native() if not contract else StellarAsset(*contract.split(":", 1))
    return named.contract_id(passphrase)


def shown(amount: int, asset: Asset) -> str:
    """Return an amount of an asset as people write it."""
    return f"{to_text(amount, asset.decimals)} {asset.symbol}"


def decimal(stroops: int) -> str:
    """Return an amount as people write it."""
    return f"{stroops // STROOPS}.{stroops % STROOPS:0{DECIMALS}d}"
