"""Whether an asset is dealt in: its issuer's powers as they are now, against what the operator accepts."""

from __future__ import annotations

from bridge.chains.endpoints.json_rpc import Calls
from bridge.chains.errors import ActionRefusedError
from bridge.chains.issuer_powers import refusal
from bridge.protocol.types import Asset
from relayers.stellar.accounts import read_issuer
from relayers.stellar.powers import powers_of
from relayers.stellar.settings import StellarSettings


async def asset_problem(rpc: Calls, asset: Asset, settings: StellarSettings) -> str:
    """Return why nothing new is to be locked in an asset, "" if nothing speaks against it."""
    if not asset.contract:
        return ""
    issuer = await read_issuer(rpc, asset)
    if issuer is None:
        return f"the issuer of {asset.symbol} does not exist"
    accepted = settings.powers.get(asset.contract, frozenset())
    return refusal(asset.symbol, powers_of(issuer), accepted)


async def check_asset(rpc: Calls, asset: Asset, settings: StellarSettings) -> None:
    """Raise `ActionRefusedError` for an asset that nothing new is to be locked in.

    Asked when it is priced, when the account is set up and for each new lock; never for claims and refunds:
    an issuer that takes on a power must not keep us from what is locked already.
    """
    problem = await asset_problem(rpc, asset, settings)
    if problem:
        raise ActionRefusedError(
            f"it cannot be dealt in: {problem}",
            "remove it from the assets, or accept it by name with issuer_powers (docs/chains/stellar.md)",
        )
