"""Who can be paid by our contract, and what they hold: accounts, contracts; XLM, issued assets, tokens.

An account is paid XLM into itself (which creates it), an issued asset into its trustline, a token into the
token's own books. A contract (C…), such as a smart account, is paid everything into the books of the asset's
contract, which ask nobody; so it is asked here whether it is a contract that could pay out again.
"""

from __future__ import annotations

from stellar_sdk import scval, xdr

from bridge.chains.endpoints.json_rpc import OneEndpoint
from bridge.chains.errors import ActionRefusedError, CannotReceiveError
from bridge.protocol.types import Asset
from relayers.stellar.accounts import line_holds, read_entries, read_holder, require_receiver, spendable
from relayers.stellar.assets import INT64_MAX, is_contract, is_issued, is_token, token_address
from relayers.stellar.contract import instance_key
from relayers.stellar.ledgers import read_tip
from relayers.stellar.settings import StellarSettings
from relayers.stellar.simulation import view


async def check_receiver(
    one: OneEndpoint, address: str, asset: Asset, amount: int, settings: StellarSettings
) -> None:
    """Raise `CannotReceiveError` unless the address could be paid so much of an asset now."""
    if is_contract(address):
        await _check_contract(one, address, asset, settings)
        return
    # A token asks for no account, but where its holder wants memos, a payment without one is lost.
    issued = None if is_token(asset) else asset
    holder = await read_holder(one, address, issued)
    require_receiver(holder, asset if issued is None else issued, amount)


async def _check_contract(one: OneEndpoint, address: str, asset: Asset, settings: StellarSettings) -> None:
    token = token_address(asset.contract, settings.passphrase)
    if address in {settings.contract, token}:
        raise CannotReceiveError(
            f"{address} is the contract of the locks or of {asset.symbol}: what is paid to it is lost",
            "give your own account",
        )
    (instance,) = (await read_entries(one, [instance_key(address)])).found
    if instance is None:
        raise CannotReceiveError(
            f"there is no contract at {address}, or it was archived",
            "make it first (or restore it), or give an ordinary account (G…)",
        )
    data = instance.data.contract_data
    code = data.val.instance.executable if data is not None and data.val.instance is not None else None
    if code is None or code.type is not xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM:
        raise CannotReceiveError(
            f"{address} is not a smart account but the contract of an asset", "give your own account"
        )
    if is_issued(asset) and not await _authorized(one, token, address, settings):
        raise CannotReceiveError(
            f"the recipient {address} cannot receive {asset.symbol}: its issuer has not authorised it",
            "ask the issuer to authorise it",
        )


async def _authorized(one: OneEndpoint, token: str, address: str, settings: StellarSettings) -> bool:
    got = await view(one, token, "authorized", [scval.to_address(address)], settings.passphrase)
    return got.value is not None and scval.from_bool(got.value)


async def held(one: OneEndpoint, address: str, asset: Asset, settings: StellarSettings) -> int:
    """Return what an address may spend of an asset, in its units: of XLM what is beyond an account's reserve.
    A token's word for it is taken."""
    if is_token(asset) or is_contract(address):
        token = token_address(asset.contract, settings.passphrase)
        try:
            got = await view(one, token, "balance", [scval.to_address(address)], settings.passphrase)
            amount = 0 if got.value is None else scval.from_int128(got.value)
        except (ActionRefusedError, ValueError):
            return 0  # some tokens fail for who has none; one whose balance is not a number is worth nothing
        return min(max(0, amount), INT64_MAX)
    holder = await read_holder(one, address, asset)
    if is_issued(asset):
        return 0 if holder.line is None else line_holds(holder.line)
    if holder.account is None:
        return 0
    _, ledger = await read_tip(one)
    return max(0, spendable(holder.account, ledger.base_reserve))
