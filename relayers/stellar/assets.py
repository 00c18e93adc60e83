"""Assets and amounts between the bridge's terms and stellar_sdk's."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from stellar_sdk import Asset as StellarAsset

from bridge.protocol.types import Asset
from relayers.stellar.settings import DECIMALS

STROOPS = 10_000_000
"""Smallest units in one whole unit: 10^7, the seven decimals of every asset."""
INT64_MAX = 2**63 - 1


def to_stellar(asset: Asset) -> StellarAsset:
    """Return the ledger's asset: XLM, or what `contract` names as CODE:ISSUER. Raises ValueError."""
    if not asset.contract:
        return StellarAsset.native()
    code, separator, issuer = asset.contract.partition(":")
    if not separator:
        raise ValueError(f"{asset.contract!r} names no issued asset; write it CODE:ISSUER")
    return StellarAsset(code, issuer)


def from_stellar(asset: StellarAsset, native: Asset, known: Sequence[Asset] = ()) -> Asset:
    """Return the bridge's asset on the network whose coin is `native`: one of the known ones if it is among
    them."""
    if asset.is_native():
        return native
    contract = f"{asset.code}:{asset.issuer}"
    named = (each for each in known if each.contract == contract)
    return next(named, Asset(native.chain, asset.code, DECIMALS, contract))


def horizon_name(asset: Asset) -> str:
    """Return the asset as Horizon writes it in claimable balances."""
    return asset.contract or "native"


def decimal(stroops: int) -> str:
    """Return an amount as stellar_sdk and Horizon write it."""
    return f"{stroops // STROOPS}.{stroops % STROOPS:0{DECIMALS}d}"


def stroops(text: str) -> int:
    """Read an amount written with up to seven decimals, exactly. Raises ValueError."""
    # stellar_sdk writes the least amounts as 1E-7, hence Decimal (28 digits hold every int64 exactly).
    scaled = Decimal(text).scaleb(DECIMALS)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{text!r} has more than {DECIMALS} decimals")
    return int(scaled)
