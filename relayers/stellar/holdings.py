"""What an account (Horizon's record) may spend, and whether it could be paid. Pure."""

from __future__ import annotations

from bridge.chains.errors import CannotReceiveError
from bridge.protocol.types import Asset
from relayers.stellar import htlc
from relayers.stellar.assets import decimal, stroops, to_stellar
from relayers.stellar.horizon import Record


def spendable(account: Record, base_reserve: int) -> int:
    """Return the XLM that an account may spend, in stroops, beyond reserve and liabilities."""
    native = next(each for each in account["balances"] if each["asset_type"] == "native")
    units: int = 2 + account["subentry_count"] + account["num_sponsoring"] - account["num_sponsored"]
    return stroops(native["balance"]) - stroops(native["selling_liabilities"]) - units * base_reserve


def line_of(account: Record, asset: Asset) -> Record | None:
    """Return an account's trustline to an issued asset."""
    lines: list[Record] = account["balances"]
    named = (
        each for each in lines if f"{each.get('asset_code')}:{each.get('asset_issuer')}" == asset.contract
    )
    return next(named, None)


def require_receiver(recipient: Record | None, address: str, asset: Asset, amount: int) -> None:
    """Raise `CannotReceiveError` unless the account (None: there is none) could be paid `amount` stroops
    now."""
    if not asset.contract:
        if recipient is None and amount < htlc.MIN_NEW_ACCOUNT:
            raise CannotReceiveError(
                f"the recipient {address} does not exist, and so little XLM cannot create it",
                f"swap at least {decimal(htlc.MIN_NEW_ACCOUNT)} XLM, or fund the account first",
            )
        return
    if address == to_stellar(asset).issuer:
        return
    line = None if recipient is None else line_of(recipient, asset)
    what = f"the recipient {address} cannot receive {asset.symbol}"
    open_line = f"open a trustline to {asset.contract} with room for the amount"
    if recipient is None:
        raise CannotReceiveError(f"{what}: there is no such account", f"send it a few XLM and {open_line}")
    if line is None:
        raise CannotReceiveError(f"{what}: it has no trustline", f"first {open_line}")
    if not line["is_authorized"]:
        raise CannotReceiveError(f"{what}: its trustline is not authorised", "ask the issuer to authorise it")
    used = stroops(line["balance"]) + stroops(line["buying_liabilities"])
    room = stroops(line["limit"]) - used
    if room < amount:
        raise CannotReceiveError(
            f"{what}: its trustline has room for {decimal(room)} only", "raise its limit"
        )
