"""Whether an asset is dealt in: its issuer's powers as they are now, against what the operator accepts."""

from __future__ import annotations

from stellar_sdk import scval

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError
from bridge.chains.issuer_powers import refusal
from bridge.protocol.types import Asset
from relayers.stellar.accounts import read_entries, read_issuer
from relayers.stellar.assets import is_token
from relayers.stellar.contract import instance_key
from relayers.stellar.powers import powers_of
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import view


async def asset_problem(one: OneEndpoint, asset: Asset, settings: StellarSettings) -> str:
    """Return why nothing new is to be locked in an asset, "" if nothing speaks against it."""
    if not asset.contract:
        return ""
    if is_token(asset):
        return await _token_problem(one, asset, settings)
    issuer = await read_issuer(one, asset)
    if issuer is None:
        return f"the issuer of {asset.symbol} does not exist"
    accepted = settings.powers.get(asset.contract, frozenset())
    return refusal(asset.symbol, powers_of(issuer), accepted)


async def _token_problem(one: OneEndpoint, asset: Asset, settings: StellarSettings) -> str:
    """A token's code can do what it wants, and who lists it trusts it. What is an issued asset in disguise is
    refused: its issuer's powers would not be looked at."""
    (instance,) = (await read_entries(one, [instance_key(asset.contract)])).found
    data = instance.data.contract_data if instance is not None else None
    made = data.val.instance if data is not None else None
    if made is not None and made.executable.wasm_hash is None:
        return f"{asset.contract} is the asset contract of an issued asset or of XLM: name it CODE:ISSUER"
    try:
        got = await view(one, asset.contract, "decimals", [], settings.passphrase)
        decimals = None if got.value is None else scval.from_uint32(got.value)
    except (ActionRefusedError, ValueError):
        return f"there is no token at {asset.contract}"
    if decimals != asset.decimals:
        return f"{asset.symbol} has {decimals} decimals, not {asset.decimals}"
    return ""


async def check_asset(one: OneEndpoint, asset: Asset, settings: StellarSettings) -> None:
    """Raise `ActionRefusedError` for an asset that nothing new is to be locked in.

    Asked when it is priced, when the account is set up and for each new lock; never for claims and refunds:
    an issuer that takes on a power must not keep us from what is locked already.
    """
    problem = await asset_problem(one, asset, settings)
    if problem:
        raise ActionRefusedError(
            f"it cannot be dealt in: {problem}",
            "remove it from the assets, or accept it by name with issuer_powers (docs/chains/stellar.md)",
        )
